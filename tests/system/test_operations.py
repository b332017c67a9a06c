# SPDX-License-Identifier: GPL-3.0-or-later
"""What an administrator does beside the running collector, and what it tells them."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import internet as net
from harness import SLOW, TREE, Agent, Collector, Desk, Programs, wait_for

sys.path.insert(0, str(TREE / "tests/support"))
import ocsf  # noqa: E402
from device import Device  # noqa: E402


def configure(collector, text, **files):
    """Adds to collector.ini, with files that only the collector reads, and starts it anew."""
    collector.stop()
    for name, content in files.items():
        path = collector.dir / name
        path.write_text(content)
        path.chmod(0o600)
        os.chown(path, net.SERVICES["onchannel-collector"], net.SERVICES["onchannel-collector"])
    ini = collector.dir / "collector.ini"
    ini.write_text(ini.read_text() + text)
    collector.start()


@pytest.fixture(scope="module")
def collector(internet):
    c = Collector(internet, Programs(pathlib.Path(internet.base) / "bin"))
    configure(c, f"metrics_token = {c.dir}/metrics-token\n", **{"metrics-token": "s3cret\n"})
    yield c
    c.stop()


@pytest.fixture
def new_device(collector, internet, tmp_path):
    def make(name, folder=None):
        d = Device(tmp_path / (folder or name), f"https://{net.COLLECTOR}:8443", collector.ca, name)
        d.prefix = ("nsenter", "-t", str(internet.laptop.holder.pid), "-n", "-m", "--")
        return d
    return make


@pytest.fixture
def device(collector, new_device, tmp_path):
    d = new_device(f"ws-{tmp_path.name[-20:]}")
    assert d.enrol(collector.token()).status == 200
    return d


def metrics(collector, *args):
    result = collector.curl("/metrics", "-H", "Authorization: Bearer s3cret", *args)
    text, _, status = result.stdout.rpartition("\n")
    assert status == "200", text
    return text


def values(text):
    return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.M)}


def test_metrics(collector, device):
    before = values(metrics(collector))
    assert device.send([{}] * 3).status == 200
    assert device.post(device.batch(first=9)[0]).status == 409
    text = metrics(collector)
    after = values(text)
    grown = {k: v - before.get(k, 0) for k, v in after.items()}
    assert grown["onchannel_collector_records_total"] == 3
    assert grown['onchannel_collector_batches_total{result="kept"}'] == grown['onchannel_collector_batches_total{result="gap"}'] == 1
    assert grown['onchannel_collector_requests_total{listener="agents",status="409"}'] == 1
    assert grown['onchannel_collector_findings{kind="chain-gap"}'] == 1
    assert grown["onchannel_collector_commit_duration_seconds_count"] >= 1 and after["onchannel_collector_store_up"] == 1
    buckets = [v for k, v in after.items() if "_bucket" in k]
    assert len(buckets) == 13 and buckets == sorted(buckets) and buckets[-1] == after["onchannel_collector_commit_duration_seconds_count"]
    assert abs(after["process_start_time_seconds"] - pathlib.Path(f"/proc/{collector.process.pid}").stat().st_mtime) < 60
    for word in (device.id, device.name, "anna", "curl", "whatsapp"):
        assert word not in text, "a device or a person"
    for token in ("x", "s3cre", "s3crets"):
        assert collector.curl("/metrics", "-H", f"Authorization: Bearer {token}").stdout.endswith("\n401")
    assert collector.curl("/metrics").stdout.endswith("\n401")
    om = metrics(collector, "-H", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert om.endswith("# EOF\n") and "# TYPE onchannel_collector_records counter\nonchannel_collector_records_total 3" in om
    assert "# TYPE onchannel_collector_records_total counter" in text and "# EOF" not in text
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian package prometheus)")
    said = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


PROMETHEUS = """
scrape_configs:
  - job_name: onchannel
    scheme: https
    scrape_interval: 1s
    authorization: {{ credentials: s3cret }}
    tls_config: {{ ca_file: {ca}, server_name: localhost }}
    static_configs: [ {{ targets: ["127.0.0.1:8444"] }} ]
"""


def test_prometheus_scrapes(collector, internet, tmp_path, needs):
    """The page's listener, HTTP/2 and TLS 1.3 alone, is what a real Prometheus takes."""
    needs("prometheus")
    (tmp_path / "p.yml").write_text(PROMETHEUS.format(ca=collector.ca))
    p = internet.world.popen(["prometheus", f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/data",
                              "--web.listen-address=127.0.0.1:9090"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def up():
            said = internet.world.run(["curl", "-s", "http://127.0.0.1:9090/api/v1/query?query=onchannel_collector_store_up"], check=False).stdout
            return '"1"]' in said
        wait_for(up, 30 * SLOW, "a scrape")
    finally:
        p.terminate()
        p.wait(20)


def test_users_come_and_go(collector, internet):
    """Who has left is out at once, also of a session that is open; a new password ends the sessions by the old one."""
    jar = f"{internet.base}/cookies-dora"

    def user(*args, check=True):
        r = collector.run("user", collector.dir, *args, check=check)
        return r.stdout if check else (r.returncode, r.stderr)

    def login(password):
        r = collector.curl("/api/v1/login", "-c", jar, "-H", "Content-Type: application/json", "-H", f"Origin: https://{net.COLLECTOR}:8444", "-d",
                           json.dumps({"user": "dora", "password": password}))
        return int(r.stdout.split()[-1])

    def session():
        return int(collector.curl("/api/v1/session", "-b", jar).stdout.split()[-1])
    first = user("add", "dora", "--role", "auditor").strip()
    assert user("list").splitlines() == ["admin    admin", "auditor  dora"]
    assert (login(first), session()) == (200, 200)
    second = user("add", "dora", "--role", "auditor").strip()
    assert session() == 401 and login(first) == 401 and (login(second), session()) == (200, 200)
    assert user("remove", "dora") == "" and session() == 401 and login(second) == 401
    assert user("remove", "dora", check=False) == (1, "onchannel-collector: there is no user 'dora'\n")
    assert user("list").splitlines() == ["admin    admin"]
    wait_for(lambda: [d for d, in collector.sql("SELECT detail FROM admin_audit WHERE action = 'user'")][-3:] == ["dora", "dora", "dora removed"], 5,
             "the audit trail")


# ---- certificates of devices ----

def openssl(*args, **kw):
    result = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False, **kw)
    assert result.returncode == 0, result.stderr
    return result.stdout


class Authority:
    """A firm's own, with a revocation list."""

    def __init__(self, folder, name):
        self.dir, self.name = folder / name, name
        self.dir.mkdir()
        (self.dir / "index").write_text("")
        (self.dir / "cnf").write_text(f"[ca]\ndefault_ca = d\n[d]\ndatabase = {self.dir}/index\ndefault_md = sha256\ndefault_crl_days = 5\n")
        self.pem, self.key, self.crl = self.dir / "ca.pem", self.dir / "ca.key", self.dir / "crl.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.pem, "-days", 9,
                "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.list()

    def list(self):
        openssl("ca", "-config", self.dir / "cnf", "-gencrl", "-keyfile", self.key, "-cert", self.pem, "-out", self.crl)

    def issue(self, dns, eku="clientAuth", days=3, cn="Anna's laptop"):
        base = self.dir / f"{dns}-{len(list(self.dir.iterdir()))}"
        key, csr, pem, ext = (base.with_suffix(s) for s in (".key", ".csr", ".pem", ".ext"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr, "-subj", f"/CN={cn}")
        ext.write_text(f"subjectAltName=DNS:{dns}\nextendedKeyUsage={eku}\nkeyUsage=digitalSignature\n")
        openssl("x509", "-req", "-in", csr, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial", "-days", days, "-extfile", ext, "-out", pem)
        return pem, key

    def revoke(self, pem):
        openssl("ca", "-config", self.dir / "cnf", "-revoke", pem, "-keyfile", self.key, "-cert", self.pem)
        self.list()


def refused(answer, status, words):
    assert answer.status == status and words in answer.json["error"], answer


def test_firm_certificate(collector, new_device, tmp_path):
    firm, other = Authority(tmp_path, "firm"), Authority(tmp_path, "other")
    lists = collector.dir / "firm.crl"
    configure(collector, f"[devices]\nca = {collector.dir}/firm.pem\ncrl = {lists}\nname = dns\ndomain = corp.example\n",
              **{"firm.pem": firm.pem.read_text(), "firm.crl": firm.crl.read_text()})
    d = new_device("ws-firm")
    refused(d.enrol(None), 403, "a token is needed, or a certificate")
    refused(d.enrol(None, other.issue("ws-firm.corp.example")), 403, "does not vouch for the certificate: unable to get local issuer")
    refused(d.enrol(None, firm.issue("ws-firm.corp.example", days=-1)), 403, "certificate has expired")
    refused(d.enrol(None, firm.issue("ws-firm.corp.example", eku="serverAuth")), 403, "lacks the extended key usage 1.3.6.1.5.5.7.3.2")
    refused(d.enrol(None, firm.issue("ws-firm.evil.example")), 403, "not below corp.example")
    refused(d.enrol(None, firm.issue("ws-else.corp.example")), 403, "that of 'ws-else', not of 'ws-firm'")
    revoked = firm.issue("ws-firm.corp.example")
    firm.revoke(revoked[0])
    lists.write_text(firm.crl.read_text())
    refused(d.enrol(None, revoked), 403, "certificate revoked")
    good = firm.issue("WS-Firm.corp.example")
    liar = new_device("ws-firm")
    liar.proof_key = d.key
    refused(liar.enrol(None, good), 400, "proof is not the device key's signature")
    # the firm's certificate enrols, and is good for nothing else
    assert d.enrol(None, good).status == 200 and d.send().status == 200
    refused(d.call("/v1/policy", identity=good), 401, "the client certificate is refused: unable to get local issuer")
    # the same laptop, installed anew: takes the place of the one before, whose records stay
    again = new_device("ws-firm", folder="again")
    refused(again.enrol(collector.token()), 409, "enrolled already")
    assert again.enrol(None, good).status == 200 and again.send().status == 200
    refused(d.send(), 403, "retired")
    assert {r["device"] for r in collector.violations(device="ws-firm")} == {d.id, again.id}


def test_replaced_by_token(collector, new_device):
    old, new = new_device("ws-worn"), new_device("ws-worn", folder="new")
    assert old.enrol(collector.token()).status == 200 and old.send().status == 200
    other = collector.run("token", collector.dir, "--replaces", "ws-other", "--uses", "2").stdout.split()[-1]
    refused(new.enrol(other), 409, "enrolled already")
    assert new.enrol(collector.run("token", collector.dir, "--replaces", "ws-worn").stdout.split()[-1]).status == 200
    refused(old.send(), 403, "retired")
    assert new.send().status == 200
    assert collector.sql("select replaced_by from device where id = ?", old.id) == [(new.id,)]


def test_revoked_on_an_open_connection(collector, device):
    with device.hold("/v1/policy?wait=300") as held:
        wait_for(lambda: values(metrics(collector))['onchannel_collector_connections{listener="agents"}'] == 1, 20 * SLOW, "the connection")
        collector.run("device", collector.dir, "revoke", device.name)
        assert held.wait(10 * SLOW) != 0, "the connection ends at once"
    refused(device.send(), 403, "retired")
    refused(device.enrol(collector.token()), 403, "revoked: it needs another one")


def test_renewed(collector, device):
    old = device.identity()
    assert device.renew().status == 200
    new = device.identity()
    assert old != new and device.send().status == 200
    assert device.call("/v1/policy", identity=old).status == 200, "the one before is good until its end"
    assert collector.sql("select count(*) from admin_audit where action = 'renew' and who = ?", device.id) == [(1,)]


def test_expired(collector, new_device):
    ini = (collector.dir / "collector.ini").read_text()
    configure(collector, f"[devices]\nlifetime = 4s\ngrace = {5 + int(3 * SLOW)}s\n")
    try:
        d = new_device("ws-asleep")
        token = collector.token()
        assert d.enrol(token).status == 200 and d.send().status == 200
        first = d.identity()
        wait_for(lambda: d.call("/v1/policy").status == 401, 20 * SLOW, "the end of the certificate")
        refused(d.send(), 401, "has expired: it is good for its renewal alone")
        assert d.renew().status == 200 and d.send().status == 200, "back, with all that it has kept"
        wait_for(lambda: d.call("/v1/policy").status == 401, 20 * SLOW, "the end of the next one")
        refused(d.renew(first), 403, "not the latest one")
        wait_for(lambda: d.renew(store=False).status == 403, 20 * SLOW, "the end of the grace")
        refused(d.renew(), 403, "ended too long ago: enrol this device again")
        assert d.enrol(token).status == 200 and d.send().status == 200, "the same chain goes on"
    finally:
        collector.stop()
        (collector.dir / "collector.ini").write_text(ini)
        collector.start()


@pytest.fixture
def agent(collector, internet, tmp_path):
    """A real one, enrolled, with its uplink."""
    (tmp_path / "desk").mkdir()
    a = Agent(internet, collector.programs, Desk(collector.programs, tmp_path / "desk"), collector)
    a.start()
    a.enrol()
    a.start_uplink()
    yield a
    a.stop()


def test_uplink_renews(collector, agent):
    """A real uplink, certificates that live for seconds: it has the next one in time, again and again, and learns of the
    server's next authority before that signs. What agent.ini pins is the old one all the while."""
    ini = (collector.dir / "collector.ini").read_text()
    pinned = agent.state.parent / "pinned.pem"
    shutil.copy(collector.ca, pinned)
    pinned.chmod(0o644)
    agent.ini.write_text(agent.ini.read_text().replace(str(collector.ca), str(pinned)))
    agent.uplink.terminate()
    agent.uplink.wait(20)
    agent.start_uplink()
    cert, told = agent.state / "uplink/cert.pem", agent.state / "uplink/ca.pem"
    configure(collector, "[devices]\nlifetime = 12s\n")
    try:
        agent.enrol()
        seen = set()

        def renewed(n):
            seen.add(cert.read_text())
            return len(seen) >= n
        wait_for(lambda: renewed(3), 60 * SLOW, "two renewals")
        assert cert.stat().st_mode & 0o077 == 0
        collector.run("certificate", collector.dir, "next")
        assert "not know" in collector.run("certificate", collector.dir, "switch", check=False).stderr
        collector.stop()
        collector.start()
        wait_for(lambda: told.read_text().count("BEGIN CERT") == 2, 60 * SLOW, "the next authority at the agent")
        collector.stop()
        collector.run("certificate", collector.dir, "switch", "--force")
        assert (collector.dir / "server-ca-old.pem").read_text() == collector.ca.read_text()
        shutil.copy(collector.dir / "server-ca.pem", collector.ca)
        collector.start()
        n = len(seen)
        wait_for(lambda: renewed(n + 2), 60 * SLOW, "renewals under the next authority")
        assert "until" in collector.run("certificate", collector.dir).stdout
    finally:
        collector.stop()
        (collector.dir / "collector.ini").write_text(ini)
        collector.start()


# ---- two machines with one key ----

def findings(collector, device, kind):
    found = [f for f in collector.call("/api/v1/integrity")[1]["findings"] if f["device"] == device.id and f["kind"] == kind]
    assert not [e for f in found for e in ocsf.check(f["record"])]
    return found


def status(device, boot, identity=None):
    body = b'{"boot":"%s"}' % boot.encode()
    assert device.call("/v1/status", identity, data=body, headers=["Content-Type: application/json"]).status == 200


def test_cloned_boots(collector, device):
    for boot in ("boot-a", "boot-a", "boot-b", "boot-b"):
        status(device, boot)
    assert not findings(collector, device, "clone"), "a restart is none"
    status(device, "boot-a")
    finding, = findings(collector, device, "clone")
    assert finding["record"]["class_uid"] == 2004 and "two machines" in finding["record"]["message"]


def test_cloned_certificate(collector, device):
    old = device.identity()
    assert device.renew().status == 200
    status(device, "boot-a", old)
    status(device, "boot-a")
    assert not findings(collector, device, "clone"), "until the next one is used, either may be"
    status(device, "boot-a", old)
    finding, = findings(collector, device, "clone")
    assert "its key was copied" in finding["record"]["message"]
