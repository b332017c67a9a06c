# SPDX-License-Identifier: GPL-3.0-or-later
"""A newer catalogue comes into force without a package: through the collector, or as a file. It has a key and a
serial of its own; what is older, edited or signed by another key is refused, and everybody can read why."""
import shutil

import pytest

from harness import SLOW
from internet import wait_for

NEW = """[channel]
id = carrier-pigeon
name = Carrier Pigeon
category = messenger
homepage = https://pigeon.example
source = https://pigeon.example
checked = 2026-11-21

[names]
suffix = pigeon.example
except = button.pigeon.example
"""


def build(station, tmp_path, serial, key="catalogue.key", channels=NEW):
    """The shipped catalogue and one channel more, signed."""
    folder = tmp_path / f"channels-{serial}"
    shutil.copytree(station.desk.channels, folder)
    (folder / "carrier-pigeon.ini").write_text(channels)
    path = tmp_path / f"catalogue-{serial}.ini"
    station.desk.cli("catalogue", "build", "-o", path, "--version", f"v{serial}", "--serial", serial, "--key", key, folder)
    return path


def push(station, path):
    """As the collector's administrator does."""
    shared = station.collector.folder / "new"
    shared.mkdir(exist_ok=True)
    for p in (path, path.with_name(path.name + ".minisig")):
        shutil.copy(p, shared)
        (shared / p.name).chmod(0o644)
    return station.collector.run("catalogue", station.collector.dir, shared / path.name, check=False)


def serial(station):
    return station.agent.status()["catalogue"]["serial"]


def test_from_the_collector(blocking, employee, tmp_path):
    """Pushed there it is in force here, without a restart and beside the policy in force; gone it comes back after a restart."""
    agent = blocking.agent
    assert employee.curl("https://coop.pigeon.example/")[0] == 0
    policy = agent.status()["policy"]["hash"]
    assert push(blocking, build(blocking, tmp_path, 10)).returncode == 0
    wait_for(lambda: serial(blocking) == 10, 30 * SLOW, "the catalogue coming through the collector")
    assert employee.curl("https://coop.pigeon.example/")[0] == 6
    assert employee.curl("https://button.pigeon.example/")[0] == 0, "an exception"
    assert employee.curl("https://web.whatsapp.com/")[0] == 6
    rows = blocking.violations(employee)
    assert {r["channel"] for r in rows} == {"carrier-pigeon", "whatsapp"}
    status = agent.status()
    assert status["policy"]["hash"] == policy and status["catalogue"]["version"] == "v10" and "refused" not in status["catalogue"]
    assert "v10 (serial 10)" in agent.cli("status").stdout
    agent.kill(15)
    agent.start()
    assert serial(blocking) == 10, "received, it is newer than the package's"


def test_older_from_the_collector(blocking, employee, tmp_path):
    """Rolled back there nothing changes here, and the auditors' page says so."""
    assert push(blocking, build(blocking, tmp_path, 9)).returncode == 0
    refused = wait_for(lambda: blocking.agent.status()["catalogue"].get("refused"), 30 * SLOW, "a refusal")
    assert "serial 9 is older than 10" in refused["reason"] and serial(blocking) == 10
    text = blocking.agent.cli("status").stdout
    assert "serial 9 is older than 10" in text, text
    wait_for(lambda: any("older than 10" in (d["problem"] or "") for d in blocking.collector.devices()), 30 * SLOW, "the collector's devices")


def edited(station, tmp_path):
    path = build(station, tmp_path, 12)
    path.write_text(path.read_text().replace("pigeon.example", "pigeons.example"))
    return path


# maker, a word of the reason
BAD = {
    "older": (lambda s, t: build(s, t, 8), "serial 8 is older than"),
    "other-contents": (lambda s, t: build(s, t, 11, channels=NEW.replace("Carrier", "Homing")), "a changed file needs a higher serial"),
    "policy-key": (lambda s, t: build(s, t, 12, key="policy.key"), "signed by key"),
    "edited": (edited, "signature"),
}


def test_dropped_file(blocking, employee, tmp_path):
    """`catalogue install` does what an administrator or a configuration management does: two files into the incoming folder."""
    r = blocking.agent.cli("catalogue", "install", build(blocking, tmp_path, 11))
    assert r.returncode == 0 and r.stdout.endswith("catalogue-11.ini: in force, serial 11, version v11\n"), r.stderr
    assert serial(blocking) == 11


@pytest.mark.parametrize("case", list(BAD))
def test_refused(blocking, employee, tmp_path, case):
    maker, word = BAD[case]
    path = maker(blocking, tmp_path)
    r = blocking.agent.cli("catalogue", "install", path)
    assert r.returncode == 1 and path.name in r.stderr and word in r.stderr, r.stderr
    status = blocking.agent.status()["catalogue"]
    assert status["serial"] == 11 and word in status["refused"]["reason"]
    assert word in blocking.agent.cli("status").stdout
    assert employee.curl("https://coop.pigeon.example/")[0] == 6


def test_what_the_policy_names_stays(blocking, tmp_path):
    """A catalogue that no longer knows a channel that the policy in force approves is refused: which would it be?"""
    folder = tmp_path / "fewer"
    shutil.copytree(blocking.desk.channels, folder)
    (folder / "teams.ini").unlink()
    path = tmp_path / "fewer.ini"
    blocking.desk.cli("catalogue", "build", "-o", path, "--version", "v20", "--serial", 20, "--key", "catalogue.key", folder)
    r = blocking.agent.cli("catalogue", "install", path)
    assert r.returncode == 1 and "teams" in r.stderr, r.stderr
    assert serial(blocking) == 11
