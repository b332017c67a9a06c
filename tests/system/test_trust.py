# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may sign: two signatures where demanded, keys rotated twice, policies missed meanwhile; and an agent that goes back when what
came into force does not hold up."""
import os
import pathlib
import shutil

import pytest

from harness import SLOW, Agent, Desk, Employee, Programs, policy_text
from internet import wait_for


@pytest.fixture(scope="module")
def agent(internet):
    base = pathlib.Path(internet.base)
    programs = Programs(base / "bin")
    desk = Desk(programs, base / "desk")
    for name in ("second", "b", "c"):
        desk.cli("key", "new", name)
    a = Agent(internet, programs, desk)
    a.write_ini(check=3600, tag="trading-floor")
    a.start()
    yield a
    a.stop()


def public(desk, name):
    path = next(p for p in (desk.folder / f"{name}.pub", desk.folder / f"keys/{name}.pub") if p.exists())
    comment, key = path.read_text().splitlines()
    return comment.split()[-1], key


def signed(agent, keys, trust="", **more):
    """A policy with a higher serial, signed by these keys in turn."""
    agent.serial += 1
    path = agent.desk.sign(policy_text(extra=f"\n[trust]\n{trust}" if trust else "", serial=agent.serial, **more), f"p{agent.serial}.ini",
                           f"{keys[0]}.key")
    for key in keys[1:]:
        agent.desk.cli("policy", "sign", path, "--key", f"{key}.key", "--add")
    return path


def install(agent, path):
    """Why it was refused, or None."""
    r = agent.cli("policy", "install", path)
    return r.stderr if r.returncode else None


def accept(agent, *args, **more):
    path = signed(agent, *args, **more)
    assert install(agent, path) is None
    return path


def refuse(agent, word, *args, **more):
    reason = install(agent, signed(agent, *args, **more))
    assert reason and word in reason, reason


def test_canary_proves_blocking(agent):
    """At the start, without a policy, in every mode; nobody is told and nothing is recorded."""
    before = agent.status()["spool"]["next_seq"]
    assert agent.status()["canary"]["result"] == "blocked"
    for mode in ("monitor", "enforce"):
        accept(agent, ["policy"], mode=mode)
        assert agent.status()["canary"]["result"] == "blocked", mode
    assert agent.cli("notices", check=True).stdout == "" or "canary" not in agent.cli("notices").stdout
    assert agent.status()["spool"]["next_seq"] > before


@pytest.mark.skipif("ONCHANNEL_LSM" in os.environ, reason="BPF LSM keeps the programs attached")
def test_goes_back_when_blocking_does_not_work(agent, needs):
    """The kernel's program is gone: the new policy is refused, the one before stays, the sensors are repaired, and then it is taken."""
    needs("bpftool")
    accept(agent, ["policy"])
    pins = pathlib.Path(f"{agent.internet.base}/bpf/onchannel")
    listed = agent.internet.laptop.run(["ls", str(pins)], check=True).stdout.split()
    egress, = [p for p in listed if "egress" in p]
    agent.internet.laptop.run(["bpftool", "link", "detach", "pinned", str(pins / egress)], check=True)
    path = signed(agent, ["policy"])
    reason = install(agent, path)
    assert reason and "self-test failed: a name that must be blocked got through" in reason
    status = agent.status()
    assert status["policy"]["serial"] == agent.serial - 1 and status["canary"]["went_back"]
    assert "the one before is in force again" in agent.log.read_text()
    wait_for(lambda: agent.status()["canary"]["result"] == "blocked", 10 * SLOW, "blocking proven again")
    assert agent.request("reload")["ok"]
    assert agent.status()["policy"]["serial"] == agent.serial
    assert Employee(agent.internet, "anna").curl("https://web.whatsapp.com/")[0] == 6


def test_tag_and_unixgroup(agent):
    """A group by the device's tag and by a group of the machine that lists nobody: it is somebody's own."""
    anna, ben = Employee(agent.internet, "anna"), Employee(agent.internet, "ben")
    path = agent.desk.folder / "groups.ini"
    for tag, inside in (("trading-*", True), ("elsewhere", False)):
        agent.serial += 1
        text = policy_text(serial=agent.serial, extra=f"\n[group g]\ntag = {tag}\nunixgroup = anna\n[channel whatsapp]\nverdict = allow\ngroup = g\n")
        path.write_text(text)
        agent.desk.cli("policy", "sign", path, "--key", "policy.key")
        assert install(agent, path) is None
        assert (anna.curl("https://web.whatsapp.com/")[0] == 0) == inside
        assert ben.curl("https://web.whatsapp.com/")[0] == 6


def test_two_signatures(agent):
    """Demanded by a policy, lowered only by both; one signer twice is one."""
    shutil.copy(agent.desk.folder / "second.pub", agent.desk.folder / "keys/policy2.pub")
    assert agent.request("reload")["ok"]
    accept(agent, ["policy"], "policy_signatures = 2\n")
    refuse(agent, "1 of the 2 signatures", ["policy"])
    refuse(agent, "1 of the 2 signatures", ["policy"], "policy_signatures = 1\n")
    refuse(agent, "1 of the 2 signatures", ["policy", "policy"])
    refuse(agent, "1 of the 2 signatures", ["policy", "b"])
    accept(agent, ["second", "policy"])
    assert agent.status()["trust"]["policy"]["signatures"] == 2
    agent.kill()
    agent.start()
    refuse(agent, "1 of the 2 signatures", ["second"])
    accept(agent, ["policy", "second"], "policy_signatures = 1\n")
    accept(agent, ["policy"])
    refuse(agent, "nobody could sign the next policy", ["policy"], "policy_signatures = 4\n")


def test_rotated_twice(agent):
    """policy → b → c; the old keys are revoked, a restart changes nothing; a laptop that was away gets the links; an old policy is
    refused with a new keys folder as well."""
    desk, ids = agent.desk, {name: public(agent.desk, name) for name in ("policy", "second", "b", "c")}
    old = signed(agent, ["policy"])
    links = [accept(agent, ["policy"], f"next_key = {ids['b'][1]}\nrevoke_key = {ids['second'][0]}\n")]
    refuse(agent, "not trusted here", ["c"])
    links.append(accept(agent, ["b"], f"next_key = {ids['c'][1]}\nrevoke_key = {ids['policy'][0]}\n"))
    refuse(agent, "which is revoked", ["policy"])
    agent.kill()
    agent.start()
    assert agent.status()["policy"]["serial"] == agent.serial - 1
    last = accept(agent, ["c"], f"revoke_key = {ids['b'][0]}\n")
    refuse(agent, "which is revoked", ["b"])
    assert agent.status()["trust"]["policy"]["keys"] == [ids["c"][0]]
    in_force = agent.status()["policy"]["serial"]
    agent.stop()
    shutil.copy(desk.folder / "keys/policy.pub", desk.folder / "keys/policy3.pub")  # a package installed anew, its state kept
    agent.start()
    assert agent.status()["policy"]["serial"] == in_force
    assert "which is revoked" in install(agent, old)
    desk.cli("policy", "sign", old, "--key", "c.key")
    assert "older than" in install(agent, old)
    # away all the while: nothing but the first key
    agent.stop()
    for path in ("policy", "exemptions", "incoming/policy.ini", "incoming/policy.ini.minisig"):
        (shutil.rmtree if (agent.state / path).is_dir() else os.unlink)(agent.state / path)
    agent.start()
    assert agent.status()["policy"]["mode"] == "none"
    assert "not trusted here" in install(agent, last)
    for i, link in enumerate(links):
        for suffix in (".minisig", ""):
            shutil.copy(f"{link}{suffix}", agent.state / f"incoming/links/{i}.ini{suffix}")
    assert install(agent, last) is None
    assert agent.status()["trust"]["policy"]["keys"] == [ids["c"][0]] and agent.status()["trust"]["links"] == 3
    agent.kill()
    agent.start()
    assert agent.status()["policy"]["serial"] == in_force
    accept(agent, ["c"])
