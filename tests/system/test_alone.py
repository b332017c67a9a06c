# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent without a collector, before and after its first policy."""
import json
import os
import pathlib
import re
import shutil

import pytest

import world
from harness import TREE, Agent, Desk, Employee, Programs
from internet import Internet, wait_for


@pytest.fixture(scope="module")
def agent():
    with Internet() as internet:
        base = pathlib.Path(internet.base)
        programs = Programs(base / "bin")
        a = Agent(internet, programs, Desk(programs, base / "desk")).start()
        yield a
        a.stop()


def test_sensors(agent):
    """Which path is in force is said; where BPF LSM is active it is taken."""
    lsm = bool(os.environ.get("ONCHANNEL_LSM"))
    assert agent.status()["sensors"].startswith("exec=lsm " if lsm else "exec=signal ")


def test_without_a_policy_it_only_watches(agent):
    anna = Employee(agent.internet, "anna")
    assert agent.status()["policy"]["mode"] == "none"
    assert anna.curl("https://web.whatsapp.com/")[0] == 0
    assert anna.python('result = attempt(connect, "149.154.167.50", 443)')["error"] is None


def test_first_policy(agent):
    ben = Employee(agent.internet, "ben")
    agent.policy()
    assert ben.curl("https://web.whatsapp.com/")[0] == 6
    assert ben.curl("https://web.whatsapp.com/", "--resolve", f"web.whatsapp.com:443:{world.SHARED4}")[0] in (35, 56)
    assert ben.python('result = attempt(connect, "149.154.167.50", 443)')["error"]
    path = ben.home / "signal-desktop"
    shutil.copy("/usr/bin/true", path)
    r = ben.python("result = attempt(lambda: subprocess.run([sys.argv[1]]).returncode)", str(path))
    assert r["error"] == "EPERM" if os.environ.get("ONCHANNEL_LSM") else r["value"] == -9, r
    assert ben.curl("https://www.example.org/")[0] == 0

    def layers():
        notices = [json.loads(line) for line in agent.cli("notices", "--json", check=True).stdout.splitlines()]
        return sorted(n["layer"] for n in notices if n["uid"] == ben.uid) == ["connect", "dns", "exec", "tls"]
    wait_for(layers, 10, "a notice of each layer")


def test_every_object_is_in_force(agent):
    """What outlives the daemon: all programs of the sources that this kernel takes, and what they share."""
    sources = "".join(p.read_text() for p in sorted((TREE / "bpf").glob("*.bpf.c")))
    programs = re.findall(r'SEC\("(\w+)/[^\n]*\n[^\n]*?\b(oc_\w+)', sources)
    assert len(programs) > 15
    trampolines = "lent=fentry" in agent.status()["sensors"]
    has = {"lsm": bool(os.environ.get("ONCHANNEL_LSM")), "fentry": trampolines, "fmod_ret": trampolines, "iter": False}
    wanted = {name for kind, name in programs if has.get(kind, True)}
    pins = set(agent.internet.laptop.run(["ls", f"{agent.internet.base}/bpf/onchannel"], check=True).stdout.split())
    assert wanted | {"oc_events", "oc_drops", "oc_active"} <= pins, wanted - pins
