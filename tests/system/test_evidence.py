# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence on its way out: the log, the export, and two verifiers that must agree."""
import base64
import datetime
import hashlib
import json
import pathlib
import secrets
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from harness import BUILD, SLOW, TREE, wait_for
from internet import COLLECTOR, PATH, environment
from test_collector import collector, device  # noqa: F401

sys.path.insert(0, str(TREE / "tests/support"))
import verify_bundle  # noqa: E402
from device import Device  # noqa: E402

VERIFY = BUILD / "cli/onchannel-verify"


def own_verify(path, *args):
    r = subprocess.run([VERIFY, path, "--json", *args], capture_output=True, text=True, check=False)
    return r.returncode, json.loads(r.stdout)


def coverage(time, **change):
    return {"time": time, "own": {"kind": "coverage", "coverage": {"event": "heartbeat", "mode": "enforce", "lost": 0, **change},
                                  "class": None, "tier": None, "layer": None, "outcome": None, "verdict": None}}


def export(collector, path, **query):  # noqa: F811
    text = "&".join(f"{k}={v}" for k, v in query.items())
    status, _ = collector.call(f"/api/v1/export?{text}", "-o", str(path))
    assert status == 200, path.read_text()
    return path.read_bytes()


@pytest.fixture
def out(internet, tmp_path):
    """A folder that the collector's curl may write to."""
    folder = pathlib.Path(internet.base) / f"export-{tmp_path.name}"
    folder.mkdir()
    return folder


def verdicts(path, step):
    """What the C verifier says first of each changed byte."""
    r = subprocess.run([BUILD / "tests/unit/flip-bundle", path, str(step)], capture_output=True, text=True, check=True)
    return [line.split() for line in r.stdout.splitlines()]


def test_every_byte(collector, device, out):  # noqa: F811
    """Any single byte changed anywhere: both verifiers say that it is broken, where, and which record it was."""
    now = 1763740000000
    device.send([coverage(now), {"time": now + 1000}])
    device.send([{"time": now + 2000, "app_name": "x" * 50}, coverage(now + 3000)])
    data = export(collector, out / "all.ndjson", device=device.id)
    python = verify_bundle.verify(data)
    assert not python.problems and python.present == 4 and python.audits >= 1
    code, answer = own_verify(out / "all.ndjson")
    assert code == 0 and answer["ok"] and answer["signed"], answer
    mine, = answer["devices"]
    assert (mine["present"], mine["violations"], mine["coverage"]) == (4, 2, 2)

    records = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.startswith(b'{"class_uid"'):
            records[number] = json.loads(line)["metadata"]["sequence"]
    assert len(records) == 4
    starts = [0] + [i + 1 for i, b in enumerate(data) if b == 10]
    for offset, *said in verdicts(out / "all.ndjson", 1):
        offset = int(offset)
        changed = bytearray(data)
        changed[offset] ^= 1 << (offset % 7)
        other = verify_bundle.verify(bytes(changed)).problems
        assert said[0] != "holds" and other, f"byte {offset} can be changed unseen"
        line = sum(s <= offset for s in starts)
        if line in records and data[offset] != 10 and changed[offset] != 10:
            assert int(said[2]) == records[line] == other[0][2], (offset, said, other[0])
            assert int(said[0]) == line == other[0][0], (offset, said, other[0])


NOT_PROVED = {f"onchannel{how}{what}" for how in (".", " without ") for what in ("version", "created", "from", "to", "filter")}
NOT_PROVED |= {"device.name", "device.enrolled", "device twice", "batch without log", "without cosigned", "cosigned twice", "cosigned later",
               "seen twice", "seen later"}


def liar(lines, key):
    """The bundle as a collector would send it that has its key and does not mind what it signs."""
    body = b""
    for line in lines:
        if isinstance(line, dict):
            text = json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
            line = text + b',"sum":"%s"}' % hashlib.sha256(text).hexdigest()[:16].encode()
        body += line + b"\n"
    origin = lines[0].get("origin", "") if isinstance(lines[0], dict) else ""
    text = f"onchannel evidence bundle\n{origin}\n{body.count(10)}\n{hashlib.sha256(body).hexdigest()}\n"
    end = json.dumps({"end": f"{text}\n{note_line(origin, key, text)}"}, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
    return body + end + b',"sum":"%s"}\n' % hashlib.sha256(end).hexdigest()[:16].encode()


def lies(lines):
    """(what it is, the lines then), of each line and each member of one."""
    for i, line in enumerate(lines):
        kind = next(iter(line)) if isinstance(line, dict) else "record"
        yield f"without {kind}", lines[:i] + lines[i + 1:]
        yield f"{kind} twice", lines[:i + 1] + lines[i:]
        yield f"{kind} later", lines[:i] + lines[i + 1:i + 2] + [line] + lines[i + 2:]
        if kind == "record":
            yield "record changed", lines[:i] + [line[:-3] + bytes([line[-3] ^ 1]) + line[-2:]] + lines[i + 1:]
            continue
        for member, value in line.items():
            changed = {int: lambda n: n + 1, str: lambda s: s[::-1] or "x", list: lambda v: v[1:], dict: lambda _: {}}[type(value)](value)
            yield f"{kind}.{member}", lines[:i] + [{**line, member: changed}] + lines[i + 1:]
            if member != kind:
                yield f"{kind} without {member}", lines[:i] + [{k: v for k, v in line.items() if k != member}] + lines[i + 1:]


def test_collector_that_lies(collector, device, witness, out):  # noqa: F811
    """Lines left out, doubled, moved and changed, sums and signature made anew: the verifiers agree, on what nobody can prove as well."""
    now = 1763740000000
    for records in ([coverage(now), {}], [{}], [{}, coverage(now + 1000)]):
        device.send(records)
    log = check_log(collector)
    assert witness().returncode == 0
    device.send([coverage(now + 2000, checkpoint={"log": log.vkey.split("+")[0], "size": log.size, "root": log.root.hex()})])
    data = export(collector, out / "honest.ndjson", device=device.id)
    key = verify_bundle_key((collector.dir / "log.key").read_text().split()[1])
    lines = [json.loads(line) if line.startswith(verify_bundle.BEGINS) else line for line in data.splitlines()][:-1]
    for line in lines:
        if isinstance(line, dict):
            del line["sum"]
    assert liar(lines, key) == data and {next(iter(o)) for o in lines if isinstance(o, dict)} >= {"checkpoint", "cosigned", "batch", "audit", "seen"}
    unseen, told = set(), 0
    for what, changed in lies(lines):
        (out / "lie.ndjson").write_bytes(liar(changed, key))
        code, said = own_verify(out / "lie.ndjson")
        other = verify_bundle.verify((out / "lie.ndjson").read_bytes()).problems
        assert (code == 0) == (not other), (what, said["problems"], other)
        told += code != 0
        unseen |= {what} if code == 0 else set()
    assert unseen == NOT_PROVED and told > 200, (unseen ^ NOT_PROVED, told)


def test_verifier_needs_nothing(collector, device, out):  # noqa: F811
    """One file and the bundle, in a root with nothing else in it and without a network."""
    device.send([{}])
    export(collector, out / "all.ndjson", device=device.id)
    shutil.copy(VERIFY, out)
    r = subprocess.run(["unshare", "--net", "chroot", out, f"/{VERIFY.name}", "/all.ndjson"], capture_output=True, text=True, check=False)
    assert r.returncode == 0 and "result     holds" in r.stdout and not r.stderr, r


HOLES = [  # coverage records, each an hour after the one before or as many as its first number says; hours without cover and why
    ([(8, {"event": "sleep", "gap_ms": 8 * 3600000})], []),
    ([(8, {"event": "sleep", "gap_ms": 6 * 3600000})], [(2, "no coverage record")]),
    ([(8, {})], [(8, "no coverage record")]),
    ([(0, {"event": "stop"}), (14, {"event": "start", "cause": "boot"})], [(14, "the agent was stopped, the machine was started anew")]),
    ([(0, {"event": "stop"}), (1, {"event": "start", "cause": "upgrade"})], [(1, "the agent was upgraded")]),
    ([(0, {"event": "stop"}), (1, {"event": "start", "cause": "restart"})], [(1, "the agent was restarted")]),
    ([(0, {"event": "stop"}), (1, {})], [(1, "the agent was stopped")]),
    ([(3, {"event": "gap", "gap_ms": 2 * 3600000}), (0, {"event": "start", "cause": "restart"})], [(2, "the agent did not run")]),
]


def test_holes_are_explained(collector, device, out):  # noqa: F811
    """A sleeping machine is no hole, but only for as long as it says that it slept; every other stretch has its reason."""
    hour, now, records, expected = 3600000, 1763740000000, [], []
    for said, holes in HOLES:
        for hours, change in said:
            now += hours * hour
            records.append(coverage(now, **change))
        now += hour // 2
        records.append(coverage(now))
        expected += holes
    device.send([coverage(1763740000000), *records])
    export(collector, out / "holes.ndjson", device=device.id)
    mine, = own_verify(out / "holes.ndjson", "--heartbeat", "1800")[1]["devices"]
    found = [((h["to"] - h["from"]) / hour, h["why"]) for h in mine["holes"]]
    assert found[:-1] == expected and found[-1][1] == "silent since then" and mine["asleep_ms"] == 14 * hour, found


def test_losses_are_counted_once(collector, device, out):  # noqa: F811
    """A device says in each coverage record how much it has lost since it started: the machine starts twice."""
    now = 1763740000000
    device.send([coverage(now + i, lost=lost, refused=refused) for i, (lost, refused) in enumerate([(0, 0), (3, 2), (3, 0), (4, 1), (2, 0)])])
    export(collector, out / "losses.ndjson", device=device.id)
    code, said = own_verify(out / "losses.ndjson")
    assert code == 0 and [(d["lost"], d["refused"]) for d in said["devices"]] == [(6, 3)], said


# ---- the log as a witness sees it ----

class Tiles:
    """The log over HTTP, read and hashed here, after C2SP tlog-tiles and RFC 6962."""

    def __init__(self, collector):  # noqa: F811
        self.collector = collector
        note = self.get("checkpoint").decode()
        self.vkey = collector.run("log", collector.dir).stdout.strip()
        name, _, key = self.vkey.split("+", 2)
        self.size, self.root = verify_bundle.checkpoint_open(note, name, base64.b64decode(key)[1:])

    def get(self, path):
        target = pathlib.Path(self.collector.internet.base) / "tile"
        r = self.collector.curl(f"/log/{path}", "-o", str(target))
        assert r.stdout.strip() == "200", (path, r.stdout)
        return target.read_bytes()

    def entries(self):
        found = []
        for n in range((self.size + 255) // 256):
            width = min(256, self.size - 256 * n)
            data = self.get(f"tile/entries/{n:03d}" + (f".p/{width}" if width < 256 else ""))
            while data:
                size = int.from_bytes(data[:2], "big")
                found.append(data[2:2 + size])
                data = data[2 + size:]
        return found

    def tile(self, n):
        width = min(256, self.size - 256 * n)
        return self.get(f"tile/0/{n:03d}" + (f".p/{width}" if width < 256 else ""))


def mth(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def check_log(collector, at_least=1):  # noqa: F811
    """Entries, tiles and checkpoint fit together; every sealed batch and each audited action has its entry."""
    wait_for(lambda: not collector.sql("SELECT 1 FROM seal WHERE leaf IS NULL"), 20, "all batches in the log")
    wait_for(lambda: Tiles(collector).size >= at_least, 20, "the next checkpoint")
    log = Tiles(collector)
    entries = log.entries()
    leaves = [hashlib.sha256(b"\0" + e).digest() for e in entries]
    assert mth(leaves) == log.root and len(entries) == log.size
    assert b"".join(leaves) == b"".join(log.tile(n) for n in range((log.size + 255) // 256))
    for device_id, first, head, leaf in collector.sql("SELECT d.id, s.first, s.head, s.leaf FROM seal s JOIN device d ON d.number = s.device"):
        if leaf < log.size:
            assert entries[leaf].split()[2:4] != [] and head.hex() in entries[leaf].decode() and device_id in entries[leaf].decode(), first
    return log


class Witness:
    """Another administrator, without privileges, on a host of their own: the laptop's, where nothing of onchannel runs."""

    def __init__(self, collector, host, out, name):  # noqa: F811
        self.host, self.ca, self.key, self.state = host, collector.ca, out / "witness.key", out / "witness.state"
        out.chmod(0o777)
        bin_folder = collector.programs.cli.parent
        shutil.copy(BUILD / "cli/onchannel-witness", bin_folder)
        self.run = {"user": "anna", "env": environment(PATH=f"{bin_folder}:{PATH}")}
        self.command = [str(collector.programs.cli), "evidence", "witness"]
        self.vkey = host.run([*self.command, "new", name, str(self.key)], check=True, **self.run).stdout.strip()
        (out / "log.pub").write_text(collector.run("log", collector.dir).stdout)
        self.log_key = out / "log.pub"

    def arguments(self, state=None, ca=True):
        return [*self.command, f"https://{COLLECTOR}:8444/log", "--log-key", str(self.log_key), "--key", str(self.key), "--state",
                str(state or self.state), *(("--ca", str(self.ca)) if ca else ())]

    def __call__(self, state=None, ca=True):
        return self.host.run([*self.arguments(state, ca), "--once"], **self.run)


@pytest.fixture
def witness(collector, internet, out, tmp_path):  # noqa: F811
    w = Witness(collector, internet.laptop, out, f"witness.example/{tmp_path.name[-20:]}")
    collector.run("witness", collector.dir, "add", w.vkey)
    yield w
    collector.run("witness", collector.dir, "remove", w.vkey.split("+")[0])


def test_log_and_witness(collector, device, witness, out):  # noqa: F811
    """Tiles hash to the checkpoint; a witness on another host cosigns what grows, and an export shows it."""
    for _ in range(3):
        device.send([{}] * 3)
    log = check_log(collector)
    for path in ("tile/0/999", "tile/1/000", "tile/0/000.p/0", "tile/entries/000.p/255", "tile/0/../0/000", "secret"):
        assert collector.curl(f"/log/{path}", "--path-as-is", "-o", "/dev/null").stdout.strip() == "404", path
    stranger = witness(ca=False)
    assert stranger.returncode == 1 and "certificate" in stranger.stderr and not witness.state.exists(), stranger
    first = witness()
    assert first.returncode == 0, first.stderr
    status, answer = collector.call("/api/v1/integrity")
    row, = answer["log"]["witnesses"]
    assert status == 200 and row["size"] >= log.size and answer["log"]["origin"] in witness.vkey + log.vkey
    device.send([{}])
    export(collector, out / "witnessed.ndjson", device=device.id)
    code, said = own_verify(out / "witnessed.ndjson", "--log-key", out / "log.pub", "--witness", witness.vkey)
    assert code == 0, said["problems"]
    assert not verify_bundle.verify((out / "witnessed.ndjson").read_bytes()).problems
    stranger = "w.example/x" + witness.vkey[witness.vkey.index("+"):]
    assert own_verify(out / "witnessed.ndjson", "--witness", stranger)[0] != 0
    again = witness()
    assert again.returncode == 0, again.stderr
    assert (out / "witness.state").read_text().count("\u2014") == 2, "the log's line and the witness's own"
    packed = subprocess.run(["zstd", "-q", "-c", out / "witnessed.ndjson"], capture_output=True, check=True).stdout
    (out / "packed.zst").write_bytes(packed)
    assert own_verify(out / "packed.zst")[0] == 0
    (out / "cut.zst").write_bytes(packed[:-20])
    assert own_verify(out / "cut.zst")[0] == 1


def test_fork_is_told(collector, device, witness, out):  # noqa: F811
    """The administrator rewrites history: the witness, the device and an export say so."""
    device.send([{}])
    check_log(collector)
    assert witness().returncode == 0
    state = (out / "witness.state").read_text()
    origin, size, root = state.split("\n")[:3]
    seed = (collector.dir / "log.key").read_text().split()[1]
    key = verify_bundle_key(seed)
    text = f"{origin}\n{int(size) + 3}\n{base64.b64encode(bytes(32)).decode()}\n"
    forged = text + "\n" + note_line(origin, key, text)
    witness_key = verify_bundle_key((out / "witness.key").read_text().split()[1])
    (out / "forked.state").write_text(forged + cosign_line(witness.vkey.split("+")[0], witness_key, text, 1700000000))
    r = witness(out / "forked.state")
    assert r.returncode == 4 and "FORKED" in r.stderr, (r.stdout, r.stderr)
    assert (out / "forked.state.fork").exists() and witness(out / "forked.state").returncode == 4
    answer = device.call("/v1/status", data=json.dumps({"checkpoint": {"log": origin, "size": int(size), "root": "00" * 32}}).encode(),
                         headers=["Content-Type: application/json"])
    assert answer.status == 200 and origin in answer.json["checkpoint"]
    _, integrity = collector.call("/api/v1/integrity")
    finding, = [f for f in integrity["findings"] if f["kind"] == "log-fork" and f["device"] == device.id]
    assert finding["record"]["class_uid"] == 2004
    good = {"log": origin, "size": int(size), "root": base64.b64decode(root).hex()}
    device.send([coverage(1763740000000, checkpoint=good)])
    export(collector, out / "seen.ndjson", device=device.id)
    code, said = own_verify(out / "seen.ndjson")
    assert code == 0 and said["logs"][0]["seen"] == 1, said
    device.send([coverage(1763740001000, checkpoint={**good, "root": "11" * 32})])
    export(collector, out / "fork.ndjson", device=device.id)
    code, said = own_verify(out / "fork.ndjson")
    assert code == 1 and any(p["device"] == device.id and p["seq"] == 3 for p in said["problems"]), said
    assert verify_bundle.verify((out / "fork.ndjson").read_bytes()).problems


def test_log_that_is_rewritten(collector, device, witness, out, tmp_path):  # noqa: F811
    """The administrator puts a backup back and goes on from there, by the same key: the witness, at work on its host, ends and says
    so, both states in hand; nor is another deceived once the new log is longer than what it saw."""
    def served_from(folder):
        collector.stop()
        collector.dir, before = folder, collector.dir
        collector.start()
        return before
    device.send([{}])
    check_log(collector)
    backup, second = collector.folder / "backup", out / "second.state"
    collector.run("backup", collector.dir, backup)
    device.send([{}])
    check_log(collector)
    (size,), = collector.sql("SELECT count(*) FROM log_leaf")
    check_log(collector, size)
    with open(out / "said", "w") as said:
        at_work = witness.host.popen([*witness.arguments(), "--interval", "1"], stdout=said, stderr=said, stdin=subprocess.DEVNULL, **witness.run)
    wait_for(lambda: witness.state.exists() and int(witness.state.read_text().split("\n")[1]) >= size, 10 * SLOW, "the witness's first look")
    collector.run("restore", collector.folder / "restored", backup)
    honest = served_from(collector.folder / "restored")
    try:
        assert at_work.wait(20 * SLOW) == 4
        assert "THE LOG WAS FORKED: it had " in (out / "said").read_text()
        states = (out / "witness.state.fork").read_text()
        assert states.startswith(witness.state.read_text()) and states.count(Tiles(collector).vkey.split("+")[0]) >= 4, states
        other = Device(tmp_path / "other", f"https://{COLLECTOR}:8443", collector.ca, f"other-{tmp_path.name[-20:]}")
        other.prefix = device.prefix
        assert other.enrol(collector.token()).status == 200
        seen = int(witness.state.read_text().split("\n")[1])
        for _ in range(seen):
            other.send([{}])
        check_log(collector, seen + 1)
        shutil.copy(witness.state, second)
        second.chmod(0o666)
        r = witness(second)
        assert r.returncode == 4 and f"entries do not begin with the {seen} of before" in r.stderr, r
        _, answer = collector.call("/api/v1/integrity")
        assert all((w["size"] or 0) < seen for w in answer["log"]["witnesses"]), "the new one was cosigned"
    finally:
        served_from(honest)


def verify_bundle_key(seed):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))


def public_of(key):
    from cryptography.hazmat.primitives import serialization
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def note_line(name, key, text):
    key_id = hashlib.sha256(name.encode() + b"\n\1" + public_of(key)).digest()[:4]
    return f"\u2014 {name} {base64.b64encode(key_id + key.sign(text.encode())).decode()}\n"


def cosign_line(name, key, text, when):
    key_id = hashlib.sha256(name.encode() + b"\n\4" + public_of(key)).digest()[:4]
    signature = key.sign(f"cosignature/v1\ntime {when}\n".encode() + text.encode())
    return f"\u2014 {name} {base64.b64encode(key_id + when.to_bytes(8, 'big') + signature).decode()}\n"


def test_log_after_kill(collector, device, out):  # noqa: F811
    """Killed at any moment the log goes on from what was committed, and earlier checkpoints stay in its history."""
    seen = []
    for _ in range(4):
        device.send([{}] * 2)
        seen.append(Tiles(collector))
        collector.stop(9)
        collector.start()
    log = check_log(collector, seen[-1].size + 1)
    leaves = [hashlib.sha256(b"\0" + e).digest() for e in log.entries()]
    for old in seen:
        assert old.size <= log.size and mth(leaves[:old.size]) == old.root
    r = collector.run("export", collector.dir, "--device", device.id)
    (out / "cli.ndjson").write_text(r.stdout)
    assert own_verify(out / "cli.ndjson", "--log-key", log.vkey)[0] == 0


def age(collector, device, months):  # noqa: F811
    """As if the device's records had come so long ago: when they did is in the seal, and there it stays as it was."""
    day = datetime.date.today().replace(day=1)
    for _ in range(months):
        day = (day - datetime.timedelta(days=1)).replace(day=1)
    noon = datetime.datetime.combine(day, datetime.time(12), datetime.timezone.utc)
    with closing(sqlite3.connect(collector.dir / "collector.db")) as db, db:
        db.execute("UPDATE record SET month = ?, received_ms = ? WHERE device = (SELECT number FROM device WHERE id = ?)",
                   (day.year * 100 + day.month, int(noon.timestamp()) * 1000, device.id))
    return day.strftime("%Y-%m")


def test_retention_by_rule(collector, device, out):  # noqa: F811
    """Rules by class, channel and devices: what would go, what goes, and that the rest still verifies."""
    def retention(*args, check=True):
        r = collector.run("retention", collector.dir, *args, check=check)
        return r.stdout if check else (r.returncode, r.stderr)

    signal = {"own": {"channel": "signal"}}
    device.send([coverage(1763740000000), {}, signal, {}])
    device.send([signal, signal])
    check_log(collector)
    collector.stop()  # it would remove by itself
    try:
        month = age(collector, device, 4)
        assert retention() == "Records are kept for ever.\n"
        for args, words in [(("--months", "x"), "--months must be 0 (for ever) to 1200"), (("--months", "2", "--class", "chat"), "no class 'chat'"),
                            (("--months", "2", "--channel", "Big App"), "'Big App' is not the id of a channel"),
                            (("--months", "2", "--device", "ws-[0-3]"), "'ws-[0-3]' is not a device's id"), (("--class", "use"), "needs --months"),
                            (("remove", "x"), "the rule's number"), (("run", "--months", "2"), "retention run does not take that option")]:
            code, said = retention(*args, check=False)
            assert code == 2 and words in said, said
        assert retention("remove", "99", check=False) == (1, "onchannel-collector: there is no rule 99\n")
        assert retention("--months", "2", "--channel", "signal", "--dry-run").splitlines() == [
            f"this rule  {month}  3 records", "3 records would be removed. Nothing was changed."]
        assert retention() == "Records are kept for ever.\n"
        retention("--months", "24")
        retention("--months", "2", "--device", "ws-*", "--class", "use")
        said = retention("--months", "12", "--channel", "whatsapp", "--class", "use").splitlines()
        assert [line.split()[1:] for line in said[:3]] == [
            "12 months class use channel whatsapp device any".split(), "2 months class use channel any device ws-*".split(),
            "24 months class any channel any device any".split()] and len(said) == 4
        number = said[1].split()[0]
        collector.run("hold", collector.dir, "add", "--channel", "signal", "--reason", "case 7")
        assert retention("run", "--dry-run").splitlines()[0] == f"rule {number:<5} {month}  0 records, 3 more stay under a hold"
        assert retention("run") == "0 records removed.\n"
        collector.run("hold", collector.dir, "release", "1")
        assert retention("run", "--dry-run").splitlines()[0] == f"rule {number:<5} {month}  3 records"
        assert retention("run") == "3 records removed.\n" and retention("run") == "0 records removed.\n"
        assert retention("run", "--dry-run").splitlines() == ["0 records would be removed. Nothing was changed."]
        assert len(retention("remove", number).splitlines()) == 3
        with closing(sqlite3.connect(f"file:{collector.dir}/collector.db?mode=ro", uri=True)) as db:
            kept = db.execute("SELECT seq, erased_ms IS NOT NULL FROM record WHERE device = (SELECT number FROM device WHERE id = ?) ORDER BY seq",
                              (device.id,)).fetchall()
            assert kept == [(1, 0), (2, 0), (3, 1), (4, 0)], "the second batch is gone as a whole"
            assert b"signal" not in b"".join(b for b, in db.execute("SELECT body FROM record WHERE device = (SELECT max(number) FROM device)"))
    finally:
        collector.start()
    said = collector.run("check", collector.dir, check=False).stdout.splitlines()
    assert len(said) == 5 and all("when it came in is not what its batch says" in line for line in said[:-1]), "but for what age() did"
    wait_for(lambda: not collector.sql("SELECT 1 FROM admin_audit WHERE leaf IS NULL"), 20, "the purge in the log")
    batches = "records 1 to 4", "records 5 to 6"
    for sql, said in [("UPDATE seal SET gone = NULL", f"{batches[1]} of {device.id} are missing: no rule of retention removed them"),
                      ("DELETE FROM record", f"{batches[0]} of {device.id} are missing: no rule of retention removed them"),
                      ("UPDATE seal SET gone = 1", f"record 1 of {device.id} is here, though marked as removed"),
                      ("UPDATE seal SET gone = 2", "retention removed 1 batches and left 0 under a hold, says the audit trail; other ones, 0 and"),
                      ("DELETE FROM admin_audit WHERE action = 'purge'", "was removed from the database")]:
        assert said in tampered(collector, out, sql)
    data = export(collector, out / "kept.ndjson", device=device.id)
    python = verify_bundle.verify(data)
    code, answer = own_verify(out / "kept.ndjson")
    mine, = answer["devices"]
    assert not python.problems and code == 0 and mine["present"] == python.present == 3, (answer, python.problems)


def test_a_person_is_erased(collector, device, out):  # noqa: F811
    """While the collector serves: nothing of the person is left, a hold keeps what it is about, and both verifiers hold."""
    person = f"zz{secrets.token_hex(8)}"

    def by(user, **own):
        return {"actor": {"user": {"name": user, "uid": "1001"}, "process": {"pid": 1, "name": f"run-by-{user}"}}, "own": own}

    def erase():
        return collector.run("erase", collector.dir, "--user", person, "--reason", "Article 17").stdout.splitlines()
    device.send([coverage(1763740000000), by(person), {}, by(person, channel="signal")])
    device.send([by(person)])
    log = check_log(collector)
    assert len(collector.violations(user=person)) == 3
    collector.run("hold", collector.dir, "add", "--channel", "signal", "--reason", "case 8")
    number = collector.run("hold", collector.dir, "list").stdout.splitlines()[-1].split()[0]
    assert [line.split()[0] for line in erase()] == ["2", "1"]
    assert [r["channel"] for r in collector.violations(user=person)] == ["signal"]
    collector.run("hold", collector.dir, "release", number)
    assert erase() == ["1 records erased: their places and hashes stay, so that the rest can be verified."]
    assert collector.violations(user=person) == [] and len(collector.violations(device=device.id)) == 1
    assert check_log(collector, log.size + 1).vkey == log.vkey
    export(collector, out / "erased.ndjson", device=device.id)
    code, said = own_verify(out / "erased.ndjson", "--log-key", log.vkey)
    mine, = said["devices"]
    python = verify_bundle.verify((out / "erased.ndjson").read_bytes())
    assert code == 0 and not python.problems and (mine["present"], mine["erased"]) == (2, 3) and python.present == 2, (said, python.problems)
    assert device.id not in collector.run("check", collector.dir, check=False).stdout
    for path in collector.dir.iterdir():
        assert not path.is_file() or person.encode() not in path.read_bytes(), f"{path.name} still has it"
    assert person not in collector.log.read_text() + (out / "erased.ndjson").read_text()


# ---- the database as its administrator could change it ----

def tampered(collector, out, sql):  # noqa: F811
    """What `check` says of a copy of the database in which that was done."""
    copy = out / "tampered"
    copy.mkdir()
    shutil.copy(collector.dir / "collector.ini", copy)
    with closing(sqlite3.connect(f"file:{collector.dir}/collector.db?mode=ro", uri=True)) as source:
        with closing(sqlite3.connect(copy / "collector.db")) as target, target:
            source.backup(target)
            target.execute(sql)
    r = subprocess.run([BUILD / "collector/onchannel-collector", "check", copy], capture_output=True, text=True, check=False)
    shutil.rmtree(copy)
    assert r.returncode == 1, r.stdout + r.stderr
    return r.stdout + r.stderr
