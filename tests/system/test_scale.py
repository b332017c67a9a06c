# SPDX-License-Identifier: GPL-3.0-or-later
"""The collector beyond one machine: PostgreSQL, two collectors behind a balancer, a replica that takes over."""
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import pathlib

import pytest

from harness import BUILD, SLOW, TREE
from internet import wait_for

sys.path.insert(0, str(TREE / "tests/support"))
from device import Device, curl  # noqa: E402
from postgres import Postgres, programs  # noqa: E402

COLLECTOR = str(BUILD / "collector/onchannel-collector")
HAPROXY = """
defaults
  mode tcp
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  retries 2
  option redispatch
frontend agents
  bind 127.0.0.1:9443
  default_backend collectors
backend collectors
  balance roundrobin
  server one 127.0.0.1:8443 check inter 200ms
  server two 127.0.0.1:8453 check inter 200ms
"""
MINISIG = """untrusted comment: signature
RUQ=
trusted comment: onchannel policy serial={} expires=2099-01-01T00:00:00Z
AAAA
"""


class Site:
    """A network of its own with one database and as many collectors as asked for."""

    def __init__(self, url):
        self.base, self.url = pathlib.Path(tempfile.mkdtemp(prefix="oc-scale-")), url
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec cat"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.prefix = ("nsenter", "-t", str(self.holder.pid), "-n", "--")
        self.running = {}

    def command(self, *args, check=True):
        r = subprocess.run([*self.prefix, COLLECTOR, *map(str, args)], capture_output=True, text=True, check=False, timeout=60)
        assert not check or r.returncode == 0, f"{args}: {r.stdout}{r.stderr}"
        return r

    def init(self, name, port):
        return self.command("init", self.base / name, "--agents", f"127.0.0.1:{port}", "--page", f"127.0.0.1:{port + 1}",
                            *(("--store", self.url) if self.url else ()))

    def twin(self, of, name, port):
        """The same keys, another address: the second collector."""
        shutil.copytree(self.base / of, self.base / name)
        ini = self.base / name / "collector.ini"
        ini.write_text(ini.read_text().replace("8443", str(port)).replace("8444", str(port + 1)))

    def popen(self, *command):
        log = open(self.base / "log", "a")
        return subprocess.Popen([*self.prefix, *map(str, command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self, name, port):
        self.running[name] = self.popen(COLLECTOR, "serve", self.base / name)
        wait_for(lambda: self.answers(port), 15 * SLOW, f"collector {name}")

    def answers(self, port):
        try:
            return curl(f"https://127.0.0.1:{port}/v1/policy", ca=self.ca, prefix=self.prefix).status == 401
        except ConnectionError:
            return False

    @property
    def ca(self):
        return self.base / "one" / "server-ca.pem"

    def kill(self, name):
        p = self.running.pop(name)
        p.send_signal(signal.SIGKILL)
        p.wait()

    def stop(self):
        for p in self.running.values():
            p.terminate()
        for p in self.running.values():
            p.wait(20)
        self.holder.stdin.close()
        self.holder.wait()
        shutil.rmtree(self.base)


class Sender(threading.Thread):
    """A device that sends as an agent does: what is not acknowledged is sent again, from where the collector says."""

    def __init__(self, site, url, number, token):
        super().__init__(daemon=True)
        self.device = Device(site.base / f"device-{number}", url, site.ca, f"ws-{number}")
        self.device.prefix = site.prefix
        assert self.device.enrol(token).status == 200
        self.stopping, self.answers, self.error = threading.Event(), {}, None

    def deliver(self, batch):
        text, next_seq, head = batch
        while True:
            try:
                answer = self.device.post(text)
                status = answer.status
            except ConnectionError:
                answer, status = None, "none"
            self.answers[status] = self.answers.get(status, 0) + 1
            if status == 200:
                assert answer.json["next"] == next_seq, answer
                self.device.next_seq, self.device.head = next_seq, head
                return
            assert status in ("none", 503), answer
            self.stopping.wait(0.1)

    def run(self):
        try:
            while not self.stopping.is_set():
                self.deliver(self.device.batch([{}] * 3))
        except BaseException as e:  # pylint: disable=broad-except
            self.error = e


@pytest.fixture(autouse=True)
def wanted(needs):
    needs("nsenter", "unshare", "zstd")
    if not programs():
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")


def test_two_collectors_and_a_failover(needs):
    """Nothing acknowledged is lost and nothing is kept twice while a collector and then the database's primary are
    killed under load; a policy given to one collector reaches the agents at both."""
    needs("haproxy")
    primary = Postgres(options="-c wal_level=replica -c max_wal_senders=4")
    replica = Postgres(follow=primary)
    site = Site(f"postgresql://onchannel@/postgres?host={primary.folder},{replica.folder}")
    try:
        # an acknowledgement waits for the replica
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.sql("SELECT pg_reload_conf()")
        site.init("one", 8443)
        site.twin("one", "two", 8453)
        site.start("one", 8443)
        site.start("two", 8453)
        (site.base / "haproxy.cfg").write_text(HAPROXY)
        site.running["haproxy"] = site.popen("haproxy", "-db", "-f", site.base / "haproxy.cfg")
        wait_for(lambda: site.answers(9443), 10 * SLOW, "the balancer")
        token = site.command("token", site.base / "one", "--uses", "10").stdout.split()[-1]
        senders = [Sender(site, "https://127.0.0.1:9443", i, token) for i in range(4)]
        for s in senders:
            s.start()

        def all_move_on():
            """Each sender gets at least two more batches through."""
            goals = [s.device.next_seq + 6 for s in senders]
            wait_for(lambda: all(s.error or s.device.next_seq >= goal for s, goal in zip(senders, goals)), 60 * SLOW,
                     f"records going on: {[(s.answers, s.error) for s in senders]}")

        all_move_on()
        site.kill("one")
        all_move_on()
        site.start("one", 8443)
        all_move_on()
        primary.stop()
        replica.promote()
        all_move_on()
        check_policy_reaches_both(site, senders[0].device)
        for s in senders:
            s.stopping.set()
        for s in senders:
            s.join(60 * SLOW)
            assert s.error is None, s.error
            assert s.answers[200] > 5
        for s in senders:
            rows = replica.sql("SELECT count(*), count(DISTINCT seq), min(seq), max(seq) FROM record r JOIN device d"
                               f" ON d.number = r.device WHERE d.id = '{s.device.id}'")
            n = str(s.device.next_seq - 1)
            assert rows == [[n, n, "1", n]], (rows, s.answers)
            head = replica.sql(f"SELECT next_seq, encode(head, 'hex') FROM device WHERE id = '{s.device.id}'")
            assert head == [[str(s.device.next_seq), s.device.head.hex()]]
        check_evidence(site, sum(s.device.next_seq - 1 for s in senders))
    except BaseException:
        print((site.base / "log").read_text()[-3000:])
        raise
    finally:
        site.stop()
        replica.remove()
        primary.remove()


def check_evidence(site, n):
    """Each collector has a log of its own over the one database; every batch is in one of them."""
    assert site.command("check", site.base / "one").stdout.endswith("holds\n")
    bundle = site.base / "evidence.ndjson"
    bundle.write_text(site.command("export", site.base / "two").stdout)
    r = subprocess.run([BUILD / "cli/onchannel-verify", bundle, "--json"], capture_output=True, text=True, check=False)
    said = json.loads(r.stdout)
    assert r.returncode == 0 and sum(d["present"] for d in said["devices"]) == n, said["problems"]
    assert len(said["logs"]) == 2 and all(log["proved"] > 0 for log in said["logs"])
    assert sum(d["unlogged"] for d in said["devices"]) == 0


def check_policy_reaches_both(site, device):
    held = []

    def hold(port):
        etag = curl_policy(port, "*", 0)[1]
        held.append((port, etag, *curl_policy(port, etag, 60)))

    def curl_policy(port, etag, wait):
        wait_for(lambda: device_answer(port).status == 200, 20 * SLOW, f"the database at {port}")
        r = curl(f"https://127.0.0.1:{port}/v1/policy?wait={wait}", "--cert", str(device.folder / "cert.pem"), "--key",
                 str(device.folder / "key.pem"), "--dump-header", str(site.base / f"headers-{port}"), ca=site.ca,
                 prefix=site.prefix, headers=[f"If-None-Match: {etag}"], timeout=70)
        headers = dict(line.split(": ", 1) for line in (site.base / f"headers-{port}").read_text().lower().splitlines() if ": " in line)
        return r, headers["etag"]

    def device_answer(port):
        return curl(f"https://127.0.0.1:{port}/v1/policy", "--cert", str(device.folder / "cert.pem"), "--key",
                    str(device.folder / "key.pem"), ca=site.ca, prefix=site.prefix)

    threads = [threading.Thread(target=hold, args=(port,)) for port in (8443, 8453)]
    for t in threads:
        t.start()
    wait_for(lambda: all((site.base / f"headers-{port}").exists() for port in (8443, 8453)), 20 * SLOW, "the first answers")
    policy = site.base / "policy.ini"
    policy.write_text("[policy]\n")
    policy.with_suffix(".ini.minisig").write_text(MINISIG.format(1))
    start = time.monotonic()
    site.command("policy", site.base / "two", policy)
    for t in threads:
        t.join(60)
    assert time.monotonic() - start < 5 * SLOW, "the policy was slow"
    assert len(held) == 2
    for _, before, answer, after in held:
        assert answer.status == 200 and before != after and answer.json["policy"]["file"] == "[policy]\n"


def test_init_and_what_a_person_reads():
    """`init --store` is all that is typed; what is wrong is said in words."""
    server = Postgres()
    site = Site(server.url)
    try:
        assert "A new collector" in site.init("one", 8443).stdout
        assert f"store  = {server.url}" in (site.base / "one/collector.ini").read_text()
        site.start("one", 8443)
        token = site.command("token", site.base / "one").stdout.split()[-1]
        device = Device(site.base / "device", "https://127.0.0.1:8443", site.ca, "ws-1")
        device.prefix = site.prefix
        assert device.enrol(token).status == 200
        assert device.send([{}] * 5).status == 200
        assert "ws-1" in site.command("device", site.base / "one", "list").stdout

        server.stop()
        answer = device.send()
        assert answer.status == 503 and answer.json["error"], answer
        r = site.command("token", site.base / "one", check=False)
        assert r.returncode == 1 and "cannot open the database" in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr
        server.start()
        wait_for(lambda: device.send().status == 200, 20 * SLOW, "records after the database is back")

        server.sql("CREATE ROLE stranger LOGIN")
        site.url = server.url.replace("onchannel@", "stranger@")
        r = subprocess.run([COLLECTOR, "init", str(site.base / "other"), "--store", site.url], capture_output=True, text=True, check=False)
        assert r.returncode == 1 and "permission denied" in r.stderr, r.stderr
        assert json.dumps(r.stderr).count("\\n") == 1
        server.sql("UPDATE schema_version SET version = 99")
        r = site.command("token", site.base / "one", check=False)
        assert "newer version" in r.stderr
        server.sql("UPDATE schema_version SET version = 2")
        r = site.command("token", site.base / "one", check=False)
        assert "older version" in r.stderr and "migrate" in r.stderr
    finally:
        site.stop()
        server.remove()


def test_a_commit_that_waits():
    """While the database keeps a commit waiting, here for a replica that is away, the collector takes connections,
    answers what needs no database and tells the rest to come again; nothing is acknowledged that is not kept."""
    server = Postgres()
    site = Site(server.url)

    def wait_for_replica(wanted):
        server.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{'absent' if wanted else ''}'")
        server.sql("SELECT pg_reload_conf()")

    def send_and_wait(device):
        """Sends; comes back when its commit waits."""
        def send():
            try:
                answers.append(device.send())
            except ConnectionError as e:
                answers.append(e)

        t = threading.Thread(target=send)
        t.start()
        wait_for(lambda: server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == [["1"]],
                 20 * SLOW, "a commit that waits")
        return t

    answers = []
    try:
        site.init("one", 8443)
        site.start("one", 8443)
        token = site.command("token", site.base / "one", "--uses", "3").stdout.split()[-1]
        devices = [Device(site.base / f"device-{i}", "https://127.0.0.1:8443", site.ca, f"ws-{i}") for i in range(3)]
        for d in devices:
            d.prefix = site.prefix
            assert d.enrol(token).status == 200
        etag = curl_headers(site, devices[2])["etag"]
        poll = threading.Thread(target=lambda: answers.append(
            devices[2].call("/v1/policy?wait=4", headers=[f"If-None-Match: {etag}"])))
        poll.start()
        wait_for_replica(True)
        first = send_and_wait(devices[0])
        assert curl("https://127.0.0.1:8444/", ca=site.ca, prefix=site.prefix).status == 200
        assert site.answers(8443)
        poll.join(20 * SLOW)
        assert [a.status for a in answers] == [304], answers
        late = devices[1].send()
        assert late.status == 503 and late.json["error"], late
        assert first.is_alive() and server.sql("SELECT count(*) FROM record") == [["0"]]
        wait_for_replica(False)
        first.join(20 * SLOW)
        assert [a.status for a in answers] == [304, 200], answers
        assert devices[1].send().status == 200

        wait_for_replica(True)
        second = send_and_wait(devices[0])
        collector = site.running.pop("one")
        collector.terminate()
        assert collector.wait(20 * SLOW) == 0
        second.join(20 * SLOW)
        assert isinstance(answers[2], ConnectionError) or answers[2].status == 503, answers
    except BaseException:
        print((site.base / "log").read_text()[-3000:])
        raise
    finally:
        wait_for_replica(False)
        site.stop()
        server.remove()


class Visitor(threading.Thread):
    """Searches on the page and exports, one after the other, as an auditor who is signed in; what he is answered, in order."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site, self.stopping, self.answers = site, threading.Event(), []
        self.cookies = site.base / "cookies"
        password = site.base / "password"
        password.write_text("correct horse battery staple\n")
        site.command("user", site.base / "one", "add", "auditor", "--role", "auditor", "--password-file", password)
        self.ask("login", "-X", "POST", "-H", "Content-Type: application/json", "-H", "Origin: https://127.0.0.1:8444", "-d",
                 json.dumps({"user": "auditor", "password": password.read_text().strip()}))
        assert self.answers == [200]

    def ask(self, what, *more):
        try:
            status = curl(f"https://127.0.0.1:8444/api/v1/{what}", "-b", str(self.cookies), "-c", str(self.cookies), *more,
                          ca=self.site.ca, prefix=self.site.prefix, timeout=30).status
        except ConnectionError:
            status = "none"
        self.answers.append(status)

    def run(self):
        while not self.stopping.is_set():
            self.ask("violations?channel=telegram&user=anna&limit=100")
            self.ask("export")
            self.stopping.wait(0.05)

    def goes_on(self):
        """He is answered anew."""
        before = len(self.answers)
        wait_for(lambda: 200 in self.answers[before:], 60 * SLOW, f"the page: {self.answers[-5:]}")


class Hole:
    """A network that swallows what goes to and from the database."""

    def __init__(self, site):
        self.prefix = site.prefix

    def nft(self, text):
        subprocess.run([*self.prefix, "nft", "-f", "-"], input=text, text=True, check=True)

    def freeze(self):
        self.nft("table inet hole {\nchain c {\ntype filter hook output priority 0\ntcp sport 5432 drop\ntcp dport 5432 drop\n}\n}\n")

    def thaw(self):
        self.nft("table inet hole\ndelete table inet hole\n")


STOP_LATE_S = 20  # collector/command-serve.c


@pytest.mark.parametrize("how", ["frozen", "swallowed"])
def test_a_database_that_stands_still(how, needs):
    """PostgreSQL stands still under load and in the middle of searches, or the network to it swallows everything: others
    are served, agents are told to come again and do, SIGTERM ends the collector in time; then all is there, once."""
    needs("nft", "setpriv")
    site = Site(None)
    server = Postgres(network=site.prefix, options="-c listen_addresses=127.0.0.1" if how == "swallowed" else "")
    site.url = "postgresql://onchannel@127.0.0.1/postgres" if how == "swallowed" else server.url
    nuisance = Hole(site) if how == "swallowed" else server
    senders, visitor = [], None

    def all_move_on():
        goals = [s.device.next_seq + 6 for s in senders]
        wait_for(lambda: all(s.error or s.device.next_seq >= goal for s, goal in zip(senders, goals)), 90 * SLOW,
                 f"records going on: {[(s.answers, s.error) for s in senders]}")
        visitor.goes_on()

    def stand_still():
        before = [s.answers.get(503, 0) for s in senders]
        nuisance.freeze()
        wait_for(lambda: all(s.error or s.answers.get(503, 0) > n for s, n in zip(senders, before)), 30 * SLOW,
                 f"agents that are told to come again: {[(s.answers, s.error) for s in senders]}")
        wait_for(lambda: visitor.answers[-1] == 503, 30 * SLOW, f"a search that is broken off: {visitor.answers[-5:]}")
        start = time.monotonic()
        assert curl("https://127.0.0.1:8444/", ca=site.ca, prefix=site.prefix).status == 200
        assert time.monotonic() - start < 5 * SLOW, "a visitor who needs no database"

    try:
        site.init("one", 8443)
        site.start("one", 8443)
        token = site.command("token", site.base / "one", "--uses", "10").stdout.split()[-1]
        senders = [Sender(site, "https://127.0.0.1:8443", i, token) for i in range(3)]
        visitor = Visitor(site)
        for t in (*senders, visitor):
            t.start()
        all_move_on()
        stand_still()
        nuisance.thaw()
        all_move_on()
        stand_still()
        collector = site.running.pop("one")
        collector.terminate()
        start = time.monotonic()
        assert collector.wait(STOP_LATE_S + 1) == 0
        print(f"ended after {time.monotonic() - start:.1f} s")
        nuisance.thaw()
        site.start("one", 8443)
        all_move_on()
        for t in (*senders, visitor):
            t.stopping.set()
        for s in senders:
            s.join(60 * SLOW)
            assert s.error is None, s.error
            rows = server.sql("SELECT count(*), count(DISTINCT seq), min(seq), max(seq) FROM record r JOIN device d"
                              f" ON d.number = r.device WHERE d.id = '{s.device.id}'")
            n = str(s.device.next_seq - 1)
            assert rows == [[n, n, "1", n]], (rows, s.answers)
        visitor.join(60 * SLOW)
        assert site.command("check", site.base / "one").stdout.endswith("holds\n")
    except BaseException:
        print((site.base / "log").read_text()[-3000:])
        raise
    finally:
        for t in (*senders, *([visitor] if visitor else ())):
            t.stopping.set()
        server.remove()
        site.stop()


def curl_headers(site, device):
    file = site.base / "headers"
    curl(f"{device.url}/v1/policy", "--cert", str(device.folder / "cert.pem"), "--key", str(device.folder / "key.pem"),
         "--dump-header", str(file), ca=site.ca, prefix=site.prefix)
    return dict(line.split(": ", 1) for line in file.read_text().lower().splitlines() if ": " in line)


def test_agents_max():
    """As many connections as collector.ini says; the next one waits until one is gone."""
    site = Site(None)
    try:
        site.init("one", 8443)
        ini = site.base / "one/collector.ini"
        text = ini.read_text()
        ini.write_text(text + "agents_max = many\n")
        said = site.command("serve", site.base / "one", check=False).stderr
        assert "agents_max is not 1 to" in said and "collector.ini:" in said and len(said.splitlines()) == 1, said
        ini.write_text(text + "agents_max = 1\n")
        site.start("one", 8443)
        device = Device(site.base / "device", "https://127.0.0.1:8443", site.ca)
        device.prefix = site.prefix
        assert device.enrol(site.command("token", site.base / "one").stdout.split()[-1]).status == 200
        client = ("openssl", "s_client", "-connect", "127.0.0.1:8443", "-alpn", "h2", "-quiet",
                  "-cert", device.folder / "cert.pem", "-key", device.folder / "key.pem")  # a stranger's would make room
        held = None

        def is_held():
            nonlocal held
            if not held or held.poll() is not None:  # until its handshake is done it is a stranger's
                held = site.popen(*client)
            return not answers_soon(site)

        wait_for(is_held, 20 * SLOW, "a connection that is held")
        held.kill()
        held.wait()
        wait_for(lambda: site.answers(8443), 20 * SLOW, "the next one")
    finally:
        site.stop()


def answers_soon(site):
    try:
        return curl("https://127.0.0.1:8443/v1/policy", ca=site.ca, prefix=site.prefix, timeout=2).status == 401
    except ConnectionError:
        return False


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_check_backup_restore(kind):
    """A backup taken while records come holds what was acknowledged before; what is changed in it is found."""
    server = Postgres() if kind == "PostgreSQL" else None
    site = Site(server.url if server else None)
    try:
        site.init("one", 8443)
        site.start("one", 8443)
        token = site.command("token", site.base / "one").stdout.split()[-1]
        device = Device(site.base / "device", "https://127.0.0.1:8443", site.ca, "ws-1")
        device.prefix = site.prefix
        assert device.enrol(token).status == 200
        assert device.send([{}] * 20).status == 200
        site.command("backup", site.base / "one", site.base / "backup")
        assert device.send([{}] * 5).status == 200
        site.kill("one")
        if server:
            server.sql("DROP SCHEMA public CASCADE")
            server.sql("CREATE SCHEMA public")
        site.command("restore", site.base / "two", site.base / "backup")
        assert "20 records" in site.command("check", site.base / "two").stdout
        assert site.command("restore", site.base / "two", site.base / "backup", check=False).returncode == 1
        change = "UPDATE record SET body = {} WHERE seq = 7"
        if server:
            server.sql(change.format(r"'\x7b7d'"))
        else:
            db = sqlite3.connect(site.base / "two/collector.db")
            db.execute(change.format("x'7b7d'"))
            db.commit()
            db.close()
        r = site.command("check", site.base / "two", check=False)
        assert r.returncode == 1 and "record 7 of" in r.stdout and r.stdout.count("record ") == 1, r
    finally:
        site.stop()
        if server:
            server.remove()
