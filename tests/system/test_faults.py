# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults at random under load: every record exactly once and in its place, or the loss counted in the chain.

    ONCHANNEL_FAULTS=500 ONCHANNEL_FAULTS_SEED=7 ./dev test system -k faults

The plan depends on the seed, the number and the store alone. Who tried what, and how often, is known from those who
tried; what the agent chained from its spool; what the log said from an auditor who looked all the time."""
import base64
import json
import os
import random
import subprocess
import sys
import time

import pytest

import faults
import rig as rigs
from harness import BUILD, TREE
from internet import Internet, Missing

sys.path.insert(0, str(TREE / "tests/support"))
import chain  # noqa: E402
import verify_bundle  # noqa: E402
from postgres import programs as postgres_programs  # noqa: E402

N = int(os.environ.get("ONCHANNEL_FAULTS", "30"))
SEED = int(os.environ.get("ONCHANNEL_FAULTS_SEED") or random.randrange(10**6))


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def rig(request, needs):
    needs("mkfs.ext4", "setpriv", "nft")
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("no loop devices")
    if request.param == "PostgreSQL" and not postgres_programs():
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    try:
        with rigs.private_mounts(), Internet() as internet:
            r = rigs.Rig(internet, request.param)
            try:
                yield r
            finally:
                r.close()
    except Missing as e:
        pytest.skip(str(e))


def settle(rig):
    """Everything that was tried is at the collector and in its log: returns how many records."""
    rig.wait("the agent", rig.status)
    rig.services["agent"].end(15)  # writes what is still being collected
    rig.services["uplink"].end(15)  # does not wait for its next attempt
    rig.wait("the agent again", rig.status)
    rig.wait("the database", lambda: rig.next_seq() is not None)

    def arrived():
        status = rig.status()
        return status and status["canary"] and status["spool"]["next_seq"] == rig.next_seq()
    rig.wait("every record at the collector", arrived, 90)
    rig.wait("every batch in the log", lambda: rig.rows("SELECT count(*) FROM seal WHERE leaf IS NULL") == [["0"]])
    (entries,), = rig.rows("SELECT count(*) FROM log_leaf")
    rig.wait("a checkpoint over all of it", lambda: any(int(note.split("\n")[1]) >= int(entries) for note in rig.notes))
    return rig.next_seq() - 1


def check_chain(rig):
    """The database by our own arithmetic. Returns the records' JSON."""
    (device, key, next_seq, head), = rig.rows("SELECT id, hex(public_key), next_seq, hex(head) FROM device")
    seals = [(int(first), int(n), *map(bytes.fromhex, rest)) for first, n, *rest in
             rig.rows("SELECT first, n, hex(prev), hex(head), hex(signature) FROM seal ORDER BY first")]
    records = [(int(seq), *map(bytes.fromhex, rest)) for seq, *rest in rig.rows("SELECT seq, hex(hash), hex(salt), hex(body) FROM record ORDER BY seq")]
    problems = chain.problems(device, bytes.fromhex(key), int(next_seq), bytes.fromhex(head), seals, records)
    assert not problems, problems[:10]
    return records


def check_spool(rig, records):
    """What the agent ever sealed is what the collector keeps, byte for byte."""
    kept, sealed = {seq: rest for seq, *rest in records}, set()
    inside = rig.disks["agent"].inside
    assert not list((inside / "spool").glob("*.damaged"))
    for path in [*(inside / "copies").iterdir(), *(inside / "spool").glob("*.seg")]:
        written, seals = chain.segment(path)
        for first, n, _ in seals:
            for seq in range(first, first + n):
                salt, hash_, body = written[seq]
                assert kept.get(seq) == [hash_, salt, body], f"record {seq} of {path.name} is another one at the collector"
                sealed.add(seq)
    assert sealed == set(kept), f"seen in the spool {len(sealed)}, kept {len(kept)}"


def check_log(rig):
    """Each checkpoint that was ever shown is in the history of the log; an export proves every record."""
    entries = [bytes.fromhex(e) for e, in rig.rows("SELECT hex(entry) FROM log_leaf ORDER BY number")]
    vkey = rig.collector.run("log", rig.collector.dir).stdout.strip()
    name, _, key = vkey.split("+", 2)
    assert rig.notes
    for note in rig.notes:
        size, root = verify_bundle.checkpoint_open(note, name, base64.b64decode(key)[1:])
        assert size <= len(entries) and root == chain.root(entries[:size]), f"the checkpoint of size {size} is not in the log's history"
    bundle = rig.base / "all.ndjson"
    with open(bundle, "w") as out:
        rig.collector.run("export", rig.collector.dir, stdout=out, timeout=300)
    result = verify_bundle.verify(bundle.read_bytes())
    assert not result.problems, result.problems[:5]
    said = json.loads(subprocess.run([BUILD / "cli/onchannel-verify", bundle, "--json", "--log-key", vkey], capture_output=True, text=True,
                                     check=False).stdout)
    assert said["ok"], said["problems"][:5]
    assert rig.collector.run("check", rig.collector.dir, timeout=300).stdout.strip().endswith("holds")
    return result.present, len(entries)


def told(records):
    """What the chain says of the load: {(user, layer, channel): attempts}, and of losses."""
    counted, losses, events, times = {}, {"lost": 0, "refused": 0, "unresolved": 0}, {}, []
    for _, _, _, body in records:
        o = json.loads(body)
        own = o["unmapped"]["onchannel"]
        times.append(o["time"] / 1000)
        if own["kind"] == "coverage":
            c = own["coverage"]
            events[c["event"]] = events.get(c["event"], 0) + 1
            losses["lost"] = max(losses["lost"], c["lost"])
            losses["refused"] += c["refused"]
            losses["unresolved"] += c["unresolved"]
        elif own.get("class") == "use":
            key = o["actor"]["user"]["name"], own["layer"], own["channel"]
            counted[key] = counted.get(key, 0) + o["count"]
    return counted, losses, events, times


def check_truth(made, counted, losses, untold):
    """Nothing is told that nobody did, and what is missing is told to be lost; but for so many."""
    invented = {k: (n, made.get(k, 0)) for k, n in counted.items() if n > made.get(k, 0)}
    assert not invented, f"recorded more often than tried: {invented}"
    missing = {k: (counted.get(k, 0), n) for k, n in made.items() if counted.get(k, 0) < n}
    n = sum(m - c for c, m in missing.values())
    assert n <= sum(losses.values()) + untold, f"{n} attempts are missing and {losses} are told: {missing}"
    return n


def test_faults(rig, capsys):
    plan = faults.Plan(SEED, N, rig.kind)
    rig.start()
    before = time.time()
    load = faults.Load(rig, SEED)
    plan.run(rig)
    faults.step_while_it_runs(rig)
    made, passed = load.end()
    took = time.time() - before
    starts = {name: s.starts for name, s in rig.services.items()}
    n = settle(rig)
    records = check_chain(rig)
    check_spool(rig, records)
    present, entries = check_log(rig)
    counted, losses, events, times = told(records)
    # a power cut may take the attempts of its last second, see ARCHITECTURE.md
    untold = plan.counts().get("agent's power cut", 0) * 1.5 * sum(made.values()) / took
    missing = check_truth(made, counted, losses, untold)
    assert not passed, f"got through: {passed[:10]}"
    got_out = {r["name"] for r in rig.internet.seen("dns")} & load.names
    assert not got_out, f"names that were asked for in the world: {got_out}"
    wrong_clock = sum(not before - 60 < t < time.time() + 1 for t in times)
    assert wrong_clock, "the agent never saw another time"
    assert n == present == len(records)
    with capsys.disabled():
        print(f"\n{rig.kind}, seed {SEED}: {N} faults in {took:.0f} s, {sum(made.values())} attempts in {sum(n > 0 for n in made.values())} kinds; "
              f"{n} records, each once, {missing} attempts missing, {losses} told, {wrong_clock} records by a wrong clock; coverage {events}; "
              f"{entries} entries of the log, {len(rig.notes)} checkpoints; programs started {starts}")
        for what, times in sorted(plan.counts().items()):
            print(f"  {times:3} {what}")
