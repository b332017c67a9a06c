# SPDX-License-Identifier: GPL-3.0-or-later
"""Row 10: QUIC. The client here makes real Initials (RFC 9001 5, RFC 9369) around a hello of OpenSSL's; the world echoes whatever
comes, so that a test sees which of its datagrams still leave."""
import json
import pathlib
import subprocess
import time

import pytest

import world
from chromium import Chromium
from harness import FAST_MS, PRELUDE, SLOW, assert_row
from test_evasion_running import turn

CLIENT = f"""
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
ADDRESS, CID = ("{world.SHARED4}", 443), os.urandom(8)
VERSIONS = {{  # number, type bits of an Initial, salt, labels
    1: (1, 0, "38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "quic key", "quic iv", "quic hp"),
    2: (0x6b3343cf, 1, "0dede3def700a6db819381be6e269dcbf9bd2ed9", "quicv2 key", "quicv2 iv", "quicv2 hp")}}

def mac(key, data):
    h = hmac.HMAC(key, hashes.SHA256())
    h.update(data)
    return h.finalize()

def expand(secret, label, size):
    label = b"tls13 " + label.encode()
    return mac(secret, struct.pack("!HB", size, len(label)) + label + b"\\0\\1")[:size]

def hello(name):
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()[5:]  # without the record's header

def varint(n):
    return struct.pack("!H", 0x4000 | n)

def crypto(data, at=0):
    return b"\\6" + varint(at) + varint(len(data)) + data

def initial(frames, number=0, version=1, dcid=CID, size=1200):
    number_bytes = struct.pack("!H", number)
    version, kind, salt, *labels = VERSIONS[version]
    key, iv, hp = (expand(expand(mac(bytes.fromhex(salt), dcid), "client in", 32), label, n) for label, n in zip(labels, (16, 12, 16)))
    head = bytes([0xc1 | kind << 4]) + struct.pack("!I", version) + bytes([len(dcid)]) + dcid + b"\\0\\0"
    frames += bytes(max(0, size - len(head) - 2 - 2 - 16 - len(frames)))
    head += varint(2 + len(frames) + 16) + number_bytes
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, frames, head)
    mask = Cipher(algorithms.AES(hp), modes.ECB()).encryptor().update(sealed[2:18])
    return bytes([head[0] ^ mask[0] & 15]) + head[1:-2] + bytes(a ^ b for a, b in zip(number_bytes, mask[1:])) + sealed

def unreadable(kind, size=100, dcid=CID):  # a 0-RTT (1) or Handshake (2) packet that nobody can open
    return bytes([0xc0 | kind << 4]) + struct.pack("!I", 1) + bytes([len(dcid)]) + dcid + b"\\0" + struct.pack("!I", 0x80000000 | size) + os.urandom(size)

def client(family=socket.AF_INET, address=ADDRESS):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(1)
    s.connect(address)
    return s

def later(s, seconds=3):
    # packets with short headers, one by one, until something goes wrong
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        s.send(b"\\x40" + bytes(30))
        s.recv(2000)
        time.sleep(0.002)
"""

SENDING = {
    "v1": "s = client(); s.send(initial(crypto(hello(NAME))))",
    "v2": "s = client(); s.send(initial(crypto(hello(NAME)), version=2))",
    "two-initials": "s = client(); h = hello(NAME); s.send(initial(crypto(h[:90]))); s.send(initial(crypto(h[90:], 90), 1))",
    "out-of-order": "s = client(); h = hello(NAME); s.send(initial(crypto(h[90:], 90), 1)); s.send(initial(crypto(h[:90])))",
    "shuffled-frames": "s = client(); h = hello(NAME); s.send(initial(crypto(h[200:], 200) + b'\\1' + crypto(h[:70]) + crypto(h[70:200], 70)))",
    "coalesced": "s = client(); h = hello(NAME); s.send(initial(crypto(h[:90]), size=0) + initial(crypto(h[90:], 90), 1))",
    "behind-0-rtt": "s = client(); h = hello(NAME); s.send(initial(crypto(h[:90]))); s.send(unreadable(1) + initial(crypto(h[90:], 90), 1))",
    "behind-handshake": "s = client(); h = hello(NAME); s.send(initial(crypto(h[:90]))); s.send(unreadable(2) * 2 + initial(crypto(h[90:], 90), 1))",
    "segmentation": """
s = client(); h = hello(NAME)
s.setsockopt(socket.IPPROTO_UDP, 103, 1200)  # UDP_SEGMENT
s.send(initial(crypto(h[:90])) + initial(crypto(h[90:], 90), 1))
s.setsockopt(socket.IPPROTO_UDP, 103, 0)
""",
    "ipv6": f"s = client(socket.AF_INET6, ('{world.SHARED6}', 443)); s.send(initial(crypto(hello(NAME))))",
    "ipv4-mapped": "s = client(socket.AF_INET6, ('::ffff:' + ADDRESS[0], 443)); s.send(initial(crypto(hello(NAME))))",
    "odd-port": "s = client(address=(ADDRESS[0], 7777)); s.send(initial(crypto(hello(NAME))))",
    "after-another": "s = client(); s.send(initial(crypto(hello('www.example.org')))); s.recv(2000); "
                     "s.send(initial(crypto(hello(NAME)), dcid=os.urandom(8)))",
    "after-retry": "s = client(); h = hello(NAME); s.send(initial(crypto(h[:90]))); s.send(initial(crypto(h), 1, dcid=os.urandom(8)))",
}


def send(employee, how, name, seconds=3):
    return employee.python(CLIENT + f"NAME = {name!r}\n{SENDING[how]}\nresult = attempt(later, s, {seconds})")


@pytest.mark.parametrize("how", SENDING)
@pytest.mark.evasion(10, "versions 1 and 2, Initials in every order", "egress")
def test_row_10(blocking, employee, how):
    since = time.monotonic()
    r = send(employee, how, "web.whatsapp.com")
    assert r["error"] in ("EPERM", "ECONNABORTED", "EDESTADDRREQ", "ENOTCONN") and r["ms"] < FAST_MS, r
    # what makes the hello whole has never left
    assert len(blocking.internet.seen("udp", since=since, size=1200)) <= SENDING[how].count("initial(") - 1 - (how == "coalesced")
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="quic", tier="name", verdict="block", program="/usr/bin/python3",
               entry="suffix whatsapp.com", port=7777 if how == "odd-port" else 443, **{"class": "use"})
    assert row["outcome"] in ("dropped", "reset")


@pytest.mark.parametrize("how", SENDING)
@pytest.mark.evasion(10, "versions 1 and 2, Initials in every order", "egress")
def test_row_10_others_pass(blocking, employee, how):
    r = employee.python(CLIENT + f"NAME = 'www.example.org'\n{SENDING[how]}\nresult = attempt(later, s, 0.3)")
    assert r["error"] is None, r
    assert blocking.violations(employee) == []


@pytest.mark.evasion(10, "versions 1 and 2, Initials in every order", "egress")
def test_row_10_when_approved(allowing, employee):
    for how in SENDING:
        r = send(employee, how, "web.whatsapp.com", 0.2)
        assert r["error"] is None, (how, r)
    assert allowing.violations(employee) == []


@pytest.mark.evasion(10, "versions 1 and 2, Initials in every order", "egress")
def test_row_10_watched(station, employee):
    station.agent.policy({"whatsapp": "watch"})
    r = employee.python(CLIENT + f"NAME = 'web.whatsapp.com'\n{SENDING['v1']}\nresult = attempt(later, s, 0.3)")
    assert r["error"] is None, r
    row, = station.violations(employee)
    assert_row(row, channel="whatsapp", layer="quic", outcome="passed", verdict="watch")


@pytest.mark.evasion(10, "unconnected socket", "egress")
def test_row_10_unconnected(blocking, employee):
    """One socket, two peers: only the blocked one's packets are dropped."""
    code = CLIENT + f"""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(1)
    other = ("{world.SHARED4}", 4443)
    def until_dropped():
        while True:
            s.sendto(b"\\x40" + bytes(30), ADDRESS)
            s.recv(2000)
    s.sendto(initial(crypto(hello("web.whatsapp.com"))), ADDRESS)
    first = attempt(until_dropped)
    s.sendto(b"\\x40" + bytes(30), other)
    while s.recvfrom(2000)[1] != other:
        pass
    result = first
"""
    r = employee.python(code)
    assert r["error"] == "EPERM" and r["ms"] < FAST_MS, r
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="quic", outcome="dropped")


@pytest.mark.evasion(10, "quic = block, allow", "egress")
def test_row_10_blocked_as_such(station, employee):
    """quic = block: no UDP to port 443, whatever its name."""
    station.agent.policy({"teams": "allow", "slack": "allow"}, quic="block")
    r = employee.python(CLIENT + 's = client()\nresult = attempt(lambda: (s.send(initial(crypto(hello("www.example.org")))), s.recv(2000)))')
    assert r["error"] in ("ECONNREFUSED", "EHOSTUNREACH", "EACCES", "EPERM") and r["ms"] < FAST_MS, r
    assert station.violations(employee) == []


@pytest.mark.evasion(10, "quic = block, allow", "egress")
def test_row_10_allowed_as_such(station, employee):
    station.agent.policy({"teams": "allow", "slack": "allow"}, quic="allow")
    r = employee.python(CLIENT + f"NAME = 'web.whatsapp.com'\n{SENDING['v1']}\nresult = attempt(later, s, 0.3)")
    assert r["error"] is None, r
    assert station.violations(employee) == []


@pytest.mark.evasion(10, "it is open when the policy turns; it moves to another socket; the policy turns back", "walk egress")
@pytest.mark.parametrize("connected", [True, False])
def test_row_10_policy_turns(allowing, employee, connected):
    code = CLIENT + f"""
def send(s):
    (s.send if {connected} else lambda data: s.sendto(data, ADDRESS))(b"\\x40" + bytes(30))
    s.recv(2000)
def until_it_fails(s):
    while True:
        send(s)
        time.sleep(0.01)
def other_socket():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1)
    if {connected}:
        s.connect(ADDRESS)
    return s
s = other_socket()
(s.send if {connected} else lambda data: s.sendto(data, ADDRESS))(initial(crypto(hello("web.whatsapp.com"))))
s.recv(2000)
send(s)
print("open", flush=True)
result = [attempt(until_it_fails, s)["error"], attempt(send, other_socket())["error"]]
print(json.dumps(result), flush=True)
sys.stdin.readline()
result = attempt(send, other_socket())
print(json.dumps(result), flush=True)
"""
    process = employee.popen(["/usr/bin/python3", "-c", PRELUDE + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "open\n"
        since = turn(allowing)
        first, moved = json.loads(process.stdout.readline())
        # EDESTADDRREQ: ended between two sends, so that udp_sendmsg() finds no peer before it looks at the error
        assert first in ("EPERM", "ECONNABORTED", *["EDESTADDRREQ"] * connected) and time.monotonic() - since < SLOW, first
        assert moved == "EPERM"
        allowing.agent.policy({"whatsapp": "allow"})
        process.stdin.write("\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["error"] is None
    for row in (rows := allowing.violations(employee)):
        assert_row(row, channel="whatsapp", layer="quic", tier="name", verdict="block", remote=world.SHARED4)
    assert {r["outcome"] for r in rows} == ({"reset", "dropped"} if connected else {"dropped"}), rows  # a socket with other peers lives on


@pytest.mark.evasion(10, "versions that nobody can read", "egress")
def test_row_10_unknown_version(blocking, employee):
    """To the web's port they are dropped, so that the client speaks one that can be read, or TCP; nothing else is taken for them."""
    r = employee.python(CLIENT + """
whole = initial(crypto(hello("www.example.org")))
def first(data, port=443):
    with client(address=(ADDRESS[0], port)) as s:
        s.send(data)
        s.recv(2000)
versions = [whole[:1] + struct.pack("!I", v) + whole[5:] for v in (0xff00001d, 0x0a1a2a3a, 0x51303530)]
others = [bytes([0x80 | whole[0] & 0x3f]) + whole[1:5][::-1] + whole[5:], bytes([0x80]) + bytes(44), bytes([1]) + bytes(1300)]
result = [[attempt(first, v)["error"] for v in versions], [attempt(first, x)["error"] for x in others], attempt(first, versions[0], 4443)["error"],
          attempt(first, whole)]
""")
    assert r[0] == ["EPERM"] * 3 and r[1] == [None] * 3 and r[2] is None, r
    assert r[3]["error"] is None and r[3]["ms"] < FAST_MS / 2, r  # a hello is held back no longer
    assert blocking.violations(employee) == []


@pytest.mark.evasion(10, "more than the agent reads", "egress")
def test_row_10_flood(blocking, employee):
    """A flow with more Initials than any client sends is cut, not let through unread; other flows are not harmed."""
    since = time.monotonic()
    code = CLIENT + """
s = client()
junk = initial(crypto(b"x"), size=1200)
def flood():
    for _ in range(300):
        s.send(junk)
first = attempt(flood)
other = client()
other.send(initial(crypto(hello("www.example.org")), dcid=os.urandom(8)))
result = [first, attempt(later, other, 0.2)]
"""
    first, other = employee.python(code)
    assert first["error"] in ("EPERM", "ECONNABORTED") and other["error"] is None, (first, other)
    assert len(blocking.internet.seen("udp", since=since, size=1200)) < 150


@pytest.mark.evasion(10, "more than the agent reads", "egress")
def test_row_10_nobody_reads(blocking, employee):
    """Without the agent QUIC is closed, so that browsers take TCP, where the kernel side names alone."""
    import signal
    blocking.agent.process.send_signal(signal.SIGSTOP)
    try:
        r = employee.python(CLIENT + """
def probe():
    while True:
        client().send(initial(crypto(hello("www.example.org")), dcid=os.urandom(8)))
        time.sleep(0.05)
result = attempt(probe)
""")
        assert r["error"] == "EPERM", r
        assert employee.curl("https://www.example.org/")[0] == 0
    finally:
        blocking.agent.process.send_signal(signal.SIGCONT)


@pytest.mark.evasion(10, "Chromium", "egress")
def test_row_10_chromium(blocking, employee, needs):
    """Its hello has a post-quantum key share and comes in two Initials with frames in disorder."""
    needs("chromium")
    rules = f"--host-resolver-rules=MAP web.whatsapp.com {world.SHARED4}"
    with Chromium(employee, rules, "--enable-quic", "--origin-to-force-quic-on=web.whatsapp.com:443") as browser:
        error, ms = browser.navigate("https://web.whatsapp.com/")
    assert error and ms < 50 * FAST_MS, (error, ms)
    rows = blocking.violations(employee)
    assert {r["channel"] for r in rows} == {"whatsapp"} and "quic" in {r["layer"] for r in rows}


@pytest.mark.parametrize("quic", ["block", "allow"])
@pytest.mark.evasion(10, "Chromium falls back to TCP where the policy closes QUIC", "connect egress")
def test_row_10_chromium_falls_back(station, employee, needs, quic):
    """A site that offers QUIC: where that is closed an innocent page comes over TCP, and the messenger's is stopped there."""
    needs("chromium")
    authority = "".join(pathlib.Path(station.internet.base, "ca.pem").read_text().splitlines()[1:-1])  # it believes no offer of a site that it does not trust
    station.internet.laptop.run(["sh", "-ec", "mkdir -p /etc/chromium/policies/managed; cat >/etc/chromium/policies/managed/ca.json"],
                                input=json.dumps({"CACertificates": [authority]}), check=True)
    station.agent.policy({"teams": "allow", "slack": "allow"}, quic=quic)
    since = time.monotonic()
    with Chromium(employee, f"--host-resolver-rules=MAP web.whatsapp.com {world.SHARED4}", "--enable-quic") as browser:
        for page in range(3):  # the first answer says that there is QUIC as well
            assert browser.navigate(f"https://www.example.org/alt-svc{page}")[0] is None
        error, ms = browser.navigate("https://web.whatsapp.com/")
    assert error and ms < 50 * FAST_MS, (error, ms)
    assert bool(station.internet.seen("udp", since=since)) == (quic == "allow")
    assert not station.internet.seen("tls", since=since, name="web.whatsapp.com")
    row, = station.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", tier="name", **{"class": "use"})


# How the second half comes, after the first one or at an agent that has forgotten it: what a server has of both is the name.
PARTED = {"too-small": "crypto(h[90:], 90)", "forgotten": "crypto(h[90:], 90)", "forgotten-with-a-hole": "crypto(h[:4]) + crypto(h[90:], 90)",
          "forgotten-beginning-otherwise": "crypto(h[:38] + b'\\xc8' + h[39:])", "another-socket": "crypto(h[:4]) + crypto(h[90:], 90)"}


@pytest.mark.evasion(10, "a hello in two datagrams, of which the agent does not see both, or which come by two sockets", "egress")
@pytest.mark.parametrize("how", PARTED)
def test_row_10_parted(blocking, employee, how):
    """No half leaves without the other; servers discard what is too small, but for some; and the agent remembers 64 connections."""
    since = time.monotonic()
    code = CLIENT + f"""
def bound(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(("", port))
    s.connect(ADDRESS)
    return s
h, s = hello("web.whatsapp.com"), bound(0)
s.send(initial(crypto(h[:90]), size=1201))
others = [client() for _ in range(80 if "forgotten" in {how!r} else 0)]
for other in others:
    other.send(initial(crypto(h[:80]), dcid=os.urandom(8)))
    time.sleep(0.01)
second = initial({PARTED[how]}, 1, size={0 if how == "too-small" else 1203})
t = bound(s.getsockname()[1]) if {how!r} == "another-socket" else s
result = attempt(t.send, second)
result["size"] = len(second)
client(address=(ADDRESS[0], 444)).send(b"\\x40" + bytes(30))
"""
    r = employee.python(code)
    blocking.fence()
    sizes = {x["size"] for x in blocking.internet.seen("udp", since=since)}
    assert 31 in sizes and not {1201, r["size"]} <= sizes and 1200 not in sizes, (r, sizes)
