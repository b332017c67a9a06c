# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collector keeps goes on to other systems: each record at least once, whatever these answer; a real rsyslog takes
syslog and CEF over TLS."""
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

import internet as net
from harness import SLOW, TREE, Collector, Programs, wait_for

sys.path.insert(0, str(TREE / "tests/support"))
from device import Device  # noqa: E402

PORT, SYSLOG_PORT = 9500, 6514
FORMS = ("hec", "elastic", "ndjson")
PATHS = {"hec": "/services/collector/event", "elastic": "/onchannel/_bulk", "ndjson": "/lines"}
SECONDS = 20


class Receiver:
    """The HTTPS receivers and an rsyslog, in the collector's own network."""

    def __init__(self, internet, folder):
        self.internet, self.dir = internet, folder
        self.mode("ok")
        self.process = internet.world.popen(["/usr/bin/python3", str(TREE / "tests/support/receiver.py"), str(folder), str(PORT), internet.base],
                                            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def mode(self, mode):
        (self.dir / "mode.new").write_text(mode)
        (self.dir / "mode.new").rename(self.dir / "mode")

    def taken(self, form):
        path = self.dir / "taken.jsonl"
        return [t for t in map(json.loads, path.read_text().splitlines()) if t["form"] == form] if path.exists() else []

    def ids(self, form):
        return [t["id"] for t in self.taken(form)]


class Syslog:
    def __init__(self, internet, folder):
        self.internet, self.dir = internet, folder
        key = subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key.pem",
                              "-subj", "/CN=127.0.0.1", "-out", folder / "csr.pem"], capture_output=True, check=False)
        assert key.returncode == 0, key.stderr
        (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        sign = subprocess.run(["openssl", "x509", "-req", "-in", folder / "csr.pem", "-CA", f"{internet.base}/ca.pem", "-CAkey",
                               f"{internet.base}/ca.key", "-CAcreateserial", "-CAserial", folder / "serial", "-days", "2", "-extfile",
                               folder / "san", "-out", folder / "cert.pem"], capture_output=True, check=False)
        assert sign.returncode == 0, sign.stderr
        (folder / "rsyslog.conf").write_text(f"""
global(workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{internet.base}/ca.pem"
       defaultNetstreamDriverCertFile="{folder}/cert.pem" defaultNetstreamDriverKeyFile="{folder}/key.pem")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="json" type="list") {{ property(name="hostname") constant(value=" ") property(name="app-name") constant(value=" ")
  property(name="msgid") constant(value=" ") property(name="syslogfacility-text") constant(value=".") property(name="syslogseverity-text")
  constant(value=" ") property(name="structured-data") constant(value=" ") property(name="msg") constant(value="\\n") }}
input(type="imtcp" port="{SYSLOG_PORT}" address="127.0.0.1")
action(type="omfile" file="{folder}/messages" template="json")
""")
        self.process = None
        self.start()

    def start(self):
        self.process = self.internet.world.popen(["rsyslogd", "-n", "-f", str(self.dir / "rsyslog.conf"), "-i", str(self.dir / "pid")],
                                                 stdout=subprocess.DEVNULL, stderr=open(self.dir / "log", "a"))
        wait_for(lambda: self.internet.world.run(["ss", "-Hltn", f"sport = :{SYSLOG_PORT}"]).stdout, 20 * SLOW, "rsyslog listening")

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def lines(self, word):
        path = self.dir / "messages"
        return [line for line in path.read_text().splitlines() if word in line] if path.exists() else []


@pytest.fixture(scope="module")
def receiver(internet, tmp_path_factory):
    r = Receiver(internet, tmp_path_factory.mktemp("receiver"))
    yield r
    r.process.kill()
    r.process.wait()


@pytest.fixture(scope="module")
def syslog(internet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("syslog")
    if not pathlib.Path("/usr/sbin/rsyslogd").exists():
        pytest.skip("rsyslogd is not installed (Debian packages rsyslog, rsyslog-openssl)")
    s = Syslog(internet, folder)
    yield s
    s.stop()


def secret(collector, name, text):
    path = collector.dir / name
    path.write_text(text)
    path.chmod(0o600)
    os.chown(path, net.SERVICES["onchannel-collector"], net.SERVICES["onchannel-collector"])
    return path


@pytest.fixture(scope="module")
def collector(internet, receiver, syslog):
    c = Collector(internet, Programs(pathlib.Path(internet.base) / "bin"))
    c.stop()
    token = secret(c, "token", "s3cret\n")
    ca = secret(c, "receiver-ca.pem", pathlib.Path(internet.base, "ca.pem").read_text())
    with open(c.dir / "collector.ini", "a") as f:
        for form in FORMS:
            f.write(f"[forward {form}]\nform = {form}\nurl = https://127.0.0.1:{PORT}{PATHS[form]}\nca = {ca}\ntoken = {token}\n")
        for form in ("syslog", "cef"):
            f.write(f"[forward {form}]\nform = {form}\nurl = tls://127.0.0.1:{SYSLOG_PORT}\nca = {ca}\ncoverage = {'yes' if form == 'syslog' else 'no'}\n")
    c.start()
    yield c
    c.stop()


@pytest.fixture
def device(collector, internet, tmp_path):
    d = Device(tmp_path / "device", f"https://{net.COLLECTOR}:8443", collector.ca, f"ws-{tmp_path.name[-20:]}")
    d.prefix = ("nsenter", "-t", str(internet.laptop.holder.pid), "-n", "-m", "--")
    assert d.enrol(collector.token()).status == 200
    return d


def ids(device, first, n):
    return [f"{device.id}:{i}" for i in range(first, first + n)]


def arrived(receiver, form, wanted):
    wait_for(lambda: set(wanted) <= set(receiver.ids(form)), SECONDS * SLOW, f"{len(wanted)} records at {form}")
    mine = [i for i in receiver.ids(form) if i in set(wanted)]
    assert list(dict.fromkeys(mine)) == wanted, "not in the order of the device"
    return mine


def status(collector):
    """{name: (sent, refused, behind, problem)} as the administrator reads it."""
    text = collector.run("forward", collector.dir, check=False).stdout
    rows = re.findall(r"^(\w+): (\d+) sent, (\d+) refused, (\d+) behind\n  to \S+\n(?:  latest at \S+\n)?(?:  since (.*)\n)?", text, re.M)
    return {r[0]: (int(r[1]), int(r[2]), int(r[3]), r[4]) for r in rows}


def test_each_form(collector, device, receiver, syslog):
    hostile = {"actor": {"user": {"name": "o'neil|=\\\"<b>", "uid": "1007"}, "process": {"pid": 1, "file": {"path": "/tmp/a=b|c", "name": "a=b|c", "type_id": 1}}}}
    device.send([{}, hostile, {}])
    for form in FORMS:
        assert arrived(receiver, form, ids(device, 1, 3)) == ids(device, 1, 3)
    body, = [t["event"] for t in receiver.taken("hec") if t["id"] == f"{device.id}:2"]
    assert body["actor"]["user"]["name"] == "o'neil|=\\\"<b>" and body["metadata"]["version"] == "1.8.0"
    schemes = {f: receiver.taken(f)[0]["authorization"] for f in FORMS}
    assert schemes == {"hec": "Splunk s3cret", "elastic": "ApiKey s3cret", "ndjson": "Bearer s3cret"}

    def of(word):
        return [line for line in syslog.lines(device.name) if word in line]
    wait_for(lambda: len(of("metadata")) == 3 and len(of("CEF:0")) == 3, SECONDS * SLOW, "three syslog and three CEF messages")
    line = of("metadata")[1]
    assert line.startswith(f"{device.name} onchannel violation ") and '[meta sequenceId="2"]' in line and ".warning" in line
    assert json.loads(line[line.index("{"):])["actor"]["user"]["name"] == "o'neil|=\\\"<b>"
    cef = of("CEF:0")[1]
    assert "|use|WhatsApp|6|" in cef and r"suser=o'neil|\=\\" in cef and r"sproc=/tmp/a\=b|c" in cef and "cs1=whatsapp" in cef


def test_receiver_away_and_back(collector, device, receiver):
    """Busy, forbidden, cut in the middle: later, all of it, and elastic has nothing twice."""
    for n, mode in enumerate(("busy", "forbidden", "cut")):
        receiver.mode(mode)
        device.send([{}] * 5)
        wait_for(lambda: all(status(collector)[f][3] for f in FORMS), SECONDS * SLOW, f"the word that receivers are {mode}")
        if mode == "forbidden":
            assert "403: Invalid token" in status(collector)["hec"][3]
        assert not set(ids(device, 5 * n + 1, 5)) & set(receiver.ids("hec"))
        receiver.mode("ok")
        for form in FORMS:
            arrived(receiver, form, ids(device, 5 * n + 1, 5))
    assert len(receiver.ids("elastic")) == len(set(receiver.ids("elastic")))
    wait_for(lambda: not any(status(collector)[f][3] for f in FORMS), SECONDS * SLOW, "no problem any more")
    assert "s3cret" not in collector.log.read_text()


def test_poison(collector, device, receiver):
    """A record that a receiver never takes is counted; those around it arrive."""
    receiver.mode("poison")
    before = status(collector)
    changes = [{} for _ in range(9)]
    changes[4] = {"dst_endpoint": {"ip": "192.0.2.1", "port": 666}}
    device.send(changes)
    wanted = [i for i in ids(device, 1, 9) if i != f"{device.id}:5"]
    for form in FORMS:
        arrived(receiver, form, wanted)
        wait_for(lambda: status(collector)[form][1] == before[form][1] + 1, SECONDS * SLOW, f"one refusal counted for {form}")
        assert f"{device.id}:5" not in receiver.ids(form)
    receiver.mode("ok")


def test_collector_killed(collector, device, receiver):
    """The place is durable: what was sent before is not sent again (but for the last batch), the rest comes."""
    device.send([{}] * 4)
    arrived(receiver, "ndjson", ids(device, 1, 4))
    receiver.mode("busy")
    device.send([{}] * 4)
    collector.process.kill()
    collector.process.wait()
    receiver.mode("ok")
    collector.start()
    for form in FORMS:
        arrived(receiver, form, ids(device, 1, 8))
    assert receiver.ids("ndjson").count(f"{device.id}:1") <= 2


def test_syslog_away_and_back(collector, device, syslog):
    syslog.stop()
    device.send([{}] * 5)
    wait_for(lambda: status(collector)["syslog"][3], SECONDS * SLOW, "the word that syslog is away")
    syslog.start()
    wait_for(lambda: len({re.search(r'sequenceId="(\d+)"', line)[1] for line in syslog.lines(device.name) if "metadata" in line}) == 5,
             3 * SECONDS * SLOW, "five messages")


def test_stranger_gets_nothing(collector, device, receiver):
    """A receiver with a certificate of another authority: no byte, and the reason."""
    text = (collector.dir / "collector.ini").read_text()
    (collector.dir / "collector.ini").write_text(text.replace(f"ca = {collector.dir}/receiver-ca.pem", f"ca = {collector.dir}/server-ca.pem"))
    collector.stop()
    collector.start()
    device.send([{}])
    try:
        wait_for(lambda: all("certificate" in status(collector)[f][3].lower() for f in ("hec", "syslog")), SECONDS * SLOW, "the refusal")
    finally:
        (collector.dir / "collector.ini").write_text(text)
        collector.stop()
        collector.start()
    arrived(receiver, "hec", ids(device, 1, 1))


@pytest.mark.parametrize("section,complaint", [
    ("[forward a b]\nform = hec\nurl = https://x/\n", "letters, digits"),
    ("[forward a]\nform = http\nurl = https://x/\n", "hec, elastic, ndjson, syslog or cef, not 'http'"),
    ("[forward a]\nform = hec\nurl = http://x/\n", "begins with https://"),
    ("[forward a]\nform = cef\nurl = https://x/\n", "begins with tls://"),
    ("[forward a]\nform = hec\n", "has no 'url'"),
    ("[forward a]\nurl = https://x/\n", "has no 'form'"),
    ("[forward a]\nform = hec\nurl = https://x/\ntoken = /nowhere\n", "/nowhere': No such file"),
    ("[forward a]\nform = hec\nurl = https://x/\ntoken = /etc/hostname\n", "read by others"),
    ("[forward a]\nform = hec\nurl = https://x/\nkey = /etc/hostname\n", "go together"),
    ("[forward a]\nform = hec\nurl = https://x/\nsince = yesterday\n", "not 'yesterday'"),
    ("[forward a]\nform = hec\nurl = https://x/\nspeed = 7\n", "unknown key 'speed'"),
    ("[forward a]\nform = hec\nurl = https://x/\n[forward a]\n", "is there twice"),
])
def test_configuration(collector, tmp_path, section, complaint):
    folder = tmp_path / "c"
    subprocess.run(["cp", "-r", collector.dir, folder], check=True)
    (folder / "collector.ini").write_text("[collector]\nagents = 127.0.0.1:1\npage = 127.0.0.1:2\n" + section)
    r = subprocess.run([collector.programs.collector, "forward", folder], capture_output=True, text=True, check=False)
    assert r.returncode == 1 and complaint in r.stderr and "collector.ini:" in r.stderr, r.stderr


def test_findings_go_on(collector, device, receiver, syslog):
    """What the collector concludes reaches the other systems as well."""
    receiver.mode("ok")
    assert device.post(device.batch(first=9)[0]).status == 409
    wait_for(lambda: any(device.id in json.dumps(t) and "chain-gap" in json.dumps(t) for t in receiver.taken("ndjson")), SECONDS * SLOW, "the finding")
    line, = wait_for(lambda: [line for line in syslog.lines(device.name) if "CEF:0" in line and "|chain-gap|" in line], SECONDS * SLOW, "the finding as CEF")
    assert "|chain-gap|finding|9|" in line and "msg=records 1 to 8 have not come, but later ones" in line, line
