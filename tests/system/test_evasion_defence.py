# SPDX-License-Identifier: GPL-3.0-or-later
"""EVASION 23: somebody with root's rights works against the agent. Enforcement goes on, what was damaged
is put back, and a record says so. What BPF LSM denies altogether is in test_evasion_lsm.py."""
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

import internet
from harness import FAST_MS, PRELUDE, SLOW, Agent, Desk, Employee, Programs
from internet import Internet, wait_for

TELEGRAM = "149.154.167.64"
CONNECT = f'result = attempt(connect, "{TELEGRAM}", 443)'
HEARTBEAT = 2  # seconds
LSM = bool(os.environ.get("ONCHANNEL_LSM"))
without_lsm = pytest.mark.skipif(LSM, reason="BPF LSM denies it: test_evasion_lsm.py")


def restart(station, **ini):
    station.agent.write_ini(**ini)
    assert station.agent.kill(signal.SIGTERM) == 0
    station.agent.start()
    return station


@pytest.fixture(scope="module")
def station(station):
    """It looks at what it has put in place every second."""
    yield restart(station, check=1, heartbeat=HEARTBEAT)
    restart(station)


def root(station, *argv, check=True, **kw):
    return station.internet.laptop.run([str(a) for a in argv], check=check, **kw)


def pin(station, name=""):
    return f"{station.internet.base}/bpf/onchannel/{name}"


def blocked(employee):
    return employee.curl("https://web.whatsapp.com/")[0] == 6 and employee.python(CONNECT)["error"] is not None


def restored(station):
    return station.agent.status()["counters"]["restored"]


def table(station):
    """The table's lines without counters, order and the numbers of maps' versions."""
    listing = root(station, "nft", "-s", "list", "table", "inet", "onchannel").stdout
    return sorted(re.sub(r"\b((?:channels|prefix|top|flow|exempt|blocked)[46_\d]*)-\d+\b", r"\1", line)
                  for line in listing.splitlines())


def is_tidy(lines):
    """Every map and set is there once."""
    named = [line for line in lines if re.match(r"\s*(map|set) ", line)]
    return len(set(named)) == len(named)


def heartbeat(station):
    """One whole one, from its beginning to its end."""
    last = station.agent.state / "last-run"
    for _ in range(2):
        then = last.stat().st_mtime_ns
        wait_for(lambda: last.stat().st_mtime_ns != then, (HEARTBEAT + 3) * SLOW, "a heartbeat")


def records(station):
    """What the collector keeps of the device, in order; it is one unbroken chain from record 1 on."""
    rows = station.collector.sql("SELECT seq, CAST(body AS TEXT) FROM record ORDER BY seq")
    assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
    return [json.loads(body) for _, body in rows]


def tampers(station):
    return [str(r) for r in records(station) if r["unmapped"]["onchannel"].get("class") == "tamper"]


def coverage(station, event):
    station.fence()
    all_of_them = [r["unmapped"]["onchannel"].get("coverage", {}) for r in records(station)]
    return [c for c in all_of_them if c.get("event") == event]


def assert_mended(station, employee, before, word):
    """Noticed, put back, recorded; enforcement is on, and the chain is whole."""
    wait_for(lambda: restored(station) > before, 5 * SLOW, "the agent noticing")
    assert blocked(employee)
    assert station.violations(employee)
    assert any(word in t for t in tampers(station)), (word, tampers(station))


@pytest.mark.parametrize("command", [["flush", "ruleset"], ["delete", "table", "inet", "onchannel"],
                                     ["flush", "chain", "inet", "onchannel", "output"],
                                     ["add", "rule", "inet", "onchannel", "output", "accept"]])
@pytest.mark.evasion(23, "nft flush, delete, edit", "restore")
def test_23_nft(blocking, employee, command):
    wait_for(lambda: is_tidy(table(blocking)), 5 * SLOW, "no maps of the policy before")
    wanted, before = table(blocking), restored(blocking)
    root(blocking, "nft", *command)
    assert_mended(blocking, employee, before, "nftables table")
    wait_for(lambda: table(blocking) == wanted, 5 * SLOW, "the table as it was, with one of each map")
    expected = blocking.agent.status()["table_hash"]
    heartbeat(blocking)
    assert restored(blocking) == before + 1 and blocking.agent.status()["table_hash"] == expected


@without_lsm
@pytest.mark.parametrize("program", ["oc_egress", "oc_connect4", "oc_sendmsg6"])
@pytest.mark.evasion(23, "programs detached", "restore")
def test_23_detached_program(blocking, employee, needs, program):
    needs("bpftool")
    before = restored(blocking)
    root(blocking, "bpftool", "link", "detach", "pinned", pin(blocking, program))
    assert_mended(blocking, employee, before, "sensors")


@without_lsm
@pytest.mark.parametrize("names", [["oc_egress"], ["oc_exec", "oc_fork", "oc_exit"], ["oc_tasks"], [""]])
@pytest.mark.evasion(23, "unpinned", "restore")
def test_23_unpinned(blocking, employee, names):
    before, pins = restored(blocking), set(os.listdir(f"/proc/{blocking.internet.laptop.holder.pid}/root{pin(blocking)}"))
    for name in names:
        root(blocking, "rm", "-r", pin(blocking, name), check=False)  # files come back while it removes
    assert_mended(blocking, employee, before, "sensors")
    wait_for(lambda: set(root(blocking, "ls", pin(blocking)).stdout.split()) == pins, 5 * SLOW, "the pins")


@without_lsm
@pytest.mark.evasion(23, "maps written", "restore")
def test_23_other_rules_in_the_maps(blocking, employee, needs):
    """What a slot of the maps holds cannot be changed; that another slot is in force is noticed."""
    needs("bpftool")
    active = json.loads(root(blocking, "bpftool", "-j", "map", "dump", "pinned", pin(blocking, "oc_active")).stdout)[0]["value"]
    slot = int(active[0], 16)
    inner = json.loads(root(blocking, "bpftool", "-j", "map", "dump", "pinned", pin(blocking, "oc_verdicts")).stdout)
    ids = [int.from_bytes(bytes(int(b, 16) for b in e["inner_map_id" if "inner_map_id" in e else "value"]), "little")
           if isinstance(e.get("value"), list) else e.get("inner_map_id") for e in inner]
    key = json.loads(root(blocking, "bpftool", "-j", "map", "dump", "id", str(ids[slot])).stdout)[0]
    r = root(blocking, "bpftool", "map", "update", "id", str(ids[slot]), "key", "hex", *[k.removeprefix("0x") for k in key["key"]],
             "value", "hex", *["00"] * 8, check=False)
    assert r.returncode != 0 and blocked(employee), r.stdout + r.stderr
    before = restored(blocking)
    other = [f"{b:02x}" for b in (1 - slot).to_bytes(4, "little")] + [b.removeprefix("0x") for b in active[4:]]
    root(blocking, "bpftool", "map", "update", "pinned", pin(blocking, "oc_active"), "key", "0", "0", "0", "0", "value", "hex", *other)
    assert_mended(blocking, employee, before, "sensors")


def state_file(station, name):
    return next(iter(sorted(station.agent.state.glob(name), reverse=True)))


STATE_FILES = ("policy/current.ini", "policy/current.ini.minisig", "policy/serial", "device.key", "device.pub")


@without_lsm
# last-run is overwritten every heartbeat anyway; what it says is not trusted for anything but a gap
@pytest.mark.parametrize("how,name", [*itertools.product(("removed", "edited"), STATE_FILES), ("removed", "last-run")])
@pytest.mark.evasion(23, "policy, serial, keys removed, edited", "restore")
def test_23_state_file(blocking, employee, name, how):
    path, before = blocking.agent.state / name, restored(blocking)
    wanted = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(wanted.replace(b"block", b"allow") if b"block" in wanted else b"1\n")
    wait_for(lambda: path.exists() and path.read_bytes() == wanted, 5 * SLOW, "the file coming back")
    assert_mended(blocking, employee, before, "removed or changed")


@without_lsm
@pytest.mark.evasion(23, "policy, serial, keys removed, edited", "restore")
def test_23_policy_folder(blocking, employee):
    before = restored(blocking)
    root(blocking, "rm", "-r", blocking.agent.state / "policy", check=False)
    wait_for(lambda: (blocking.agent.state / "policy/current.ini").exists(), 5 * SLOW, "the policy")
    assert_mended(blocking, employee, before, "policy")
    before = restored(blocking)
    (blocking.agent.state / "policy/current.ini").unlink()  # the new folder is watched as well
    assert_mended(blocking, employee, before, "policy")
    blocking.agent.kill()
    blocking.agent.start()
    assert blocking.agent.status()["policy"]["serial"] == blocking.serial


def cut_off(station):
    """Everything is at the collector; from now on records wait in the spool."""
    station.fence()
    wait_for(lambda: station.agent.status()["spool"]["queue"] == 0, 10 * SLOW, "the last acknowledgement")
    station.agent.uplink.kill()
    station.agent.uplink.wait()


@without_lsm
@pytest.mark.parametrize("what", ["*.seg", "state", "."])
@pytest.mark.evasion(23, "spool torn, edited, deleted", "restore")
def test_23_spool_deleted(blocking, employee, what):
    """Records that the collector has not got yet are saved from the agent's own descriptors."""
    cut_off(blocking)
    somebody, spool = blocking.employee(), blocking.agent.state / "spool"
    somebody.curl("https://web.whatsapp.com/")
    wait_for(lambda: blocking.agent.status()["spool"]["queue"], 5 * SLOW, "a record")
    before = restored(blocking)
    root(blocking, "sh", "-c", f"rm -r {spool}/{what}" if what != "." else f"rm -r {spool}", check=False)
    wait_for(lambda: restored(blocking) > before, 5 * SLOW, "the agent noticing")
    blocking.agent.start_uplink()
    assert_mended(blocking, employee, before, "removed or changed")
    assert len(blocking.violations(somebody)) == 1


@without_lsm
@pytest.mark.evasion(23, "spool torn, edited, deleted", "restore")
def test_23_spool_edited(blocking, employee):
    """A record that was changed is no record any more: the chain goes on before it, and says so."""
    cut_off(blocking)
    somebody = blocking.employee()
    segment = state_file(blocking, "spool/*.seg")
    somebody.curl("https://web.whatsapp.com/")
    wait_for(lambda: f'"{somebody.name}"'.encode() in segment.read_bytes(), 5 * SLOW, "the record")
    before = restored(blocking)
    data = segment.read_bytes()
    at = data.rindex(b"whatsapp")
    with open(segment, "r+b") as f:
        f.seek(at)
        f.write(b"teamsapp")
    wait_for(lambda: restored(blocking) > before, 5 * SLOW, "the agent noticing")
    blocking.agent.start_uplink()
    assert_mended(blocking, employee, before, "records are lost")
    assert blocking.violations(somebody) == []


@pytest.mark.evasion(23, "SIGSTOP", "egress connect")
def test_23_stopped(blocking, employee):
    blocking.agent.process.send_signal(signal.SIGSTOP)
    try:
        assert blocked(employee)
        assert employee.curl("https://www.example.org/")[0] == 0
        time.sleep(7)  # longer than the agent may be late
    finally:
        blocking.agent.process.send_signal(signal.SIGCONT)
    assert {r["layer"] for r in blocking.violations(employee)} == {"dns", "connect"}
    gap = wait_for(lambda: coverage(blocking, "gap"), 10 * SLOW, "a gap in coverage")[-1]
    assert gap["gap_ms"] > 4000 and "stood still" in gap["detail"]


@pytest.mark.lsm
@pytest.mark.parametrize("step", [-3600, 3600])
@pytest.mark.evasion(23, "clock set", "lsm")
def test_23_clock(blocking, employee, step):
    before = len(coverage(blocking, "clock"))
    time.clock_settime(time.CLOCK_REALTIME, time.time() + step)
    try:
        assert blocked(employee)
        clock = wait_for(lambda: coverage(blocking, "clock")[before:], 10 * SLOW, "a record about the clock")[0]
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.time() - step)
    assert ("back" if step < 0 else "forward") in clock["detail"]
    records(blocking)


FLOOD = PRELUDE + """
# a query for web.whatsapp.com, again and again; each is refused
query = bytes.fromhex("123401000001000000000000037765620877686174736170700363" "6f6d0000010001")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 53))
refused = passed = 0
for _ in range(int(sys.argv[2])):
    try:
        s.send(query)
        passed += 1
    except PermissionError:
        refused += 1
print(json.dumps([refused, passed]), flush=True)
"""


def flood(employee, server, n):
    return employee.popen(["/usr/bin/python3", "-c", FLOOD, server, str(n)], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.evasion(23, "ring buffer filled", "egress")
def test_23_ring_buffer_full(blocking, needs):
    """A million events while nobody reads: every loss is counted, and not one query gets out."""
    people, total = [blocking.employee() for _ in range(4)], 1_000_000 // (20 if LSM else 1)
    blocking.fence()
    since, before = time.monotonic(), blocking.agent.status()["counters"]
    blocking.agent.process.send_signal(signal.SIGSTOP)
    try:
        processes = [flood(e, "192.168.77.1", total // len(people)) for e in people]
        answers = []
        for p in processes:
            with p:
                answers.append(json.loads(p.communicate(timeout=120 * SLOW)[0]))
    finally:
        blocking.agent.process.send_signal(signal.SIGCONT)
    # "passed" is what was taken for the agent to answer: sending succeeds, but nothing gets out
    assert sum(map(sum, answers)) == total
    assert not blocking.internet.seen("dns", since=since, name="web.whatsapp.com")

    def seen():
        now = blocking.agent.status()["counters"]
        return now["facts"] - before["facts"] + now["lost"] - before["lost"], now["lost"] - before["lost"]
    total += len(people)  # their interpreter is looked at when it starts
    wait_for(lambda: seen()[0] >= total, 20 * SLOW, "the agent reading what is left")
    assert total <= seen()[0] < total + 5 and seen()[1] > total // 2, (seen(), total)  # somebody else may start a program, too
    rows = [blocking.violations(e) for e in people]
    assert any(rows), "what fitted into the buffer was recorded"
    records(blocking)
    names_nobody(blocking.agent, *people)


def names_nobody(agent, *people):
    """The agent's log, whatever went wrong: who it was and with which program is for the records."""
    log = agent.log.read_text()
    assert log and not [word for word in (*(p.name for p in people), "/usr/bin/", "www.", "web.") if word in log]


class SmallDisk:
    """An agent whose state folder is a file system of its own, of a few hundred kilobytes."""

    def __init__(self, internet):
        base = pathlib.Path(internet.base)
        self.internet, programs = internet, Programs(base / "bin")
        self.agent = Agent(internet, programs, Desk(programs, base / "desk"))
        internet.laptop.run(["mount", "-t", "tmpfs", "-o", "size=600k,mode=755", "disk", str(self.agent.state)], check=True)
        self.agent.start()
        self.agent.policy()

    def run(self, script, **kw):
        return self.internet.laptop.run(["sh", "-c", script], cwd=str(self.agent.state), **kw)


@pytest.fixture
def small_disk():
    with Internet() as world:
        disk = SmallDisk(world)
        yield disk
        disk.agent.stop()


@pytest.mark.evasion(23, "disk full, read-only", "egress connect")
def test_23_disk_full(small_disk):
    agent, anna, ben = small_disk.agent, Employee(small_disk.internet, "anna"), Employee(small_disk.internet, "ben")
    small_disk.run("cat /dev/zero >incoming/filler")  # nobody guards that folder
    start = time.monotonic()
    assert blocked(anna) and anna.curl("https://www.example.org/")[0] == 0
    assert not small_disk.internet.seen("tcp", since=start, address=TELEGRAM)
    for name in itertools.islice(internet.PEOPLE, 2, 12):  # the last page of the segment has some room
        Employee(small_disk.internet, name).curl("https://web.whatsapp.com/")
    wait_for(lambda: agent.status()["spool"]["refused"] > 0, 10 * SLOW, "records that do not fit")
    seq = agent.status()["spool"]["next_seq"]
    small_disk.run("rm incoming/filler", check=True)
    assert blocked(ben)
    wait_for(lambda: agent.status()["spool"]["next_seq"] > seq, 10 * SLOW, "records again")
    agent.kill()  # what is in the spool is whole
    agent.start()
    assert agent.status()["policy"]["serial"] == agent.serial and blocked(ben)
    names_nobody(agent, anna, ben)


@pytest.mark.evasion(23, "disk full, read-only", "egress connect")
def test_23_disk_read_only(small_disk):
    """What was attached goes on, and the agent starts there, also after a boot; it says that it records nothing, and
    does when it can."""
    agent, anna = small_disk.agent, Employee(small_disk.internet, "anna")
    agent.kill()
    small_disk.run(f"cd / && mount -o remount,ro {agent.state}", check=True)
    assert blocked(anna) and anna.curl("https://www.example.org/")[0] == 0
    small_disk.run(f"rm -r {small_disk.internet.base}/bpf/onchannel && nft delete table inet onchannel", check=True)
    agent.start()
    assert blocked(anna) and "cannot record anything" in agent.log.read_text()
    wait_for(lambda: agent.status()["spool"]["refused"] > 0, 10 * SLOW, "records that wait")
    seq = agent.status()["spool"]["next_seq"]
    small_disk.run(f"cd / && mount -o remount,rw {agent.state}", check=True)
    wait_for(lambda: agent.status()["spool"]["refused"] == 0, 10 * SLOW, "records again")
    assert agent.status()["spool"]["next_seq"] > seq
    agent.kill()
    agent.start()
    assert agent.status()["spool"]["next_seq"] > seq and blocked(anna)
    segments = small_disk.run("grep -aoh 'whatsapp\\|telegram' spool/*.seg", check=True).stdout
    assert "whatsapp" in segments and "telegram" in segments and not small_disk.run("ls spool/*.damaged").stdout
    names_nobody(agent, anna)


@pytest.mark.evasion(23, "SIGKILL", "egress connect")
def test_23_narrow_fail_closed(blocking):
    """After SIGKILL what is blocked stays blocked, and nothing else is: DNS, TLS, UDP, programs, new users."""
    blocking.agent.kill()
    try:
        e = blocking.employee()
        assert blocked(e)
        r = e.python("""
def names():
    return len(socket.getaddrinfo("www.example.org", 443)) > 0
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(b"hello", ("203.0.113.90", 9999))
        return len(s.recv(100))
result = [attempt(f) for f in (names, udp, lambda: connect("203.0.113.90", 22) or 0, lambda: subprocess.run(["/bin/true"]).returncode)]""")
        assert [x["value"] for x in r] == [1, 5, 0, 0], r
        assert all(x["ms"] < 5 * FAST_MS for x in r), r
        for url in ("https://www.example.org/", "https://teams.microsoft.com/", "https://innocent.shop.example/"):
            assert e.curl(url)[0] == 0, url
        blocking.download.check()
    finally:
        blocking.agent.start()
    assert {row["layer"] for row in blocking.violations(e)} == {"dns", "connect"}
