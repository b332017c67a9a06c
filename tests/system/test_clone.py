# SPDX-License-Identifier: GPL-3.0-or-later
"""A laptop's disk is copied, and both machines go on: with one key, at one collector."""
import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import types

import pytest

from harness import SLOW, TREE, Collector, Desk, Programs, wait_for
from test_evidence import VERIFY, export, own_verify
from test_fleet import Real
from test_forward import PORT, Receiver, secret

sys.path.insert(0, str(TREE / "tests/support"))
import verify_bundle  # noqa: E402


@pytest.fixture
def receiver(internet, tmp_path):
    r = Receiver(internet, tmp_path)
    yield r
    r.process.kill()
    r.process.wait()


@pytest.fixture(scope="module")
def programs(internet):
    return Programs(pathlib.Path(internet.base) / "bin")


@pytest.fixture
def collector(internet, programs, receiver):
    c = Collector(internet, programs)
    c.stop()
    ca = secret(c, "receiver-ca.pem", pathlib.Path(internet.base, "ca.pem").read_text())
    with open(c.dir / "collector.ini", "a") as f:
        f.write(f"[forward siem]\nform = ndjson\nurl = https://127.0.0.1:{PORT}/lines\nca = {ca}\n")
    c.start()
    yield c
    c.stop()
    shutil.rmtree(c.folder)


numbers = itertools.count()


@pytest.fixture
def laptops(internet, collector):
    """Two, of which the second has nothing yet."""
    folder = pathlib.Path(internet.base) / "laptops"
    folder.mkdir()
    around = types.SimpleNamespace(internet=internet, folder=folder, programs=collector.programs, desk=Desk(collector.programs, folder / "desk"),
                                   collector=collector)
    both = [Real(around, next(numbers)) for _ in range(2)]
    for a in both:
        a.serial = 0
        a.log, a.uplink_log = (pathlib.Path(internet.base) / f"{a.name}-{what}.log" for what in ("agent", "uplink"))
    yield both
    for a in both:
        a.stop()
    shutil.rmtree(folder)


def look_up(laptop, name):
    code = f"open('{laptop.cgroup}/cgroup.procs', 'w').write('0'); import socket; socket.getaddrinfo('{name}', 443)"
    assert laptop.internet.laptop.run(["/usr/bin/python3", "-c", code], timeout=60 * SLOW, check=False).returncode != 0, "blocked"


def channels(collector, device):
    return {r["channel"] for r in collector.violations(device=device)}


def spooled(state):
    return b"".join(p.read_bytes() for p in (state / "spool").rglob("*") if p.is_file())


def copy_disk(first, second):
    """Neither runs afterwards."""
    first.stop()
    shutil.rmtree(second.state)
    subprocess.run(["cp", "-a", first.state, second.state], check=True)
    second.ini.write_text(second.ini.read_text().replace(f"device = {second.name}", f"device = {first.name}"))


def kinds(collector, device):
    return {f["kind"]: f["record"] for f in collector.call("/api/v1/integrity")[1]["findings"] if f["device"] == device}


def test_two_that_record_nothing(collector, laptops):
    """Before their chains come apart two copies are told by their connections, which are in use by turns; an uplink that begins
    anew again and again is one machine."""
    first, second = laptops
    first.start()
    first.enrol()
    status = first.status()
    device = status["device"]
    copy_disk(first, second)
    for laptop in (first, second):
        laptop.runtime.mkdir(mode=0o755, exist_ok=True)
    turns = iter(range(1, 100))

    def say(laptop):
        """What its agent would write; the uplink sends it, and the collector has it."""
        said = status | {"version": f"turn-{next(turns)}"}
        (laptop.runtime / "new").write_text(json.dumps(said))
        (laptop.runtime / "new").chmod(0o644)
        (laptop.runtime / "new").rename(laptop.runtime / "status.json")
        wait_for(lambda: said["version"] in str(collector.sql("SELECT status FROM device WHERE id = ?", device)), 20 * SLOW, "the status at the collector")

    for _ in range(3):
        first.start_uplink()
        say(first)
        first.stop()
    assert not kinds(collector, device)
    first.start_uplink()
    say(first)
    second.start_uplink()
    for _ in range(2):
        say(second)
        say(first)
    wait_for(lambda: kinds(collector, device), 20 * SLOW, "the finding")
    found = kinds(collector, device)
    assert list(found) == ["clone"] and "two connections are in use by turns" in json.dumps(found), found


def test_copied_disk(collector, laptops, receiver, tmp_path):
    first, second = laptops
    first.start()
    first.enrol()
    first.start_uplink()
    first.policy()
    look_up(first, "web.whatsapp.com")
    wait_for(lambda: channels(collector, first.name) == {"whatsapp"}, 20 * SLOW, "a record before the disk is copied")
    copy_disk(first, second)
    for laptop in (first, second):
        laptop.start()
        laptop.start_uplink()
    device = first.status()["device"]
    assert second.status()["device"] == device, "one key"

    # told apart and reported, on the page and beyond
    wait_for(lambda: "chain-fork" in kinds(collector, device), 20 * SLOW, "the finding")
    assert kinds(collector, device)["chain-fork"]["class_uid"] == 2004

    def forwarded():
        return any(device in t and "chain-fork" in t for t in map(json.dumps, receiver.taken("ndjson")))
    wait_for(forwarded, 20 * SLOW, "the finding at the SIEM")

    # which of them came first is chance: its history goes on, whole; the other is told, and keeps what it has
    wait_for(lambda: first.status()["uplink_problem"] or second.status()["uplink_problem"], 20 * SLOW, "one of them is told")
    kept, other = (second, first) if first.status()["uplink_problem"] else (first, second)
    look_up(kept, "discord.com")
    look_up(other, "viber.com")
    wait_for(lambda: "discord" in channels(collector, first.name), 20 * SLOW, "the first history going on")
    wait_for(lambda: b'"viber"' in spooled(other.state), 20 * SLOW, "the other's record in its spool")
    assert not kept.status()["uplink_problem"]
    said = other.cli("status", check=True).stdout
    assert "another history of this device" in said and "TWO MACHINES WITH ONE KEY" in said, said
    assert other.status()["spool"]["queue"] > 0 and "records not yet at the collector" in said
    assert channels(collector, first.name) == {"whatsapp", "discord"}
    wait_for(lambda: kept.status()["spool"]["queue"] == 0, 20 * SLOW, "all of the first history at the collector")
    bundle = tmp_path / "bundle"
    data = export(collector, bundle)
    code, verdict = own_verify(bundle)
    mine, = verdict["devices"]
    assert code == 0 and mine["present"] == kept.status()["spool"]["next_seq"] - 1 and mine["first"] == 1, verdict
    assert not verify_bundle.verify(data).problems

    # enrolling with the same key changes nothing; with a key of its own, as the manual says, it reports again
    other.enrol()
    look_up(other, "signal.org")
    wait_for(lambda: b'"signal"' in spooled(other.state), 20 * SLOW, "the next record in the spool")
    mine = kept.status()["spool"]["next_seq"] - 1
    other.stop()
    aside = other.state / "aside"
    aside.mkdir()
    for name in ("spool", "device.key", "device.pub"):
        (other.state / name).rename(aside / name)
    for name in ("cert.pem", "ack", "problem"):
        (other.state / "uplink" / name).unlink(missing_ok=True)
    other.ini.write_text(other.ini.read_text().replace(f"device = {first.name}", "device = ws-again"))
    other.start()
    assert aside.is_dir() and all(f'"{c}"'.encode() in spooled(aside) for c in ("viber", "signal")), "it waits"
    other.enrol()
    other.start_uplink()
    look_up(other, "viber.com")
    wait_for(lambda: channels(collector, "ws-again") == {"viber"}, 20 * SLOW, "the second machine by its own key")
    assert other.status()["device"] != device and not other.status()["uplink_problem"]

    # what it had kept comes as a branch of the device that it was, once, and is there no more
    branch = f"{device}~2"
    wait_for(lambda: not aside.exists(), 20 * SLOW, "the earlier records at the collector")
    rows = collector.violations(device=branch)  # a look-up of which a part came late has a second record
    assert {r["channel"] for r in rows} == {"signal", "viber"} and len({r["seq"] for r in rows}) == len(rows) <= 4, rows
    assert {r["device_name"] for r in collector.violations(device=branch)} == {f"{first.name}~2"}
    assert channels(collector, first.name) == {"whatsapp", "discord"}
    assert not (other.state / "uplink/ack-aside").exists()
    data = export(collector, bundle)
    code, verdict = own_verify(bundle)
    by_id = {d["device"]: d for d in verdict["devices"]}
    assert code == 0 and not verify_bundle.verify(data).problems, verdict
    assert by_id[device]["present"] >= mine and not by_id[device]["branch"] and by_id[branch]["branch"]
    export(collector, bundle, device=first.name)
    assert {d["device"] for d in own_verify(bundle)[1]["devices"]} == {device, branch}, "asked for one, both come"
    assert 1 < by_id[branch]["first"] <= mine and by_id[branch]["violations"] == 2, "it begins where it parts"
    said = subprocess.run([VERIFY, bundle], capture_output=True, text=True, check=True).stdout
    assert "a branch: what another machine with the key" in said, said
    assert collector.run("check", collector.dir).stdout.strip().endswith("holds")
