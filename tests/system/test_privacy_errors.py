# SPDX-License-Identifier: GPL-3.0-or-later
"""Marked words in whatever goes wrong, on the laptop and at the collector, and in every kind of record: a table says of each where it
may be. No log and no metric holds any, in any form."""
import contextlib
import json
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest

import internet as net
import test_privacy
from harness import SLOW, TREE, Employee, Station, policy_text, wait_for
from internet import Internet, Missing
from marks import Marks, forms
from postgres import Postgres
from siege import Siege, zstd_stored
from test_evasion_policy import deliver
from test_evasion_quic import CLIENT
from test_evidence import export
from test_exec import install
from test_forward import FORMS, PATHS, PORT, SYSLOG_PORT, Receiver, Syslog
from test_grants import drop, grant, in_force
from test_hostile_api import JSON, NDJSON, ORIGIN, Caller
from test_operations import Authority, configure, metrics
from test_page import Visitor
from test_policy import comment

sys.path.insert(0, str(TREE / "tests/support"))
from device import Device  # noqa: E402

# Where a word may be. "record": spool, what is collected, tables of records and findings, exports, what is forwarded.
# "state": status.json, which the collector keeps of each device, and the agent's copy of agent.ini. "signed": files that somebody signed, as they are handed on and kept.
# "told": why the collector, or a receiver, did not take something, for whoever asks. "damaged": what is set aside of the spool.
# "accounts": of the page, their sessions and the audit of what they did. Not named: nowhere.
MAY = {
    "user name": {"record", "signed", "state"}, "device name": {"record", "state", "accounts"}, "folder of a program": {"record"},
    "reason of a request": {"record"}, "reason of the decline": {"accounts"},
    "reason of an exemption": {"signed", "state", "record"}, "approver": {"signed", "state", "record"}, "reason of a token": {"signed", "state", "record"},
    "reason of a revocation": {"signed", "state"},
    "key of an exemption": {"signed", "state"}, "name of a file of an exemption": {"state"},
    "key of a policy": {"signed", "state"}, "text of an unsigned policy": {"signed"}, "signature of a policy": {"signed"},
    "channel of a policy": {"signed", "state"}, "text of a catalogue": {"signed"},
    "damage of the spool": {"damaged"},
    "word of a false collector": {"told", "signed", "state"}, "word of a receiver": {"told"},
    "device's own word in a record": {"record"}, "device's own word in its status": {"state"},
    "name of another device": {"record", "state", "accounts"}, "auditor": {"accounts"},
}
TABLES = {"record": "record", "finding": "record", "device": "state", "bundle": "signed", "account": "accounts", "session": "accounts",
          "admin_audit": "accounts", "request_answer": "accounts", "forward_state": "told", "log_leaf": "log of entries"}


class Site:
    """A laptop and a collector with receivers behind it, whose people and machine have marked names."""

    def __init__(self, internet, mark, folder):
        self.internet, self.mark = internet, mark
        self.receiver = Receiver(internet, folder)
        (folder / "syslog").mkdir()
        self.syslog = Syslog(internet, folder / "syslog")
        self.station = Station(internet, browsers=True, device=mark("device name"))
        self.agent, self.collector, self.desk = self.station.agent, self.station.collector, self.station.desk
        self.person = Employee(internet, mark("user name"))
        self.firm = Authority(folder, "firm")
        c = self.collector
        forward = "".join(f"[forward {f}]\nform = {f}\nurl = https://127.0.0.1:{PORT}{PATHS[f]}\nca = {c.dir}/receiver-ca.pem\ntoken = {c.dir}/token\n"
                          "coverage = yes\n" for f in FORMS)
        forward += "".join(f"[forward {f}]\nform = {f}\nurl = tls://127.0.0.1:{SYSLOG_PORT}\nca = {c.dir}/receiver-ca.pem\n" for f in ("syslog", "cef"))
        configure(c, f"metrics_token = {c.dir}/metrics-token\n[devices]\nca = {c.dir}/firm.pem\nname = cn\n{forward}",
                  **{"metrics-token": "s3cret\n", "firm.pem": self.firm.pem.read_text(), "token": mark("receiver's token") + "\n",
                     "receiver-ca.pem": pathlib.Path(internet.base, "ca.pem").read_text()})
        assert c.call("/api/v1/session")[0] == 200  # before this address is locked
        self.devices = 0

    def device(self, name=None):
        self.devices += 1
        d = Device(self.desk.folder / f"device-{self.devices}", f"https://{net.COLLECTOR}:8443", self.collector.ca, name or f"ws-{self.devices}")
        d.prefix = ("nsenter", "-t", str(self.internet.laptop.holder.pid), "-n", "-m", "--")
        return d

    def close(self):
        self.station.close()
        self.syslog.stop()
        self.receiver.process.kill()
        self.receiver.process.wait()


@pytest.fixture
def site(tmp_path):
    mark = Marks()
    for what, may in MAY.items():
        mark(what, *may)
    net.PEOPLE[mark("user name")] = 5999
    try:
        with Internet() as internet:
            s = Site(internet, mark, tmp_path)
            yield s
            s.close()
    except Missing as e:
        pytest.skip(str(e))
    finally:
        del net.PEOPLE[mark("user name")]


# ---- the laptop ----

def attempts(s):
    """Every layer, class and sort of evidence; secrets around each."""
    person, mark = s.person, s.mark
    test_privacy.act(person, mark)
    person.python(CLIENT + "\ns = client()\ns.send(initial(crypto(hello(sys.argv[1]))))\nresult = attempt(later, s, 0.2)",
                  f"{mark('name below, QUIC')}.web.whatsapp.com")
    for proxy in ("socks5-hostname", "socks4a"):
        person.run(["curl", "-sS", "-m", "5", f"--{proxy}", f"{mark('SOCKS user')}:{mark('SOCKS password')}@innocent.shop.example:1080",
                    f"https://{mark('name below, SOCKS')}.web.whatsapp.com/{mark('path, SOCKS')}"])
    person.python("result = attempt(connect, '203.0.113.77', 853)")  # bypass, by its port
    folder = person.home / mark("folder of a program")
    folder.mkdir()
    shutil.move(install(person, "signal-desktop", "/bin/sleep"), folder)
    person.run([folder / "signal-desktop", "0", mark("argument of a program")], env={"MARK": mark("environment of a program")})


def questions(s):
    """What anybody may send to the control socket."""
    for verb in ({"verb": s.mark("verb")}, {"verb": "why", "subject": s.mark("subject")}, {"verb": "why", "subject": "x" * 300 + s.mark("long subject")},
                 {"verb": "request", "subject": s.mark("channel of a request"), "reason": "x"}, {"verb": "exemption", "text": s.mark("text"), "minisig": "x"},
                 {"verb": "my-data", s.mark("unknown field"): 1}):
        test_privacy.control(s.agent.runtime, s.person.uid, **verb)
    r = s.agent.cli("request", "telegram", "--reason", s.mark("reason of a request"), "--for", "1h", user=s.person.name)
    assert r.returncode == 0, r.stderr


def exemptions(s):
    """In force, used, revoked, a token, and files that are none."""
    desk, agent, mark = s.desk, s.agent, s.mark
    desk.cli("key", "new", "exemption")
    shutil.move(desk.folder / "exemption.pub", desk.folder / "keys")
    assert agent.request("reload")["ok"]
    who = ("--approver", mark("approver"))
    drop(agent, grant(s.station, "one.ini", "--channel", "discord", "--user", s.person.name, "--id", "EX-1", "--reason", mark("reason of an exemption"), *who))
    in_force(agent, "EX-1")
    assert s.person.curl("https://discord.com/")[0] == 0
    desk.cli("exemption", "revoke", "stop.ini", "--key", "exemption.key", "--revokes", "EX-1", "--reason", mark("reason of a revocation"), *who)
    drop(agent, desk.folder / "stop.ini")
    wait_for(lambda: s.person.curl("https://discord.com/")[0] == 6, 20 * SLOW, "the revocation")
    desk.cli("break-glass", "make", "glass.ini", "--key", "policy.key", "--device", agent.status()["device"], "--for", "1h", "--id", "BG-1",
             "--reason", mark("reason of a token"), *who)
    assert s.agent.cli("break-glass", "use", desk.folder / "glass.ini").returncode == 0
    text = (desk.folder / "one.ini").read_text().replace("EX-1", "EX-2")
    bad = desk.folder / f"{mark('name of a file of an exemption')}.ini"
    bad.write_text(text + f"{mark('key of an exemption')} = 1\n")
    by_minisign(desk, bad, "exemption", (desk.folder / "one.ini.minisig").read_text().split("trusted comment: ")[1].split("\n")[0].replace("EX-1", "EX-2"))
    drop(agent, bad)
    wait_for(lambda: agent.status()["exemptions_refused"], 20 * SLOW, "an exemption refused")
    desk.cli("exemption", "revoke", "glass-stop.ini", "--key", "exemption.key", "--revokes", "BG-1", "--reason", "x", "--approver", "x")
    drop(agent, desk.folder / "glass-stop.ini")
    wait_for(lambda: agent.status()["policy"]["mode"] == "enforce", 20 * SLOW, "enforcing again")


def by_minisign(desk, path, key, said):
    subprocess.run(["minisign", "-S", "-W", "-s", desk.folder / f"{key}.key", "-m", path, "-t", said], check=True, capture_output=True,
                   stdin=subprocess.DEVNULL)


def policies(s):
    """Refused, before and behind the signature."""
    agent, desk, mark, serial = s.agent, s.desk, s.mark, s.agent.serial
    path = desk.folder / "bad.ini"

    def refused(role, word, why):
        deliver(agent, role, path)
        wait_for(lambda: why in (agent.status()[role].get("refused") or {}).get("reason", ""), 20 * SLOW, f"a refusal of {word}")
    for n, (channels, keys, why) in enumerate((({}, {mark("key of a policy"): "x"}, "unknown key"), ({mark("channel of a policy"): "allow"}, {}, "channel"))):
        path.write_text(policy_text(channels, serial=serial + 5 + n, **keys))
        by_minisign(desk, path, "policy", comment(serial + 5 + n))
        refused("policy", "a policy", why)
    path.write_text(f"[policy]\nformat = {mark('text of an unsigned policy')}\n")
    refused("policy", "an edited policy", "wrong")
    path.with_name("bad.ini.minisig").write_text(mark("signature of a policy") + "\n" + mark("signature of a policy") + "\n")
    refused("policy", "no signature", "does not start with")
    path.write_text(f"[catalogue]\nformat = {mark('text of a catalogue')}\n")
    by_minisign(desk, path, "catalogue", "onchannel catalogue version=x serial=9")
    refused("catalogue", "a catalogue", "")
    for file in (agent.state / "incoming").glob("*.ini*"):
        file.unlink()


def tampering(s):
    """Tables, files of state, browsers' policies; killed, and started again."""
    laptop, agent, mark = s.internet.laptop, s.agent, s.mark
    restored = agent.status()["counters"]["restored"]
    laptop.run(["nft", "delete", "table", "inet", "onchannel"], check=True)
    (agent.state / "policy/serial").write_text(mark("text of a state file"))
    for file in ("chromium/policies/managed/zz-onchannel.json", "firefox/policies/policies.json"):
        laptop.run(["sh", "-c", f"echo '{{\"{mark('browser policy')}\":' >/etc/{file}"], check=True)
    wait_for(lambda: agent.status()["counters"]["restored"] >= restored + 2 and agent.status()["browsers"]["restored"], 30 * SLOW, "all restored")
    agent.kill()
    agent.start()


def damage(s):
    """Of the spool, with records in it, and of the uplink's note; last, for what is lost there the collector may have."""
    agent, mark = s.agent, s.mark
    agent.uplink.terminate()
    agent.uplink.wait(20)
    agent.kill()
    last = sorted((agent.state / "spool").glob("*.seg"))[-1]
    with last.open("r+b") as f:
        f.seek(last.stat().st_size // 2)
        f.write(f"{{\"{mark('damage of the spool')}\":1}}\n".encode() * 3)
    (agent.state / "uplink/ack").write_text(mark("text of the uplink's file"))
    agent.start()
    agent.start_uplink()
    wait_for(lambda: "starting with the oldest record" in agent.uplink_log.read_text(), 20 * SLOW, "the uplink going on")


def false_collector(s):
    """Another one, which knows the marks: what it answers goes into no log. In a copy of the state folder."""
    mark, base = s.mark, pathlib.Path(s.internet.base)
    word, state, ini = mark("word of a false collector"), base / "other", base / "other.ini"
    subprocess.run(["cp", "-a", s.agent.state, state], check=True)
    ini.write_text(s.agent.ini.read_text().replace(str(s.agent.state), str(state)).replace(f"{net.COLLECTOR}:8443", f"127.0.0.1:{PORT}")
                   .replace(str(s.collector.ca), f"{base}/ca.pem"))
    for mode, sign in (("forbidden", "answers 403"), ("nonsense", "is in incoming"), ("busy", "answers 503"), ("cut", "")):
        s.receiver.mode(f"{mode} {word}")
        with open(s.agent.uplink_log, "a") as log:
            at = log.tell()
            process = s.internet.world.popen([str(s.station.programs.uplink), "--config", str(ini)], user="onchannel", stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log)
        try:
            wait_for(lambda: sign in s.agent.uplink_log.read_text()[at:] and s.agent.uplink_log.read_text()[at:], 20 * SLOW, f"an answer that is {mode}")
        finally:
            process.terminate()
            process.wait(20)
    s.receiver.mode("ok")


# ---- the collector ----

def strangers(s):
    """Enrolments, certificates and calls that are refused."""
    mark, json_type = s.mark, ["Content-Type: application/json"]
    honest = s.device(mark("name of another device"))
    assert honest.enrol(s.collector.token()).status == 200
    used = s.collector.run("token", s.collector.dir, "--uses", "1").stdout.split()[-1]
    assert s.device().enrol(used).status == 200
    mark.words["token that is used up"] = used
    mark.may["token that is used up"] = set()
    for d, token in ((s.device(mark("name of a stranger")), used), (s.device(mark("name of another stranger")), mark("token")),
                     (s.device(honest.name), s.collector.token())):
        assert d.enrol(token).status in (403, 409)
    liar = s.device(mark("name of a liar"))
    identity = s.firm.issue(mark("other name"), cn=mark("subject"))
    assert liar.enrol(None, identity).status == 403
    assert liar.enrol(None, Authority(s.desk.folder, mark("authority")).issue("x", cn=mark("name of a liar"))).status == 403
    assert honest.call(f"/v1/policy?{mark('query')}={mark('value')}").status == 400
    assert honest.call("/v1/policy", identity=identity).status == 401
    for path in (f"/v1/{mark('path at the agents')}", f"/v1/policy/{mark('path at the agents')}?x={mark('query')}"):
        assert honest.call(path).status == 404
    for path, body in (("/v1/enrol", f'{{"{mark("bad JSON")}":'), ("/v1/enrol", json.dumps({"csr": mark("certificate request"), "name": "x"})),
                       ("/v1/renew", json.dumps({"csr": mark("certificate request")})), ("/v1/status", f'["{mark("bad status")}"]'),
                       ("/v1/reports", mark("bad batch"))):
        assert honest.call(path, data=body.encode(), headers=json_type).status in (400, 401, 403)
    bad = honest.batch(records=[f'{{"{mark("record that is none")}":1}}'.encode()])[0]
    for text in (bad, honest.batch([{"more": mark("refused record")}], first=9)[0], honest.batch([{"more": mark("forked record")}], prev=b"\x55" * 32)[0],
                 honest.batch()[0].replace(b'"count":1', f'"count":"{mark("changed record")}"'.encode())):
        assert honest.post(text).status in (400, 409)
    own = {"channel_name": mark("device's own word in a record"), "detail": mark("device's own word in a record")}
    assert honest.send([{"app_name": mark("device's own word in a record"), "own": own}]).status == 200
    assert honest.call("/v1/status", data=json.dumps({"mode": mark("device's own word in its status"), "policy": {"refused": {"reason": mark(
        "device's own word in its status")}}}).encode(), headers=json_type).status == 200
    for n in (1, 2, 1):  # a clone: back to a boot from before
        assert honest.call("/v1/status", data=json.dumps({"boot": f"00000000-0000-4000-8000-00000000000{n}"}).encode(), headers=json_type).status == 200
    s.collector.run("device", s.collector.dir, "revoke", honest.id)
    assert honest.send().status == 403 and honest.enrol(s.collector.token()).status == 403


def visitors(s):
    """The page: logins, sessions, queries."""
    mark, c = s.mark, s.collector
    auditor = Visitor(c, mark("auditor"), "admin")
    mark.words["password of an auditor"] = auditor.password
    mark.may["password of an auditor"] = set()
    seen = {auditor.post("login", {"user": user, "password": mark("wrong password")})[0]
            for user in [mark("auditor")] * 12 + [mark("user that is none")] * 2}
    assert seen == {401, 429}, seen
    c.curl("/api/v1/login", "-H", "Content-Type: application/json", "-H", f"Origin: https://{mark('origin')}.example", "-d", f'{{"{mark("bad JSON of the page")}"')
    for path in (f"/api/v1/violations?{mark('parameter')}=1", f"/api/v1/violations?class={mark('value of a parameter')}", f"/api/v1/{mark('path at the page')}",
                 f"/api/v1/violations/{mark('device in a path')}/1", f"/log/tile/{mark('tile')}", f"/assets/{mark('asset')}", f"/api/v1/violations?before={mark('cursor')}",
                 f"/api/v1/violations?user={mark('somebody looked for')}", f"/api/v1/coverage/{mark('device of a calendar')}"):
        c.curl(path, "-b", str(auditor.cookies))
        c.curl(path, "-H", f"Cookie: __Host-onchannel={mark('cookie of nobody')}", "-A", mark("user agent"), "-H", f"X-{mark('header')}: 1", "-e", mark("referer"))
    c.curl("/metrics", "-H", f"Authorization: Bearer {mark('token of metrics')}")
    request = wait_for(lambda: next((r for r in auditor.get("exemptions")["requests"] if r["user"] == s.person.name), None), 20 * SLOW, "the request")
    place = {k: request[k] for k in ("device", "seq")}
    assert auditor.post("requests", {**place, "reason": mark("reason of the decline")})[0] == 200
    auditor.post("exemptions", {"kind": mark("kind of an exemption"), "password": mark("password of a key")})
    auditor.post("exemptions/signed", {"file": mark("file that is handed in"), "minisig": mark("signature that is handed in")})
    auditor.post("logout", {})


def receivers(s):
    """They refuse for now and for ever, with a word of their own."""
    poison = s.device()
    assert poison.enrol(s.collector.token()).status == 200
    s.receiver.mode(f"forbidden {s.mark('word of a receiver')}")
    poison.send()
    wait_for(lambda: s.mark("word of a receiver") in s.collector.run("forward", s.collector.dir, check=False).stdout, 20 * SLOW, "a refusal for now")
    s.receiver.mode(f"poison {s.mark('word of a receiver')}")
    poison.send([{"dst_endpoint": {"ip": "192.0.2.1", "port": 666}}, {}])
    wait_for(lambda: s.collector.log.read_text().count("refused for ever") >= len(FORMS), 40 * SLOW, "refusals for ever")
    s.receiver.mode("ok")


# ---- where it all went ----

def rows_of(path):
    """(table, bytes) of a database."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for name, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = db.execute(f'SELECT * FROM "{name}"').fetchall()
            yield name, b"\n".join(v if isinstance(v, bytes) else str(v).encode() for row in rows for v in row)


def state_kind(file):
    parts = str(file)
    return ("record or damaged" if parts.endswith(".damaged") else "record" if parts.startswith("spool/") or parts == "collected"
            else "signed" if parts.startswith(("incoming/", "policy/", "exemptions/", "catalogue/")) else
            "told" if parts in ("uplink/problem", "uplink/contact") else "state" if parts == "agent.ini" else "state of the agent")


def places(s, tmp_path):
    """(name, kind, data) of all that was written by anything of ours."""
    agent, c = s.agent, s.collector
    for log in (agent.log, agent.uplink_log, c.log):
        yield log.name, "log", log.read_bytes()
    yield "metrics", "metrics", metrics(c).encode()
    yield "status.json", "state", (agent.runtime / "status.json").read_bytes()
    stranger = s.station.employee()
    for verb in ("notices", "my-data"):
        yield f"control socket, {verb} of a stranger", "stranger", test_privacy.control(agent.runtime, stranger.uid, verb)
    for root in (agent.state, pathlib.Path(s.internet.base) / "other"):
        for file in root.rglob("*"):
            if file.is_file():
                yield str(file), state_kind(file.relative_to(root)), file.read_bytes()
    database = c.dir / "collector.db"
    anywhere = set()
    for table, data in rows_of(database):
        yield f"table {table}", TABLES.get(table, "table"), data
        anywhere |= {TABLES.get(table, "table")}
    for file in c.dir.iterdir():  # what is in no row any more, too: only what may be in none is looked for
        if file.name.startswith("collector.db"):
            data = file.read_bytes()
            hidden = {what: how for what, how in s.mark.found(data).items() if not s.mark.may[what] & anywhere}
            assert not hidden, f"{file.name} holds {hidden}"
        elif file.is_file() and file.name != "token":
            yield file.name, "folder of the collector", file.read_bytes()
    out = tmp_path / "bundle"
    data = export(c, out)
    for name, kind, is_audit in (("export", "record", False), ("audit lines of the export", "accounts", True)):
        yield name, kind, b"\n".join(line for line in data.split(b"\n") if line.startswith(b'{"number":') == is_audit)
    for form in FORMS:
        yield f"forwarded as {form}", "record", json.dumps([t["event"] for t in s.receiver.taken(form)]).encode()
    yield "forwarded as syslog and CEF", "record", (s.syslog.dir / "messages").read_bytes()


def test_no_mark_where_it_may_not_be(site, needs, tmp_path):
    needs("minisign")
    for act in (attempts, questions, exemptions, policies, tampering, strangers, visitors, receivers, false_collector):
        act(site)
    site.station.fence()
    wait_for(lambda: site.mark("folder of a program") in json.dumps(site.receiver.taken("hec")), 30 * SLOW, "the records being forwarded")
    damage(site)
    found = list(places(site, tmp_path))
    leaks = site.mark.leaks(found)
    assert not leaks, "\n".join(leaks)
    # it was all there, so that something could have leaked: each sort of record, each refusal, and what may be seen is seen
    whole = {name: data for name, _, data in found}
    log = whole["agent.log"].decode() + whole["uplink.log"].decode() + whole["collector.log"].decode()
    for word in ("policy refused", "catalogue refused", "exemption refused", "somebody changed", "set aside", "did not run", "answers 403", "finding clone",
                 "refused for ever", "is not enrolled", "BG-1"):
        assert word in log, f"no '{word}' in the logs: the test reaches less than it should"
    kinds = {(r["class"], r["layer"]) for r in site.collector.violations()}
    assert {"use", "bypass", "tamper", "exemption-use"} == {c for c, _ in kinds}
    assert {"exec", "dns", "connect", "tls", "quic", "http", "browser", "agent"} == {layer for _, layer in kinds}
    for what, places_of_it in (("user name", ("export", "table record", "forwarded as hec", "forwarded as elastic", "forwarded as ndjson",
                                              "forwarded as syslog and CEF")), ("device name", ("status.json", "table device", "export")),
                               ("reason of a request", ("export", "table record")),
                               ("auditor", ("table admin_audit", "table account"))):
        for place in places_of_it:
            assert what in site.mark.found(whole[place]), f"the {what} is not in {place}"
    spool = b"".join(data for name, kind, data in found if kind == "record" and "/spool/" in name)
    assert {"user name", "folder of a program"} <= site.mark.found(spool).keys()


def test_the_search_finds_each_form():
    mark = Marks()
    word = mark("secret")
    for text in (word, word.upper(), word[::-1]):
        assert mark.leaks([("log", "log", b"a " + text.encode() + b" b")])
    for n in range(3):
        for text in forms(word)[1].values():
            assert mark.found(b"\0" * n + text)
    for data in (word.encode().hex().upper().encode(), word.encode("utf-16-be"), word.upper().encode("utf-16-le")):
        assert mark.leaks([("log", "log", b"x" + data)])
    assert not mark.leaks([("log", "log", b"q" * 100)])


# ---- a database that is away, a disk that is full ----

@pytest.mark.parametrize("how", ["away", "full"])
def test_a_store_that_fails(how):
    mark = Marks()
    server = Postgres() if how == "away" else None
    siege = Siege(server.url if server else None)
    try:
        siege.honest.stopping.set()
        siege.honest.join(30)
        device = siege.device(mark("device name"))
        agent, page = Caller(siege, device), Caller(siege, port=8444)
        if server:
            server.stop()
        else:
            siege.move_to_small_disk()
        records = [{"app_name": mark("record"), "actor": {"user": {"name": mark("user"), "uid": "1"}, "process": {"pid": 1, "name": mark("program")}}}] * 20
        for _ in range(60):
            text, device.next_seq, head = device.batch(records if server else [{**r, "app_name": mark("record") + "x" * 8000} for r in records])
            answer = agent("/v1/reports", zstd_stored(text), **NDJSON)
            if answer[0] != 200:
                break
            device.head = head
        assert answer[0] in (503, 507), answer
        agent("/v1/status", json.dumps({"mode": mark("status")}).encode(), **JSON)
        siege.stranger(mark("stranger")).enrol(mark("token"))
        page(f"/api/v1/violations?user={mark('looked for')}", cookie=f"__Host-onchannel={mark('cookie')}")
        page(f"/api/v1/violations/{mark('path')}/1")
        page("/api/v1/login", json.dumps({"user": mark("account"), "password": mark("password")}).encode(), **JSON, origin=ORIGIN)
        log = (siege.site.base / "log").read_bytes()
        assert not mark.leaks([("log", "log", log)]) and log
        if server:
            server.start()
            wait_for(lambda: agent("/v1/status", b"{}", **JSON)[0] == 200, 30 * SLOW, "the database being back")
            leaks = mark.leaks([("log", "log", (siege.site.base / "log").read_bytes()), ("PostgreSQL's log", "log", (server.folder / "log").read_bytes())])
            assert not leaks, leaks
    finally:
        siege.close()
        if server:
            server.remove()
