# SPDX-License-Identifier: GPL-3.0-or-later
"""Thirty days without a collector: it does not answer, the cable is out, it is down, while people work, agent and uplink are killed
and the laptop is off for a night; for some days its disk is full. What was attempted arrives once and in order, within minutes
after the collector is back, and the heartbeats that the disk did not take are holes in the chain."""
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from harness import BUILD, SLOW, TREE, Employee
from internet import PEOPLE, wait_for
from test_week import HOUR, week  # noqa: F401

sys.path.insert(0, str(TREE / "tests/support"))
import chain  # noqa: E402

DAYS, A_DAY = 30, 2
FULL = range(20, 25)  # days
BACK_OFF_MINUTES = 15  # BACKOFF_MAX_MS


class Away:
    """How the collector is not to be had, by turns."""

    def __init__(self, w):
        self.end = lambda: None
        self.ways = [(lambda: w.collector.process.send_signal(signal.SIGSTOP), lambda: w.collector.process.send_signal(signal.SIGCONT)),
                     (lambda: w.cable("down"), lambda: w.cable("up")), (w.collector.stop, w.collector.start)]

    def turn(self):
        """The next one begins before the last one ends."""
        begin, end = self.ways.pop(0)
        begin()
        self.end()
        self.end = end


def a_day(w, day, somebody):
    assert somebody.curl("https://149.154.167.50/")[0] == 7
    if day == 5:
        w.agent.kill()
        w.start()
    if day == 8:
        w.agent.uplink.kill()
        w.agent.uplink.wait()
        w.agent.start_uplink()
    if day == 12:
        w.off(10)
    if day in FULL:
        w.laptop.run(["sh", "-c", f"cat /dev/zero >>{w.agent.state}/incoming/filler"])
    if day == FULL.stop:
        w.laptop.run(["rm", f"{w.agent.state}/incoming/filler"], check=True)
    w.awake(A_DAY)


def back(w):
    """Minutes until all is there, in steps that the uplink's clock takes at once."""
    def has_all():
        return w.agent.status()["spool"]["queue"] == 0
    for minutes in range(5, 2 * BACK_OFF_MINUTES + 1, 5):  # twice: a step may cut an attempt off, as a network does
        w.clock.add(*[300] * 4)
        try:
            return wait_for(has_all, SLOW) and minutes
        except TimeoutError:
            pass
    raise AssertionError(f"not there after {minutes} minutes: {w.agent.status()['spool']}\n{w.agent.uplink_log.read_text()[-2000:]}")


def records_of(w):
    """The database by the tests' own arithmetic."""
    (device, key, next_seq, head), = w.collector.sql("SELECT id, public_key, next_seq, head FROM device")
    seals = w.collector.sql("SELECT first, n, prev, head, signature FROM seal ORDER BY first")
    records = w.collector.sql("SELECT seq, hash, salt, body FROM record ORDER BY seq")
    assert not chain.problems(device, key, next_seq, head, seals, records)
    return [json.loads(body) for *_, body in records]


def holes(w):
    """As an auditor's verifier, which lives today, sees them: hours of time without cover, and why."""
    out = pathlib.Path(w.internet.base) / "month.ndjson"
    w.collector.cookies = None
    assert w.collector.call("/api/v1/export", "-o", str(out))[0] == 200
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    r = subprocess.run([BUILD / "cli/onchannel-verify", out, "--json", "--heartbeat", str(w.step)], capture_output=True, text=True, check=False, env=env)
    device, = json.loads(r.stdout)["devices"]
    assert r.returncode == 0, r.stdout
    return {h["why"]: (h["to"] - h["from"]) / HOUR / 1000 for h in device["holes"]}


def test_month(week):  # noqa: F811
    w = week
    w.step, w.uplink_works = 24 // A_DAY * HOUR, True
    w.laptop.run(["mount", "-t", "tmpfs", "-o", "size=1m", "state", w.agent.state], check=True)
    state = pathlib.Path(f"/proc/{w.laptop.holder.pid}/root{w.agent.state}")
    w.agent.write_ini(heartbeat=w.step, check=w.step)
    w.agent.start()
    w.agent.enrol()
    w.agent.start_uplink()
    w.policy()
    w.is_right()
    people = [Employee(w.internet, name) for name in list(PEOPLE)[2:2 + DAYS]]
    away, began = Away(w), time.monotonic()
    for day, somebody in enumerate(people):
        if day % 10 == 0:
            away.turn()
        a_day(w, day, somebody)
    spool = w.agent.status()["spool"]
    size = sum(p.stat().st_size for p in (state / "spool").glob("*.seg"))
    assert spool["queue"] > DAYS * A_DAY and size < 2000 * spool["queue"], (spool, size)
    away.end()
    minutes = back(w)

    def told():
        records = records_of(w)
        own = [(r["unmapped"]["onchannel"], r) for r in records]
        return (collections.Counter({r["actor"]["user"]["name"]: r["count"] for o, r in own if o.get("class") == "use"}),
                [o["coverage"] for o, _ in own if o["kind"] == "coverage"], len(records))
    wait_for(lambda: len(told()[0]) == DAYS, 20 * SLOW, "what waited for the disk")
    counts, coverage, n = told()
    assert counts == {p.name: 1 for p in people} and not sum(c["refused"] + c["lost"] for c in coverage), (counts, coverage)
    gaps = holes(w)
    untold, heartbeats = round(gaps.pop("no coverage record") / (24 / A_DAY)), sum(c["event"] == "heartbeat" for c in coverage)
    assert untold >= len(FULL) and DAYS * A_DAY <= heartbeats + untold <= DAYS * A_DAY + 2, (untold, heartbeats)
    assert set(gaps) == {"the agent did not run", "the agent was stopped, the machine was started anew"}, gaps
    print(f"{n} records of {DAYS} days in {size} bytes, all there {minutes} minutes after the collector was back; {untold} heartbeats are a hole that is told; "
          f"{time.monotonic() - began:.1f} s")
