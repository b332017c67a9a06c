# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent is killed, the table is flushed, the collector goes away: enforcement goes on, no record is lost or doubled."""
import json
import signal
import subprocess
import time

import pytest

import world
from harness import FAST_MS, PRELUDE, SLOW, assert_row
from internet import wait_for

BURST = """
end = time.monotonic() + float(sys.argv[1])
slowest, passed = 0, 0
while time.monotonic() < end:
    for f in (lambda: socket.getaddrinfo("web.whatsapp.com", 443), lambda: connect("149.154.167.50", 443)):
        r = attempt(f)
        slowest, passed = max(slowest, r["ms"]), passed + (r["error"] is None)
    time.sleep(0.03)  # a person's machine, not a flood: nothing of this may be lost
print(json.dumps([slowest, passed]), flush=True)
"""


def burst(employee, seconds):
    return employee.popen(["/usr/bin/python3", "-c", PRELUDE + BURST, str(seconds)], stdout=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL)


def assert_contiguous(station):
    """Everything the collector keeps of the device is one unbroken chain from record 1 on."""
    device, = station.collector.devices()
    seqs = [s for s, in station.collector.sql("SELECT seq FROM record ORDER BY seq")]
    assert seqs == list(range(1, len(seqs) + 1)) and device["next_seq"] == len(seqs) + 1
    assert device["problem"] in (None, "has sent no status yet"), device
    return len(seqs)


@pytest.mark.evasion(23, "SIGKILL", "egress connect")
def test_kill_in_the_middle_of_a_burst(blocking):
    agent, people = blocking.agent, [blocking.employee() for _ in range(3)]
    lost = agent.status()["counters"]["lost"]
    before = blocking.employee()
    before.curl("https://web.whatsapp.com/")
    blocking.violations(before)  # accepted: it must be there in the end, once
    bursts = [burst(e, 4 * min(SLOW, 3)) for e in people]
    wait_for(lambda: agent.status()["counters"], 5)
    time.sleep(0.7)  # into the burst: what is accepted by now is in the spool, the rest is not
    assert agent.kill() == -signal.SIGKILL
    killed = time.monotonic()

    # Nobody is there, and what is blocked stays blocked, at once; what is not works.
    alone = blocking.employee()
    assert alone.curl("https://web.whatsapp.com/")[0] == 6
    status, _, _ = alone.curl("https://web.whatsapp.com/", "--max-time", "3", "--resolve", f"web.whatsapp.com:443:{world.SHARED4}")
    assert status in (35, 56, 28), "the hello itself is dropped in the kernel; the reset needs the agent"
    r = alone.python('result = attempt(connect, "149.154.167.50", 443)')
    assert r["error"] and r["ms"] < FAST_MS
    assert alone.curl("https://www.example.org/")[0] == 0
    blocking.download.check()

    down_ms = (time.monotonic() - killed) * 1000
    agent.start()
    for process in bursts:
        with process:
            slowest, passed = json.loads(process.communicate(timeout=60 * SLOW)[0])
        assert passed == 0 and slowest < 10 * FAST_MS
    assert agent.status()["policy"]["serial"] == blocking.serial, "the policy in force is found again"
    rows = blocking.violations(before)
    assert len(rows) == 1, "accepted before the kill: neither lost nor doubled"
    for e in people:
        layers = sorted(r["layer"] for r in blocking.violations(e))
        assert set(layers) == {"connect", "dns"}, layers
    counters = agent.status()["counters"]
    assert {r["layer"] for r in blocking.violations(alone)} >= {"dns", "connect"}, f"what happened meanwhile was in the ring buffer: {counters}"
    assert counters["lost"] == lost, counters
    assert_contiguous(blocking)
    gaps = [g for g, in blocking.collector.sql(
        "SELECT json_extract(CAST(body AS TEXT), '$.unmapped.onchannel.coverage.gap_ms') FROM record "
        "WHERE json_extract(CAST(body AS TEXT), '$.unmapped.onchannel.coverage.event') = 'gap' ORDER BY seq")]
    assert gaps and down_ms * 0.5 < gaps[-1] < 60000 * SLOW, (gaps, down_ms)


@pytest.mark.evasion(23, "SIGKILL", "egress connect")
@pytest.mark.parametrize("recorded", [0, 1], ids=["before the first record", "in the open window"])
def test_kill_while_attempts_are_collected(blocking, employee, recorded):
    """What waits for a record outlives the agent: no attempt is lost or counted twice, and the window goes on."""
    def attempt(times):
        for r in employee.python(f'result = [attempt(connect, "149.154.167.50", 443) for _ in range({times})]'):
            assert r["error"]
    attempt(1)
    if recorded:
        blocking.violations(employee)
    attempt(4)
    counted = blocking.agent.status()["counters"]["facts"]
    blocking.agent.kill()
    attempt(2)  # waits in the ring buffer
    blocking.agent.start()
    wait_for(lambda: blocking.agent.status()["counters"]["facts"] >= 2, 5 * SLOW, "the ring buffer read")
    assert counted >= 5
    attempt(1)
    assert blocking.agent.kill(signal.SIGTERM) == 0  # writes what is still being collected
    blocking.agent.start()
    rows = blocking.violations(employee)
    assert sum(r["count"] for r in rows) == 8, rows
    ids = {blocking.collector.call(f"/api/v1/violations/{r['device']}/{r['seq']}")[1]["record"]["unmapped"]["onchannel"]["id"] for r in rows}
    assert len(ids) == 1, rows
    assert_contiguous(blocking)


@pytest.mark.evasion(23, "SIGTERM, restart", "egress connect")
def test_restart_in_order(blocking, employee):
    """systemctl restart: no gap in enforcement either."""
    process = burst(employee, 3 * min(SLOW, 3))
    wait_for(lambda: blocking.agent.status()["counters"], 5)
    assert blocking.agent.kill(signal.SIGTERM) == 0
    blocking.agent.start()
    with process:
        slowest, passed = json.loads(process.communicate(timeout=60 * SLOW)[0])
    assert passed == 0
    assert {r["layer"] for r in blocking.violations(employee)} == {"connect", "dns"}
    assert_contiguous(blocking)


@pytest.mark.evasion(23, "nft flush, delete, edit", "restore")
def test_table_is_restored(blocking, employee):
    laptop = blocking.internet.laptop
    table = laptop.run(["nft", "list", "table", "inet", "onchannel"], check=True).stdout
    assert "149.154.160.0/20" in table and "telegram" in table
    laptop.run(["nft", "flush", "ruleset"], check=True)
    wait_for(lambda: "149.154.160.0/20" in laptop.run(["nft", "list", "ruleset"]).stdout, 5 * SLOW, "the table coming back")
    assert employee.python('result = attempt(connect, "149.154.167.50", 443)')["error"]
    blocking.violations(employee)
    tamper = blocking.collector.violations(**{"class": "tamper"})
    assert tamper and tamper[0]["layer"] == "agent"


def test_collector_away(blocking, employee):
    """What happens while the collector is down arrives when it is back, once."""
    blocking.collector.stop(signal.SIGKILL)
    employee.curl("https://web.whatsapp.com/")
    other = blocking.employee()
    other.python('result = attempt(connect, "149.154.167.50", 443)')
    wait_for(lambda: blocking.agent.status()["spool"]["queue"] >= 2, 5 * SLOW, "records in the spool")
    blocking.collector.start()
    wait_for(lambda: blocking.collector.violations(user=other.name), 90 * SLOW, "the records arriving")
    row, = blocking.violations(employee)
    assert_row(row, layer="dns", channel="whatsapp")
    assert len(blocking.violations(other)) == 1
    assert_contiguous(blocking)


def test_uplink_killed(blocking, employee):
    blocking.agent.uplink.kill()
    blocking.agent.uplink.wait()
    employee.curl("https://web.whatsapp.com/")
    blocking.agent.start_uplink()
    assert len(blocking.violations(employee)) == 1
    assert_contiguous(blocking)


@pytest.mark.evasion(23, "spool torn, edited, deleted", "restore")
def test_torn_segment(blocking, employee):
    """A power cut leaves half a record at the end of the spool: it is cut off, nothing else is lost."""
    employee.curl("https://web.whatsapp.com/")
    blocking.violations(employee)
    blocking.agent.kill()
    last = sorted((blocking.agent.state / "spool").glob("*.seg"))[-1]
    with open(last, "ab") as f:
        f.write(b"\0\0\1\0torn")
    blocking.agent.start()
    other = blocking.employee()
    other.curl("https://web.whatsapp.com/")
    assert len(blocking.violations(other)) == 1
    assert len(blocking.violations(employee)) == 1
    assert_contiguous(blocking)


@pytest.mark.evasion(23, "spool torn, edited, deleted", "restore")
def test_damaged_segment(blocking):
    """A record on the disk was changed: the chain goes on before it, and the collector is told."""
    agent = blocking.agent
    blocking.fence()
    agent.uplink.terminate()
    agent.uplink.wait()
    first, second, third = (blocking.employee() for _ in range(3))
    for who in (first, second):
        who.curl("https://web.whatsapp.com/")
    agent.kill(signal.SIGTERM)  # writes what is still being collected
    segment = sorted((agent.state / "spool").glob("*.seg"))[-1]
    data = bytearray(segment.read_bytes())
    data[data.rindex(f'"{second.name}"'.encode()) + 1] ^= 1
    segment.write_bytes(data)
    agent.start()
    agent.start_uplink()
    third.curl("https://web.whatsapp.com/")
    assert len(blocking.violations(third)) == 1 and len(blocking.violations(first)) == 1
    assert not blocking.violations(second)
    row, *_ = blocking.collector.violations(**{"class": "tamper"})
    status, answer = blocking.collector.call(f"/api/v1/violations/{row['device']}/{row['seq']}")
    assert status == 200 and "the spool was damaged" in answer["record"]["unmapped"]["onchannel"]["detail"]
    assert_contiguous(blocking)


def test_detached_for_good(blocking):
    """`onchanneld release` gives the machine back: no table, no pins, nothing blocked."""
    blocking.agent.kill(signal.SIGTERM)
    blocking.internet.laptop.run([str(blocking.programs.agent), "release", "--config", str(blocking.agent.ini)], check=True)
    assert "onchannel" not in blocking.internet.laptop.run(["nft", "list", "tables"]).stdout
    left = blocking.internet.laptop.run(["find", f"{blocking.internet.base}/bpf/onchannel"])
    assert left.returncode != 0 or left.stdout.split() == [f"{blocking.internet.base}/bpf/onchannel"]
    device, seq, head, _ = (blocking.agent.state / "chain-end").read_text().split()
    (own,), = wait_for(lambda: blocking.collector.sql("SELECT CAST(body AS TEXT) FROM record WHERE seq = ?", int(seq)), 20 * SLOW, "the chain's end")
    assert json.loads(own)["unmapped"]["onchannel"]["coverage"]["detail"] == "enforcement taken off"
    assert [(d["device"], d["head"]) for d in blocking.collector.devices()] == [(device, head)]
    somebody = blocking.employee()
    assert somebody.curl("https://web.whatsapp.com/")[0] == 0
    assert somebody.python('result = attempt(connect, "149.154.167.50", 443)')["error"] is None
    blocking.agent.start()
    assert not (blocking.agent.state / "chain-end").exists(), "the chain goes on"
    assert somebody.curl("https://web.whatsapp.com/")[0] == 6
