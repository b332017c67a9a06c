# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy's way to many laptops: 200 agents at one collector, eight of them with eBPF and nftables of their own, the others with the
real policy store, compiler and uplink. Seconds are shown at the end of a run, with a generous bound."""
import concurrent.futures
import itertools
import json
import os
import pathlib
import subprocess
import time

import pytest

import harness
import internet as net
from harness import BUILD, SLOW, Agent, Collector, Desk, Programs, policy_text, wait_for

REAL, LIGHT = 8, int(os.environ.get("ONCHANNEL_FLEET", "192"))
BOUND = 5 * SLOW
FIRST_UID = 62000  # a user each: the kernel counts inotify instances by user, 128 at most


class Light:
    """fleet-agent and its uplink, in the laptop's network."""

    def __init__(self, fleet, number):
        self.name, self.fleet = f"ws-{number:04}", fleet
        self.folder = fleet.folder / self.name
        self.state, self.runtime = self.folder / "state", self.folder / "run"
        self.uid = FIRST_UID + number
        for path, owner in ((self.folder, 0), (self.state, 0), (self.runtime, 0), (self.state / "incoming", self.uid), (self.state / "uplink", self.uid),
                            (self.state / "spool", 0), (self.state / "policy", 0)):
            path.mkdir()
            os.chown(path, owner, owner)
        self.ini = self.folder / "agent.ini"
        self.ini.write_text(f"[agent]\ndevice = {self.name}\nstate = {self.state}\nruntime = {self.runtime}\n"
                            f"[collector]\nurl = https://{net.COLLECTOR}:8443\nca = {fleet.collector.ca}\n")

    def start(self):
        laptop, log = self.fleet.internet.laptop, open(self.folder / "log", "a")
        self.agent = laptop.popen([str(self.fleet.binary), str(self.state), str(self.runtime), str(self.fleet.desk.folder / "keys"),
                                   str(self.fleet.desk.catalogue), self.name], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self.agent.poll() is not None or (self.runtime / "status.json").exists(), 20 * SLOW, f"{self.name} up")
        assert self.agent.poll() is None, (self.folder / "log").read_text()
        result = laptop.run([str(self.fleet.programs.cli), "enrol", f"https://{net.COLLECTOR}:8443", "--token", self.fleet.token, "--ca",
                             str(self.fleet.collector.ca), "--config", str(self.ini)],
                            env=net.environment(PATH=f"{self.fleet.programs.cli.parent}:{net.PATH}"), timeout=60 * SLOW)
        assert result.returncode == 0, result.stderr
        for path in (self.state / "uplink").iterdir():
            os.chown(path, self.uid, self.uid)
        self.uplink = laptop.popen(["setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups", str(self.fleet.programs.uplink),
                                    "--config", str(self.ini)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def policy(self):
        return json.loads((self.runtime / "status.json").read_text())["policy"]

    def stop(self):
        for process in (self.uplink, self.agent):
            process.kill()
            process.wait()


class Real(Agent):
    """The agent as it is, beside others on one laptop: cgroup, bpf file system, table and state of its own."""

    def __init__(self, fleet, number):
        self.name = f"ws-{number:04}"
        self.own = fleet.folder / self.name
        self.own.mkdir()
        self.internet, self.programs, self.desk, self.collector, self.browsers = fleet.internet, fleet.programs, fleet.desk, fleet.collector, False
        self.state, self.runtime, self.ini = self.own / "state", self.own / "run", self.own / "agent.ini"
        self.log, self.uplink_log = self.own / "agent.log", self.own / "uplink.log"
        self.process = self.uplink = None
        self.cgroup = pathlib.Path(self.internet.laptop.cgroup) / self.name
        self.cgroup.mkdir()
        self.state.mkdir()
        uid = net.SERVICES["onchannel"]
        for folder, mode in (("incoming", 0o755), ("uplink", 0o700)):
            (self.state / folder).mkdir(mode=mode)
            os.chown(self.state / folder, uid, uid)
        self.write_ini(device=self.name, cgroup=self.cgroup, bpffs=f"{self.internet.base}/bpf/{self.name}", table=f"oc{number}")

    def policy_status(self):
        return self.status()["policy"]

    def lookup(self):
        """Somebody in this agent's cgroup asks for web.whatsapp.com: 0 it is answered."""
        code = f"open('{self.cgroup}/cgroup.procs', 'w').write('0'); import socket; socket.getaddrinfo('web.whatsapp.com', 443)"
        return self.internet.laptop.run(["/usr/bin/python3", "-c", code], timeout=60 * SLOW).returncode


class Fleet:
    def __init__(self, internet, folder):
        self.internet, self.folder = internet, folder
        self.programs = Programs(pathlib.Path(internet.base) / "bin")
        self.binary = BUILD / "tests/system/fleet-agent"
        self.desk = Desk(self.programs, pathlib.Path(internet.base) / "desk")
        self.collector = Collector(internet, self.programs)
        self.token = self.collector.run("token", self.collector.dir, "--uses", "1000", "--hours", "1").stdout.split()[-1]
        self.light = [Light(self, n) for n in range(REAL, REAL + LIGHT)]
        self.real = [Real(self, n) for n in range(REAL)]
        self.serials = itertools.count(1)
        self.serial = 0

    def start(self):
        for a in self.real:
            a.start()
            a.cli("enrol", f"https://{net.COLLECTOR}:8443", "--token", self.token, "--ca", self.collector.ca, "--config", a.ini, check=True,
                  env=net.environment(PATH=f"{self.programs.cli.parent}:{net.PATH}"))
            a.start_uplink()
        # a program ends with the thread that started it: the pool lives as long as the fleet
        self.pool = concurrent.futures.ThreadPoolExecutor(4)
        list(self.pool.map(Light.start, self.light))

    def stop(self):
        for a in (*self.light, *self.real):
            a.stop()
        for a in self.real:
            wait_for(lambda: subprocess.run(["rmdir", a.cgroup], capture_output=True, check=False).returncode == 0 or not a.cgroup.exists(), 10,
                     "the cgroup empty")
        self.pool.shutdown()
        self.collector.stop()

    def sign(self, name, **keys):
        """A signed policy with the next serial where the collector's user can read it; (path, serial)."""
        serial = keys.pop("serial", None) or next(self.serials)
        self.serial = serial
        path = self.desk.sign(policy_text(**{"serial": serial, **keys}), f"{name}.ini")
        folder = self.collector.folder / "in"
        folder.mkdir(exist_ok=True)
        for p in (path, path.with_name(path.name + ".minisig")):
            (folder / p.name).write_bytes(p.read_bytes())
        return folder / path.name, serial

    def do(self, *args, check=True):
        verb, *rest = args
        return self.collector.run(verb, self.collector.dir, *rest, check=check)

    def report(self):
        return json.loads(self.do("rollout", "status", "--json").stdout)

    def serials_of(self):
        return {**{a.name: a.policy()["serial"] for a in self.light}, **{a.name: a.policy_status()["serial"] for a in self.real}}


def timed(what, condition):
    start = time.monotonic()
    wait_for(condition, 6 * BOUND, what)
    ms = (time.monotonic() - start) * 1000
    harness.MEASURED.setdefault(what, {})[f"{REAL + LIGHT} agents"] = ms
    assert ms < BOUND * 1000, f"{what}: {ms / 1000:.1f} s"


@pytest.fixture(scope="module")
def fleet(internet):
    folder = pathlib.Path(internet.base) / "fleet"
    folder.mkdir()
    f = Fleet(internet, folder)
    f.start()
    path, serial = f.sign("first")
    f.do("policy", path)
    wait_for(lambda: set(f.serials_of().values()) == {serial}, 60 * SLOW, "the first policy on all 200")
    yield f
    f.stop()


def test_rollout(fleet):
    """A trial in monitor for a tenth and all real ones; wider; then for everyone, enforcing."""
    base = fleet.serial
    assert all(a.lookup() != 0 for a in fleet.real)
    trial, serial = fleet.sign("trial", mode="monitor")
    back, _ = fleet.sign("back")
    fleet.do("rollout", "start", trial, "--share", "10", "--device", "ws-000*", "--back", back)
    ring = {n for n in fleet.serials_of() if n.startswith("ws-000")}

    def in_force():
        r = fleet.report()["ring"]
        return r["devices"] == r["applied"] and not r["refused"]
    timed("a policy in force in the first ring, and the collector knows", in_force)
    have = fleet.serials_of()
    assert all(have[n] == serial for n in ring), "named devices are not in the ring"
    first = {n for n in have if have[n] == serial}
    assert len(ring) < len(first) < len(ring) + LIGHT / 4 and all(have[n] == base for n in have if n not in first)
    assert all(a.lookup() == 0 for a in fleet.real), "monitor lets through"
    wait_for(lambda: fleet.report()["ring"]["violations"]["would_block"] >= REAL, 30 * SLOW, "what it would have blocked")
    assert fleet.report()["ring"]["violations"]["blocked"] == 0
    status, page = fleet.collector.call("/api/v1/rollout")
    assert status == 200 and page["ring"]["applied"] == len(first) and page["ring"]["violations"]["would_block"] >= REAL
    assert (page["others"]["serial"], page["others"]["applied"], page["others"]["refused"]) == (base, REAL + LIGHT - len(first), [])
    fleet.do("rollout", "widen", "--share", "50")
    timed("a wider ring", in_force)
    wider = {n for n, s in fleet.serials_of().items() if s == serial}
    assert first < wider and REAL + LIGHT / 4 < len(wider) < REAL + LIGHT * 3 / 4
    text = fleet.do("rollout", "status").stdout
    assert f"{len(wider)} devices: {len(wider)} applied it, 0 have not answered yet" in text and "would have blocked" in text
    assert "is 50.0 % already" in fleet.do("rollout", "widen", "--share", "5", check=False).stderr
    assert "under way" in fleet.do("policy", trial, check=False).stderr
    fleet.do("rollout", "finish")
    timed("a policy in force everywhere", lambda: set(fleet.serials_of().values()) == {serial})


def test_turned_back(fleet):
    trial, serial = fleet.sign("bad-idea", unlisted="allow")
    back, after = fleet.sign("back")
    fleet.do("rollout", "start", trial, "--device", "ws-000*", "--back", back)
    wait_for(lambda: fleet.report()["ring"]["applied"] >= REAL, 30 * SLOW, "the ring has it")
    assert all(a.lookup() == 0 for a in fleet.real)
    fleet.do("rollout", "back")
    timed("turned back everywhere", lambda: set(fleet.serials_of().values()) == {after})
    assert all(a.lookup() != 0 for a in fleet.real)
    assert fleet.report() is None


def test_refused_by_all(fleet):
    """A policy that names a channel nobody knows: the same reason from everyone in the ring, at the collector."""
    before = set(fleet.serials_of().values())
    bad, _ = fleet.sign("bad", channels={"carrier-pigeon": "allow"})
    back, _ = fleet.sign("back")
    fleet.do("rollout", "start", bad, "--share", "100", "--back", back)

    def refused():
        r = fleet.report()["ring"]
        return r["devices"] == sum(len(x["devices"]) for x in r["refused"])
    timed("a bad policy refused by all, and the collector knows", refused)
    reason, = fleet.report()["ring"]["refused"]
    assert "carrier-pigeon" in reason["reason"] and len(reason["devices"]) == REAL + LIGHT
    assert set(fleet.serials_of().values()) == before
    assert f"{REAL + LIGHT} refused it: " in fleet.do("rollout", "status").stdout
    fleet.do("rollout", "back")
    timed("healed", lambda: set(fleet.serials_of().values()) == {fleet.serial})


@pytest.mark.parametrize("what,complaint", [
    (("start",), "needs a policy, --back"),
    (("start", "{trial}", "--share", "5"), "needs a policy, --back"),
    (("start", "{trial}", "--back", "{back}"), "needs a policy, --back"),
    (("start", "{trial}", "--share", "500", "--back", "{back}"), "a percentage such as 5"),
    (("start", "{back}", "--share", "5", "--back", "{trial}"), "agents would not turn back to it"),
    (("start", "{old}", "--share", "5", "--back", "{back}"), "agents would refuse it"),
    (("start", "{plain}", "--share", "5", "--back", "{back}"), "cannot read it"),
    (("start", "{keys}", "--share", "5", "--back", "{back}"), "changes keys, which a device never forgets"),
    (("start", "{trial}", "--share", "5", "--back", "{keys}"), "changes keys, which a device never forgets"),
    (("back",), "no rollout is under way"),
    (("sideways",), "no rollout is under way"),
])
def test_mistakes(fleet, what, complaint):
    paths = {"old": fleet.sign("old", serial=1)[0], "trial": fleet.sign("trial")[0], "back": fleet.sign("back")[0],
             "keys": fleet.sign("keys", extra="\n[trust]\nrevoke_exemption = EX-1\n")[0], "plain": fleet.collector.folder / "in/none.ini"}
    r = fleet.do("rollout", *(w.format(**paths) for w in what), check=False)
    assert r.returncode in (1, 2) and complaint in r.stderr, r.stderr
    assert fleet.report() is None
    assert fleet.collector.sql("SELECT count(*) FROM bundle WHERE part LIKE 'link:%'") == [(0,)], "a link went to everyone"
