# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever has the database: each byte of evidence in it changed, each row deleted, `check` names it; on both stores."""
import collections
import re
import subprocess

import pytest

from harness import BUILD, SLOW, wait_for
from test_evidence import coverage
from test_scale import Device, Postgres, Site, programs

STEP = {"SQLite": 1, "PostgreSQL": 7}  # one byte of so many


def rows(site, server):
    where = server.url if server else site.base / "one/collector.db"
    r = subprocess.run([BUILD / "tests/unit/flip-rows", where, str(STEP["PostgreSQL" if server else "SQLite"]), "1"], capture_output=True, text=True,
                       check=True, timeout=300 * SLOW)
    return [re.fullmatch(r"(\w+) ([\w*]+) ([-\d ]+) (\d+): (.*)", line).groups() for line in r.stdout.splitlines()]


def named(table, column, key, offset):
    """What `check` must say of such a change, whatever else it says."""
    if table == "record" and column not in ("device", "seq", "*"):
        return f"record {key[1]} of d-"
    if table == "log_tile" and column == "hashes":
        return f"was changed at its hash {offset // 32},"
    return {"record": r"record|chain", "seal": r"record|seal|removed", "log_leaf": r"entr", "log_tile": r"tile|missing", "log": r"log",
            "admin_audit": r"action|removed", "device": r"device|seal|chain|record"}[table]


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_every_row(kind):
    if kind == "PostgreSQL" and not programs():
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    server = Postgres() if kind == "PostgreSQL" else None
    site = Site(server.url if server else None)
    try:
        site.init("one", 8443)
        site.start("one", 8443)
        device = Device(site.base / "device", "https://127.0.0.1:8443", site.ca, "ws-1")
        device.prefix = site.prefix
        assert device.enrol(site.command("token", site.base / "one").stdout.split()[-1]).status == 200
        assert device.send([coverage(1763740000000), {}]).status == 200
        assert device.send([{"own": {"channel": "signal"}}]).status == 200
        wait_for(lambda: "3 records in 2 batches" in (said := site.command("check", site.base / "one").stdout)
                 and re.search(r" ([3-9]|\d\d+) entries", said), 40 * SLOW, "all of it in the log's checkpoint")
        site.kill("one")
        tried, wrong = collections.Counter(), []
        for table, column, key, offset, said in rows(site, server):
            tried[table, column] += 1
            if said != "refused by the database" and not re.search(named(table, column, key.split(), int(offset)), said):
                wrong.append(f"{table}.{column} of {key}, byte {offset}: {said}")
        assert not wrong, "\n".join([f"{len(wrong)} of {sum(tried.values())}", *wrong[:30]])
        assert sum(tried.values()) > (5000 if server is None else 700), tried
        assert {t for t, _ in tried} == {"record", "seal", "log_leaf", "log_tile", "log", "admin_audit", "device"}, tried
    finally:
        site.stop()
        if server:
            server.remove()
