# SPDX-License-Identifier: GPL-3.0-or-later
"""One week of a laptop: it sleeps, is offline, off, and away while keys, catalogues and the collector's address change; at every
step `onchannel status` is right, and in the end the records leave no hole in coverage that they do not explain. The programs
are the real ones; their clocks run ahead (tests/support/week-clock.c), by an hour at a time while somebody works."""
import datetime
import json
import mmap
import os
import pathlib
import shutil
import struct
import subprocess
import time

import pytest

import internet as net
from harness import BUILD, SLOW, Agent, Collector, Desk, Employee, Programs, policy_text
from internet import COLLECTOR, WORLD4, wait_for
from test_trust import public

HOUR = 3600
NEXT_ADDRESS = "192.168.77.2"
MOVE = f"""
ip addr add {NEXT_ADDRESS}/24 dev cable
nft insert rule inet world prerouting ip daddr {NEXT_ADDRESS} tcp dport 8443 accept
nft add table inet moved
nft add chain inet moved input '{{ type filter hook input priority 0; }}'
nft add rule inet moved input ip daddr {WORLD4} tcp dport 8443 drop
"""
CHANNEL = """[channel]
id = pigeon-{n}
name = Pigeon {n}
category = messenger
homepage = https://pigeon-{n}.example
source = https://pigeon-{n}.example
checked = 2026-11-21

[names]
suffix = pigeon-{n}.example
"""


class Clock:
    """What the programs take for the time: how far it is ahead of this machine's, in nanoseconds."""

    def __init__(self, path):
        with path.open("r+b") as f:
            self.map = mmap.mmap(f.fileno(), 32)
        self.ahead = [0] * 4  # CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_MONOTONIC of the agent, of the uplink

    def add(self, *seconds):
        self.ahead = [a + int(s * 1e9) for a, s in zip(self.ahead, seconds)]
        self.map[:] = struct.pack("<qqqq", *self.ahead)

    def boot(self):
        """A machine that was just started."""
        boottime, monotonic = time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic()
        self.add(0, *(60 - real - ahead / 1e9 for real, ahead in zip((boottime, monotonic, monotonic), self.ahead[1:])))


class Week:
    step = HOUR  # of somebody's work, and the heartbeat
    uplink_works = False  # else it sleeps meanwhile, which ends its back-off

    def __init__(self, internet):
        self.internet, self.laptop, self.world = internet, internet.laptop, internet.world
        base = pathlib.Path(internet.base)
        self.clock = Clock(base / "clock")
        self.programs = Programs(base / "bin")
        shutil.copy(BUILD / "tests/system/onchanneld-next", base / "bin")
        self.programs.agent, self.programs.uplink = base / "bin/agent", base / "bin/uplink"
        self.run_version("onchanneld")
        self.wrap(self.programs.uplink, "onchannel-uplink", 1)
        self.desk = Desk(self.programs, base / "desk")
        for name in ("b", "c"):
            self.desk.cli("key", "new", name)
        self.collector = Collector(internet, self.programs)
        self.agent = Agent(internet, self.programs, self.desk, self.collector)
        self.agent.write_ini(heartbeat=self.step, check=self.step)
        self.anna = Employee(internet, "anna")
        self.people = (Employee(internet, name) for name in list(net.PEOPLE)[2:])
        self.serial, self.catalogue, self.boots, self.hour = 0, 1, 0, time.monotonic()
        self.expected = {"mode": "enforce", "refused": None, "keys": [public(self.desk, "policy")[0]], "version": None, "catalogue": 1}

    def run_version(self, name):
        self.wrap(self.programs.agent, name, 0)

    @staticmethod
    def wrap(path, name, clock):
        """The uplink waits by the kernel, whose clock does not run ahead: an hour of work is an hour's sleep to it."""
        path.write_text(f'#!/bin/sh\nWEEK_MONOTONIC={clock} exec {path.parent}/{name} "$@"\n')
        path.chmod(0o755)

    # ---- what happens ----
    def awake(self, hours):
        for _ in range(hours):
            before = self.heartbeat()
            rest, self.hour = self.step + 1 - (time.monotonic() - self.hour), time.monotonic()
            self.clock.add(rest, rest, rest, rest * self.uplink_works)
            wait_for(lambda: self.agent.alive() and self.heartbeat() > before, 20 * SLOW, "an hour's coverage record")
            self.agent.status()  # behind what else was due at that hour

    def heartbeat(self):
        """The hour of the latest look at the canary, which comes with each heartbeat."""
        return datetime.datetime.fromisoformat(self.agent.status()["canary"]["time"].replace("Z", "+00:00")).timestamp() // 1800

    def start(self):
        self.agent.start()
        self.hour = time.monotonic()  # from which on its heartbeats count

    def asleep(self, hours, meanwhile=lambda: None):
        meanwhile()
        before = self.agent.status()["slept"]
        self.clock.add(hours * HOUR, hours * HOUR, 0, 0)
        wait_for(lambda: self.agent.alive() and self.agent.status()["slept"] - before >= hours * HOUR, 10 * SLOW, "the agent waking up")

    def off(self, hours):
        """Shut down in order, as systemd does, and started again: nothing is left in the kernel, and it is another boot."""
        self.agent.stop()
        self.laptop.run(["sh", "-ec", f"rm -r {self.internet.base}/bpf/onchannel; nft delete table inet onchannel"], check=True)
        self.clock.add(hours * HOUR, 0, 0, 0)
        self.clock.boot()
        self.boots += 1
        boot = pathlib.Path(self.internet.base) / f"boot-{self.boots}"
        boot.write_text(f"{self.boots:08}-0000-4000-8000-000000000000\n")
        self.laptop.run(["mount", "--bind", boot, "/proc/sys/kernel/random/boot_id"], check=True)
        self.start()
        self.agent.start_uplink()

    def cable(self, state):
        self.world.run(["ip", "link", "set", "cable", state], check=True)

    def give(self, command, path):
        """To the collector, as its administrator does."""
        folder = self.collector.folder / "new"
        folder.mkdir(exist_ok=True)
        for suffix in ("", ".minisig"):
            shutil.copy(f"{path}{suffix}", folder)
            (folder / f"{path.name}{suffix}").chmod(0o644)
        self.collector.run(command, self.collector.dir, folder / path.name)

    def policy(self, key="policy", trust=""):
        self.serial += 1
        extra = f"\n[trust]\n{trust}" if trust else ""
        self.give("policy", self.desk.sign(policy_text({"teams": "allow"}, extra, serial=self.serial), f"p{self.serial}.ini", f"{key}.key"))

    def new_catalogue(self):
        self.catalogue += 1
        folder = self.desk.folder / "channels"
        if not folder.exists():
            shutil.copytree(self.desk.channels, folder)
        (folder / f"pigeon-{self.catalogue}.ini").write_text(CHANNEL.format(n=self.catalogue))
        self.give("catalogue", self.desk.build_catalogue(folder, f"catalogue-{self.catalogue}.ini", self.catalogue))

    # ---- what must be so ----
    def is_right(self, online=True, **changed):
        """By JSON and by what a person reads; what was true once stays true until told otherwise."""
        self.expected |= {"serial": self.serial, **changed}
        seen = {}

        def right():
            s = self.agent.status()
            seen.update({"serial": s["policy"]["serial"], "mode": s["policy"]["mode"], "refused": s["policy"].get("refused"),
                         "keys": s["trust"]["policy"]["keys"], "version": s["version"] if self.expected["version"] else None,
                         "catalogue": s["catalogue"]["serial"], "online": s["collector"]["failing"] is None and s["collector"]["reached"] is not None,
                         "queue": s["spool"]["queue"] > 0})
            return seen == {**self.expected, "online": online, "queue": not online}
        try:
            wait_for(right, 20 * SLOW)
        except TimeoutError:
            raise AssertionError(f"status says {seen}\nand should {self.expected}, online {online}\n{self.agent.uplink_log.read_text()[-2000:]}") from None
        s, text = self.agent.status(), self.agent.cli("status", check=True).stdout
        assert s["self_test_passed"] and s["canary"]["result"] == "blocked", s
        lines = {" ".join(line.split()) for line in text.splitlines()}
        for line in (f"policy {self.serial} of Example Bank plc, signed by {s['policy']['signer']}", f"mode {self.expected['mode']}", "self-test passed",
                     f"catalogue test (serial {self.expected['catalogue']}), {s['catalogue']['channels']} channels, {s['catalogue']['entries']} entries"):
            assert line in lines, (line, text)
        assert (" asleep for " in text) == (s["slept"] > 0), text
        where, = (line for line in lines if line.startswith("collector"))
        assert where.startswith("collector reached 20" if online else "collector not reached since 20"), text
        return s, text

    def holds(self, online=True):
        """What is blocked is blocked, for somebody who has not tried yet; the rest works."""
        somebody, since = next(self.people), time.monotonic()
        assert somebody.curl("https://149.154.167.50/")[0] == 7 and somebody.curl("https://web.whatsapp.com/")[0] == 6
        assert not self.internet.seen("tcp", since, address="149.154.167.50")
        if online:
            assert self.anna.curl("https://www.example.org/")[0] == 0
        return somebody

    def stop(self):
        self.agent.stop()
        self.collector.stop()


@pytest.fixture
def week(internet, monkeypatch):
    real, shim = net.environment, {"LD_PRELOAD": str(pathlib.Path(internet.base) / "week-clock.so"), "WEEK_CLOCK": f"{internet.base}/clock"}
    shutil.copy(BUILD / "tests/system/week-clock.so", internet.base)
    monkeypatch.setattr(net, "environment", lambda **more: real(**shim, **more))
    for name, value in shim.items():
        monkeypatch.setenv(name, value)
    pathlib.Path(shim["WEEK_CLOCK"]).write_bytes(bytes(32))
    w = Week(internet)
    yield w
    w.stop()


def coverage(week):
    """(event, cause, gap in hours, time) of all coverage records, in their order."""
    rows = week.collector.sql("SELECT CAST(body AS TEXT) FROM record WHERE json_extract(CAST(body AS TEXT), '$.unmapped.onchannel.kind') = 'coverage' ORDER BY seq")
    records = [json.loads(body) for body, in rows]
    return [(c["event"], c.get("cause"), round(c["gap_ms"] / HOUR / 1000), r["time"]) for r in records for c in [r["unmapped"]["onchannel"]["coverage"]]]


def monday(w):
    w.agent.start()
    w.agent.enrol()
    w.agent.start_uplink()
    w.policy()
    s, text = w.is_right()
    assert s["started"] == {"cause": "first"} and "before:" not in text
    w.awake(4)
    w.asleep(1)
    w.is_right()
    w.awake(4)
    w.holds()
    w.is_right()


def tuesday(w):
    """At home without a network; at the desk a key is rotated and a catalogue is published."""
    w.asleep(15, lambda: w.cable("down"))
    w.awake(3)
    somebody = w.holds(online=False)
    w.is_right(online=False)
    w.policy("policy", f"next_key = {public(w.desk, 'b')[1]}\n")
    w.policy("b", f"revoke_key = {public(w.desk, 'policy')[0]}\n")
    w.new_catalogue()
    w.serial -= 2
    w.awake(4)
    w.is_right(online=False)
    return somebody


def wednesday(w, somebody):
    """Back in the office: what was missed comes, what was tried meanwhile arrives."""
    w.asleep(15, lambda: w.cable("up"))
    w.serial += 2
    w.is_right(catalogue=2, keys=[public(w.desk, "b")[0]])
    w.collector.cookies = None
    wait_for(lambda: len(w.collector.violations(user=somebody.name)) >= 2, 10 * SLOW, "what was tried offline")
    w.awake(6)
    w.new_catalogue()
    w.is_right(catalogue=3)


def thursday(w):
    """Off by night. The package is upgraded by day: the agent alone ends and starts; what it attached goes on."""
    w.off(14)
    s, text = w.is_right()
    assert s["started"] == {"cause": "boot"} and s["slept"] == 0 and "before:" not in text
    w.awake(2)
    before = s["version"]
    w.agent.kill(15)
    w.holds()
    w.run_version("onchanneld-next")
    w.agent.start()
    s, text = w.is_right(version="9.9.9")
    assert s["started"] == {"cause": "upgrade", "version_before": before} and f"before: {before}" in text and "9.9.9" in text
    w.awake(2)
    w.holds()


def friday(w):
    """The collector has moved by the time the laptop wakes up, a second key is rotated, a third catalogue comes."""
    w.policy("b", f"next_key = {public(w.desk, 'c')[1]}\n")
    w.is_right(keys=[public(w.desk, n)[0] for n in ("b", "c")])

    def moved():
        w.world.run(["sh", "-ec", MOVE], check=True)
        w.laptop.run(["sh", "-c", f"echo {NEXT_ADDRESS} {COLLECTOR} >>/etc/hosts"], check=True)
        w.policy("c", f"revoke_key = {public(w.desk, 'b')[0]}\n")
    w.asleep(16, moved)
    w.is_right(keys=[public(w.desk, "c")[0]])
    w.new_catalogue()
    w.is_right(catalogue=4)
    w.awake(6)


def test_week(week, tmp_path):
    start = time.time()
    monday(week)
    wednesday(week, tuesday(week))
    thursday(week)
    friday(week)
    week.asleep(75)  # the weekend
    week.awake(1)
    week.holds()
    week.is_right()
    days = (time.time() - start + week.clock.ahead[0] / 1e9) / 86400
    assert days > 6.9

    records = coverage(week)
    events = [e for e, *_ in records]
    assert [c for e, c, *_ in records if e == "start"] == ["first", "boot", "upgrade"] and events.count("stop") == 2
    assert [gap for e, _, gap, _ in records if e == "sleep"] == [1, 15, 15, 16, 75]
    assert not {"gap", "clock", "refused", "went-back"} & set(events), events
    # the verifier's own judgement, without the programs' clock
    out = pathlib.Path(week.internet.base) / "week.ndjson"
    week.collector.cookies = None
    status, _ = week.collector.call("/api/v1/export", "-o", str(out))
    assert status == 200
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    r = subprocess.run([BUILD / "cli/onchannel-verify", out, "--json", "--heartbeat", str(HOUR)], capture_output=True, text=True, check=False, env=env)
    device, = json.loads(r.stdout)["devices"]
    assert r.returncode == 0, r.stdout
    assert [h["why"] for h in device["holes"]] == ["the agent was stopped, the machine was started anew", "the agent was upgraded"], device["holes"]
    assert round(device["asleep_ms"] / HOUR / 1000) == 122 and 14 <= device["uncovered_ms"] / HOUR / 1000 < 14.5, device
    print(f"{days:.1f} days in {time.time() - start:.1f} s: {len(records)} coverage records, asleep {device['asleep_ms'] / HOUR / 1000:.1f} h, "
          f"holes {[(h['why'], round((h['to'] - h['from']) / HOUR / 1000, 2)) for h in device['holes']]}")
