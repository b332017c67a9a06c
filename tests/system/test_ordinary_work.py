# SPDX-License-Identifier: GPL-3.0-or-later
"""A day of ordinary work under a policy that blocks: nothing fails, nothing is slow, nothing is recorded."""
import email.utils
import hashlib
import os
import pathlib
import shutil
import subprocess

import pytest

import harness
import internet as net
import world
from chromium import Chromium
from harness import SLOW, Employee
from internet import Internet, wait_for

SITES = harness.TREE.parent / "shared/data/top-sites-100k.txt"
SITES = pathlib.Path(os.environ["ONCHANNEL_SHARED_DATA"]) / SITES.name if "ONCHANNEL_SHARED_DATA" in os.environ else SITES
N_SITES = 500
REPOSITORY, FORGE, SERVER = "deb.work.example", "git.work.example", "work.onchannel.test"  # the last is the world itself

# Nothing of how this machine's apt is set up.
APT = """
Dir::Etc { main "/dev/null"; parts "/dev/null"; sourcelist "/etc/work.list"; sourceparts "/dev/null"; };
APT::Sandbox::User "root";
Dpkg::Use-Pty "0";
"""

# A mail server as far as smtplib goes: greeting, STARTTLS, one message.
MAIL = """
import socket, ssl, sys, world
authority = world.Authority(sys.argv[1])
def talk(sock, greet):
    stream = sock.makefile("rwb", buffering=0)
    if greet:
        stream.write(b"220 mail\\r\\n")
    while line := stream.readline().upper():
        if line.startswith(b"STARTTLS"):
            stream.write(b"220 go on\\r\\n")
            return talk(authority.context(sys.argv[2]).wrap_socket(sock, server_side=True), False)
        if line.startswith(b"DATA"):
            stream.write(b"354 go on\\r\\n")
            while stream.readline() != b".\\r\\n":
                pass
        stream.write({b"EHLO": b"250-mail\\r\\n250 STARTTLS\\r\\n", b"QUIT": b"221 bye\\r\\n"}.get(line[:4], b"250 fine\\r\\n"))
with socket.create_server(("192.168.77.1", 587)) as server:
    while True:
        talk(server.accept()[0], True)
"""
SEND_MAIL = """
import smtplib
with smtplib.SMTP(sys.argv[1], 587, timeout=20) as s:
    s.starttls(context=ssl.create_default_context())
    result = s.sendmail("anna@work.example", ["ben@work.example"], "Subject: lunch\\r\\n\\r\\nAt noon?")
"""
CHAT = """new Promise((done, fail) => {
  let got = 0; const s = new WebSocket("wss://teams.microsoft.com/call");
  s.onopen = () => { for (let i = 0; i < 50; i++) s.send("frame " + i); };
  s.onmessage = () => { if (++got == 50) { s.close(); } };
  s.onclose = () => done(got); s.onerror = () => fail("the call was cut off");
})"""
# Both ends of a video call are here; what they say to each other goes through the provider's relay (RFC 8656), over UDP.
CALL = """(async () => {
  const relay = {urls: "turn:teams.microsoft.com:3478?transport=udp", username: "anna", credential: "call"};
  const [a, b] = [0, 1].map(() => new RTCPeerConnection({iceServers: [relay], iceTransportPolicy: "relay"}));
  for (const [from, to] of [[a, b], [b, a]]) from.onicecandidate = e => e.candidate && to.addIceCandidate(e.candidate);
  const camera = await navigator.mediaDevices.getUserMedia({video: true, audio: true});
  camera.getTracks().forEach(track => a.addTrack(track, camera));
  const offer = await a.createOffer();  // each side hears of the other before that begins to gather addresses
  await b.setRemoteDescription(offer);
  await a.setLocalDescription(offer);
  const answer = await b.createAnswer();
  await a.setRemoteDescription(answer);
  await b.setLocalDescription(answer);
  let got = {};
  for (let i = 0; i < 600; i++) {
    for (const s of (await b.getStats()).values()) {
      if (s.type == "inbound-rtp") got[s.kind] = s.kind == "video" ? s.framesDecoded : s.packetsReceived;
      if (s.type == "local-candidate") got.by = s.candidateType + " " + s.relayProtocol;
    }
    if (got.video >= 60 && got.audio >= 100) break;
    await new Promise(done => setTimeout(done, 100));
  }
  return [got.by, got.video >= 60, got.audio >= 100, b.connectionState];
})()"""


@pytest.fixture(scope="module")
def internet():
    """A laptop on which packages can be installed."""
    with Internet() as i:
        for folder in ("usr", "var"):
            layer = f"{i.base}/layer/{folder}"
            i.laptop.run(["sh", "-ec", f"mkdir -p {layer} {layer}.work; "
                          f"mount -t overlay -o lowerdir=/{folder},upperdir={layer},workdir={layer}.work overlay /{folder}"], check=True)
        yield i


class Office:
    """The servers that a firm has."""

    def __init__(self, internet):
        self.internet, base = internet, pathlib.Path(internet.base)
        self.repository, self.key, self.started = base / "www" / REPOSITORY, base / "ssh-key", []
        self.repository.mkdir(parents=True)
        self.publish(1)
        subprocess.run(["git", "init", "-q", "--bare", base / "git/work.git"], check=True)
        subprocess.run(["git", "-C", base / "git/work.git", "config", "http.receivepack", "true"], check=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.key.with_suffix(".pub").chmod(0o644)
        config = base / "sshd_config"
        config.write_text(f"Port 22\nListenAddress {net.WORLD4}\nHostKey {self.key}\nAuthorizedKeysFile {self.key}.pub\nStrictModes no\n"
                          "PermitRootLogin yes\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n")
        self.serve(["unshare", "-m", "sh", "-c", f"mount -t tmpfs run /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f {config}"])
        relay = world.addresses("teams.microsoft.com")[0]
        internet.world.run(["nft", "insert", "rule", "inet", "world", "prerouting", "udp", "dport", "3478", "accept"], check=True)
        self.serve(["turnserver", "-n", "-L", relay, "-E", relay, "--lt-cred-mech", "-u", "anna:call", "-r", "work", "--no-tls", "--no-dtls", "--no-cli",
                    "--log-file", "stdout", "--pidfile", base / "turn.pid", "--userdb", base / "turn.db"])
        self.serve(["/usr/bin/python3", "-c", MAIL, internet.base, SERVER],
                   env=net.environment(PYTHONPATH=str(pathlib.Path(__file__).parent)))

    def publish(self, version):
        """A package of that version, with a script of its own; the repository has no other."""
        root = pathlib.Path(self.internet.base) / f"deb{version}"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "usr/bin").mkdir(parents=True)
        (root / "DEBIAN/control").write_text(f"Package: work-tool\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@work.example>\nDescription: a tool\n")
        for path, text in ((root / "usr/bin/work-tool", f"echo at work {version}"), (root / "DEBIAN/postinst", "work-tool >/dev/null && ldconfig")):
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        for old in self.repository.glob("*.deb"):
            old.unlink()
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", root, self.repository / f"work-tool_{version}_all.deb"], check=True, stdout=subprocess.DEVNULL)
        packages = subprocess.run(["dpkg-scanpackages", "."], cwd=self.repository, check=True, capture_output=True).stdout
        (self.repository / "Packages").write_bytes(packages)
        (self.repository / "Release").write_text(f"Date: {email.utils.formatdate()}\nSHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n")

    def serve(self, argv, **kw):
        log = open(f"{self.internet.base}/office.log", "a")
        self.started.append(self.internet.world.popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **kw))
        log.close()

    def close(self):
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def office(internet):
    o = Office(internet)
    yield o
    o.close()


def packages(station, scheme, what, version):
    """`apt-get update`, then install or upgrade; as root: the agent must not be in the way of the system's own work either."""
    laptop, conf = station.internet.laptop, pathlib.Path(station.internet.base) / "apt.conf"
    conf.write_text(APT)
    laptop.run(["sh", "-c", f"echo 'deb [trusted=yes] {scheme}://{REPOSITORY}/ ./' >/etc/work.list"], check=True)
    for command in (["update"], what):
        r = laptop.run(["apt-get", "-q", "-y", *command], check=True, timeout=120 * SLOW, env=net.environment(APT_CONFIG=str(conf)))
        assert "Err:" not in r.stdout + r.stderr and "Failed" not in r.stderr, r.stdout + r.stderr
    assert laptop.run(["work-tool"]).stdout == f"at work {version}\n"


def git(employee):
    """Clone, commit, push, fetch by another clone."""
    def run(*argv):
        return employee.run(["git", "-c", "http.version=HTTP/1.1", "-c", "user.name=Anna", "-c", "user.email=anna@work.example", *argv],
                            check=True, cwd=str(employee.home))
    for clone in ("one", "two"):
        run("clone", f"https://{FORGE}/work.git", clone)
    (employee.home / "one/plan").write_text("work\n" * 1000)
    run("-C", "one", "add", "plan")
    run("-C", "one", "commit", "-q", "-m", "plan")
    run("-C", "one", "push", "origin", "HEAD:master")
    run("-C", "two", "pull", "origin", "master")
    assert (employee.home / "two/plan").read_text() == "work\n" * 1000


def ssh(employee, key):
    copy = employee.home / "id"
    shutil.copy(key, copy)
    os.chown(copy, employee.uid, employee.uid)
    copy.chmod(0o600)
    options = ["-i", copy, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=known", "-o", "LogLevel=ERROR", "-F", "none"]

    def ready():
        return employee.run(["ssh", *options, f"root@{SERVER}", "echo", "hello"])
    r = wait_for(lambda: (r := ready()).returncode == 0 and r, 10 * SLOW, "the server of the office")
    assert r.stdout == "hello\n", r.stderr
    employee.run(["scp", "-q", *options, f"root@{SERVER}:/etc/hostname", "."], check=True)


def call(employee):
    with Chromium(employee, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as browser:
        def run(code):
            return browser.page("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)["result"].get("value")
        assert browser.navigate("https://teams.microsoft.com/")[0] is None
        assert run(CHAT) == 50
        assert run(CALL) == ["relay udp", True, True, "connected"]
        for url in ("https://www.work.example/", "https://slack.com/", "https://en.wikipedia.org/wiki/Messenger"):
            assert browser.navigate(url)[0] is None, url


def browse(station, employee):
    """Resolved, connected, encrypted, fetched: 500 sites that many people use. Returns how many are a channel's own."""
    names = SITES.read_text().split()
    names = names[::len(names) // N_SITES][:N_SITES]
    channels = [n for n in names if station.agent.request("why", subject=n)["verdict"] == "block"]
    (employee.home / "urls").write_text("".join(f'url = "https://{n}/"\noutput = /dev/null\n' for n in names if n not in channels))
    r = employee.run(["curl", "-s", "--parallel", "--parallel-max", "8", "--max-time", str(60 * SLOW), "-w", "%{exitcode} %{http_code} %{url}\n",
                      "-K", "urls"], timeout=300 * SLOW)
    lines = r.stdout.splitlines()
    assert len(lines) == len(names) - len(channels)
    assert [line for line in lines if not line.startswith("0 200 ")] == []
    return channels


def print_and_the_rest(employee):
    employee.run(["curl", "-sf", "-H", "Content-Type: application/ipp", "--data-binary", "@/etc/hostname", "http://printer.work.example:631/ipp/print"],
                 check=True)
    time = employee.python('s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n'
                           's.sendto(b"\\x23" + bytes(47), ("ntp.work.example", 123)); result = len(s.recv(100))')
    assert time == 48
    for name in ("signal-estimator", "telegraf", "line", "element"):
        shutil.copy("/bin/true", employee.home / name)
        (employee.home / name).chmod(0o755)
        employee.run([f"./{name}"], check=True, cwd=str(employee.home))
    employee.run(["/usr/bin/python3", "-c", "print(1)", "--app=https://web.whatsapp.com"], check=True)


def test_ordinary_work(blocking, office, employee, needs):
    needs("chromium", "git", "ssh", "/usr/sbin/sshd", "dpkg-scanpackages", "turnserver")
    if not SITES.exists():
        pytest.skip(f"{SITES} is not there: it lists the sites that are visited")
    before = blocking.agent.status()["counters"]
    somebody = [blocking.collector.violations(**{"class": c}) for c in ("use", "bypass", "tamper")]
    packages(blocking, "http", ["install", "work-tool"], 1)
    office.publish(2)
    packages(blocking, "https", ["upgrade"], 2)
    git(employee)
    ssh(employee, office.key)
    assert employee.python(SEND_MAIL, SERVER) == {}
    call(employee)
    channels = browse(blocking, employee)
    print_and_the_rest(employee)
    print("sites that are a channel's own, hence not visited:", *channels)
    assert len(channels) <= N_SITES // 50
    now = blocking.agent.status()["counters"]
    assert {k: now[k] - before[k] for k in ("killed", "reset", "lost", "stale", "restored")} == dict.fromkeys(
        ("killed", "reset", "lost", "stale", "restored"), 0)
    assert blocking.violations(employee) == [] == blocking.violations(Employee(blocking.internet, "anna"))
    after = [[r for r in blocking.collector.violations(**{"class": c}) if r["channel"] != "viber"] for c in ("use", "bypass", "tamper")]
    assert after == [[r for r in rows if r["channel"] != "viber"] for rows in somebody]
