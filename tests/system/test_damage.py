# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody works against the agent, the machine breaks: its files are damaged, its disk is full or turns read-only. The
agent starts, says what is wrong, blocks what it blocked and nothing else, and keeps what can still be read."""
import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from harness import SLOW, TREE, Agent, Desk, Employee, Programs, policy_text
from internet import PEOPLE, Internet, wait_for

sys.path.insert(0, str(TREE / "tests/support"))
import chain  # noqa: E402

TELEGRAM = "149.154.167.64"
SET_ASIDE = "the state folder was damaged; set aside"


def empty(path):
    path.write_bytes(b"")


def torn(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(os.urandom(max(path.stat().st_size, 10)))


def a_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "lost+found").write_text("x")


def a_file(path):
    shutil.rmtree(path)
    path.write_text("x\n")


def gone(path):
    shutil.rmtree(path)


def another_owner(path):
    subprocess.run(["sh", "-c", f"chown -R 65534:65534 {path} && chmod -R go-rwx {path}"], check=True)


# what is damaged, how, what the agent says
DAMAGES = [
    *(("policy/current.ini", how, "policy refused") for how in (empty, torn, garbage, a_folder)),
    ("policy/current.ini.minisig", torn, "policy refused"), ("policy/serial", garbage, None), ("policy/serial", a_folder, SET_ASIDE),
    ("policy/signed", empty, None), ("policy/catalogue", a_folder, SET_ASIDE), ("policy/links", a_file, SET_ASIDE),
    ("policy", a_file, SET_ASIDE), ("policy", gone, None), ("catalogue", a_file, SET_ASIDE),
    *(("device.key", how, "this is a new device") for how in (empty, torn, a_folder)), ("device.pub", a_folder, SET_ASIDE),
    ("collected", a_folder, SET_ASIDE), ("collected", garbage, None), ("last-run", a_folder, SET_ASIDE), ("last-run", torn, "last-run"),
    ("spool/lock", a_folder, SET_ASIDE), ("spool", a_file, SET_ASIDE), ("exemptions/ledger", a_folder, SET_ASIDE),
    ("exemptions/ledger", garbage, "begins anew"), ("incoming", a_file, SET_ASIDE), ("incoming/policy.ini", a_folder, SET_ASIDE),
    ("incoming/links", a_file, SET_ASIDE), ("uplink", a_file, SET_ASIDE), (".", another_owner, None),
]


class Laptop:
    """An agent whose state folder is a disk of its own."""

    def __init__(self, world):
        base = pathlib.Path(world.base)
        self.world, self.image, programs = world, base / "disk", Programs(base / "bin")
        self.agent = Agent(world, programs, Desk(programs, base / "desk"))
        self.state = self.agent.state
        subprocess.run(["truncate", "-s", "6M", self.image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=True)
        self.mount()
        self.agent.write_ini(check=1)
        self.agent.start()
        self.agent.policy()
        self.people, self.tried = iter(PEOPLE), []

    def run(self, script):
        self.world.laptop.run(["sh", "-ec", script], check=True)

    def mount(self):
        self.run(f"mount -o loop,errors=remount-ro {self.image} {self.state}")

    def path(self, name):
        """As the laptop sees it."""
        return pathlib.Path(f"/proc/{self.world.laptop.holder.pid}/root{self.state}/{name}")

    def boot(self):
        """What the kernel keeps of an agent is gone."""
        self.agent.kill()
        self.run(f"rm -r {self.world.base}/bpf/onchannel {self.agent.runtime} && nft delete table inet onchannel")

    def attempts(self):
        """{(user, channel): how many attempts} of all records."""
        found = collections.Counter()
        for path in sorted(self.path("spool").glob("*.seg")):
            for _, _, record in chain.segment(path)[0].values():
                record = json.loads(record)
                if record["unmapped"]["onchannel"].get("class") == "use":
                    found[record["actor"]["user"]["name"], record["app_name"]] += record.get("count", 1)
        return found

    def start(self):
        """What the agent says of it."""
        mark = self.agent.log.stat().st_size
        self.agent.start()
        self.check()
        return self.agent.log.read_bytes()[mark:].decode(errors="replace")

    def check(self, serial=None):
        """As somebody who has not tried yet, so that there is a new record."""
        assert (serial or self.agent.status()["policy"]["serial"]) == self.agent.serial
        self.tried.append(next(self.people))
        result = Employee(self.world, self.tried[-1]).python(f"""
result = [attempt(connect, "{TELEGRAM}", 443), attempt(lambda: socket.getaddrinfo("web.whatsapp.com", 443)),
          attempt(lambda: socket.create_connection(("www.example.org", 443), 10).close() or "through")]""")
        assert [r["error"] is None for r in result] == [False, False, True] and result[2]["value"] == "through", result

    def close(self):
        self.agent.stop()


@pytest.fixture(scope="module")
def laptop():
    with Internet() as world:
        machine = Laptop(world)
        yield machine
        machine.close()


def test_damaged_files(laptop, tmp_path):
    laptop.agent.kill()
    subprocess.run(["cp", "-a", f"{laptop.path('.')}/.", tmp_path], check=True)
    failed = {}
    for name, how, said in DAMAGES:
        how(laptop.path(name))
        try:
            log = laptop.start()
            assert "only watches" not in log and (said is None or said in log), log
        except (AssertionError, TimeoutError) as e:
            failed[f"{name} {how.__name__}"] = str(e)[-1500:]
        laptop.agent.stop()
        subprocess.run(["find", laptop.path("."), "-mindepth", "1", "-delete"], check=True)
        subprocess.run(["cp", "-a", f"{tmp_path}/.", laptop.path(".")], check=True)
    assert not failed, "\n".join(f"{k}: {v}" for k, v in failed.items())
    laptop.agent.start()


BROKEN = [  # agent.ini then, what `status` says of it
    (lambda text: text + "proxy http://proxy.example\n", "expected 'key = value', not 'proxy http://proxy.example'"),
    (lambda text: "\xef\xbb\xbf" + text, "byte order mark"),
    (lambda text: text.replace("[agent]", "[agnet]"), "unknown section [agnet]"),
    (lambda text: text.replace("heartbeat = ", "heartbeat = 1h "), "heartbeat: a number of seconds"),
    (lambda text: text.replace("cgroup = ", "cgroup = /nowhere"), "does not start with it"),
    (lambda text: text.replace("keys = ", "keys = /nowhere"), "does not start with it"),
]


def test_broken_agent_ini(laptop):
    """What was in force goes on through the restart, and is there again after a boot; `--check` and the status say why."""
    good, before = laptop.agent.ini.read_text(), laptop.agent.status()["spool"]["next_seq"]
    assert laptop.path("agent.ini").read_text() == good
    try:
        for i, (change, said) in enumerate(BROKEN):
            laptop.agent.ini.write_text(change(good), encoding="latin-1")
            (laptop.boot if i % 2 else laptop.agent.stop)()
            laptop.start()
            refused = laptop.agent.status()["config"]["refused"]
            assert refused["file"] == str(laptop.agent.ini) and said in refused["reason"], refused
            text = laptop.agent.cli("status", check=True).stdout
            assert "that of the last start is in force" in text and said in text, text
            check = laptop.world.laptop.run([str(laptop.agent.programs.agent), "--check", "--config", str(laptop.agent.ini)])
            assert check.returncode == 1 or "cgroup = /nowhere" in laptop.agent.ini.read_text(encoding="latin-1"), check
        laptop.agent.stop()
        records = [json.loads(r) for p in sorted(laptop.path("spool").glob("*.seg")) for seq, (_, _, r) in chain.segment(p)[0].items() if seq >= before]
        coverage = [own["coverage"] for own in (r["unmapped"]["onchannel"] for r in records) if "coverage" in own]
        assert [c["event"] for c in coverage].count("refused") == len(BROKEN), coverage
        assert laptop.path("agent.ini").read_text() == good
    finally:
        laptop.agent.ini.write_text(good)
    laptop.start()
    assert "config" not in laptop.agent.status()
    laptop.path("agent.ini").unlink()
    wait_for(laptop.path("agent.ini").exists, 10 * SLOW, "the file coming back")


def test_what_is_whole_is_kept(laptop):
    """A torn segment keeps the records before the tear, a damaged key the records that it signed, for who looks for them."""
    spool = laptop.path("spool")
    laptop.check()
    laptop.agent.stop()
    last = sorted(spool.glob("*.seg"))[-1]
    records = laptop.path("device.key").read_bytes(), last.read_bytes()
    last.write_bytes(records[1][:-20])
    log = laptop.start()
    assert "the spool ended in the middle of a record" in log
    assert last.read_bytes().startswith(records[1][:len(records[1]) // 2])
    laptop.agent.stop()
    torn(laptop.path("device.key"))
    laptop.start()
    assert (laptop.path("spool.damaged") / last.name).read_bytes().startswith(records[1][:len(records[1]) // 2])
    assert laptop.path("device.key.damaged").read_bytes() == records[0][:len(records[0]) // 2]
    assert laptop.agent.status()["spool"]["acknowledged"] == 0


def test_full_disk_at_boot(laptop):
    laptop.boot()
    laptop.run(f"cat /dev/zero >{laptop.state}/incoming/filler || true")
    laptop.start()
    laptop.boot()
    laptop.start()
    seq = laptop.agent.status()["spool"]["next_seq"]
    laptop.run(f"rm {laptop.state}/incoming/filler")
    laptop.check()
    wait_for(lambda: laptop.agent.status()["spool"]["next_seq"] > seq, 10 * SLOW, "records again")


def test_read_only_disk(laptop):
    """An error of the disk makes ext4 read-only under a running agent, and so it is found by the next, also after a boot."""
    laptop.check()
    mark = laptop.agent.log.stat().st_size
    laptop.run(f"mount -o remount,abort {laptop.state}")
    laptop.check()
    wait_for(lambda: "is the disk full or read-only?" in laptop.agent.log.read_bytes()[mark:].decode(), 20 * SLOW, "the agent saying so")
    laptop.check()
    kept = laptop.agent.status()["spool"]["next_seq"]
    laptop.agent.kill()
    assert "read-only file system: the agent blocks" in laptop.start()
    laptop.boot()
    assert "read-only file system: the agent blocks" in laptop.start()
    laptop.agent.kill()
    laptop.run(f"umount {laptop.state}; e2fsck -fy {laptop.image} >/dev/null || test $? = 1")
    laptop.mount()
    assert "damaged" not in laptop.start()
    assert laptop.agent.status()["spool"]["next_seq"] >= kept


@pytest.mark.parametrize("when", ["of a running agent", "before the agent starts"])
def test_read_only_disk_loses_nothing(laptop, when):
    """Agents are killed on it one after the other: what was attempted is recorded once, by the first that can."""
    before = len(laptop.tried)
    laptop.check()
    if when == "before the agent starts":
        laptop.agent.kill()
    laptop.run(f"mount -o remount,abort {laptop.state}")
    for _ in range(2):
        if laptop.agent.process.poll() is None:
            laptop.check()
            laptop.agent.kill()
        laptop.start()
    laptop.agent.kill()
    laptop.run(f"umount {laptop.state}; e2fsck -fy {laptop.image} >/dev/null || test $? = 1")
    laptop.mount()
    for _ in range(2):  # nor is anything recorded twice
        laptop.start()
        laptop.agent.kill(signal.SIGTERM)
        assert not list(laptop.agent.runtime.glob("collected"))
        found, people = laptop.attempts(), laptop.tried[before:]
        assert len(people) >= 4
        for name in people:
            assert found[name, "Telegram"] == 1 and found[name, "WhatsApp"] == found[people[0], "WhatsApp"] > 0, found
    laptop.start()


def test_run_is_full(laptop):
    """Without room for the control socket the agent blocks, and it listens as soon as there is."""
    laptop.agent.kill()
    runtime = laptop.agent.runtime
    laptop.run(f"mount -t tmpfs -o size=8k,nr_inodes=12 run {runtime}; cd {runtime}; touch $(seq 20) 2>/dev/null || true")
    mark = laptop.agent.log.stat().st_size
    laptop.agent.start()
    laptop.check(laptop.agent.serial)
    assert "cannot listen on" in laptop.agent.log.read_bytes()[mark:].decode()
    laptop.run(f"rm {runtime}/[0-9]*")
    wait_for(lambda: laptop.agent.cli("status").returncode == 0, 10 * SLOW, "the control socket")
    laptop.agent.kill()
    laptop.run(f"umount {runtime}")
    laptop.start()


def test_no_inotify(laptop, needs, tmp_path):
    """Root's containers have used up fs.inotify.max_user_instances: the agent looks for itself."""
    needs("cc")
    library, wrapper, program = tmp_path / "limit.so", tmp_path / "onchanneld", laptop.agent.programs.agent
    (tmp_path / "limit.c").write_text("#include <errno.h>\nint inotify_init1(int f) { errno = EMFILE; return -(f >= 0); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "limit.c"], check=True)
    wrapper.write_text(f'#!/bin/sh\nLD_PRELOAD={library} exec {program} "$@"\n')
    wrapper.chmod(0o755)
    laptop.agent.kill()
    laptop.agent.programs.agent = wrapper
    try:
        assert "looked at every 1 s instead" in laptop.start()
    finally:
        laptop.agent.programs.agent = program
    text = laptop.agent.desk.sign(policy_text(serial=laptop.agent.serial + 1))
    for suffix in (".minisig", ""):  # as the uplink brings it
        laptop.run(f"cp {text}{suffix} {laptop.state}/incoming/new && mv {laptop.state}/incoming/new {laptop.state}/incoming/policy.ini{suffix}")
    laptop.agent.serial += 1
    wait_for(lambda: laptop.agent.status()["policy"]["serial"] == laptop.agent.serial, 10 * SLOW, "the new policy")
    laptop.path("policy/serial").unlink()
    wait_for(laptop.path("policy/serial").exists, 10 * SLOW, "the file coming back")
    laptop.check()
    laptop.agent.kill()
    laptop.start()


def test_second_agent(laptop, tmp_path):
    """Two agents over the same pins would take each other's work for tampering."""
    mark = laptop.agent.log.stat().st_size
    ini = tmp_path / "agent.ini"
    for other in (laptop.state, tmp_path / "state"):
        ini.write_text(laptop.agent.ini.read_text().replace(str(laptop.state), str(other)))
        r = laptop.world.laptop.run([str(laptop.agent.programs.agent), "--config", str(ini)])
        assert r.returncode == 1 and "another agent uses" in r.stderr, r
    laptop.check()
    assert "interfered" not in laptop.agent.log.read_bytes()[mark:].decode()
