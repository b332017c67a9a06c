# SPDX-License-Identifier: GPL-3.0-or-later
"""Names spoken in a TLS hello to an address that many share. What must be seen: layer tls, tier name."""
import json
import subprocess
import time

import pytest

import world
from harness import FAST_MS, PRELUDE, SLOW, assert_row
from test_evasion_tls import CLIENT, assert_stopped, attempt


def resolve(name, address=world.SHARED4, port=443):
    return "--resolve", f"{name}:{port}:{'[' + address + ']' if ':' in address else address}"


@pytest.mark.parametrize("address", [world.SHARED4, world.SHARED6])
@pytest.mark.evasion(6, "by --resolve, to an address others share", "egress")
def test_curl_to_shared_address(blocking, employee, address):
    start = time.monotonic()
    status, ms, text = employee.curl("https://web.whatsapp.com/", *resolve("web.whatsapp.com", address))
    assert status in (35, 56), text  # CURLE_SSL_CONNECT_ERROR, CURLE_RECV_ERROR: not 28, a time-out
    assert ms < FAST_MS
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", channel_name="WhatsApp", tier="name", layer="tls", verdict="block", user=employee.name,
               uid=employee.uid, program="/usr/bin/curl", policy_serial=blocking.serial, entry="suffix whatsapp.com",
               remote=address, port=443, **{"class": "use"})
    assert row["outcome"] in ("dropped", "reset")
    assert not blocking.internet.seen("tls", since=start, name="web.whatsapp.com"), "the hello has left the laptop"


# hello(name): a whole TLS session of python's, by a certain name to a certain address
HELLO = """
def hello(name, address, port=443):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((address, port), timeout=5) as s, context.wrap_socket(s, server_hostname=name) as t:
        return t.version()
"""

TELEGRAM = "149.154.167.50"


@pytest.fixture
def hosts(station):
    """Lines in the laptop's /etc/hosts for as long as the test takes."""
    laptop = station.internet.laptop
    laptop.run(["sh", "-ec", f"cp /etc/hosts /etc/hosts.before; echo '{world.SHARED4} web.whatsapp.com\n{TELEGRAM} core.telegram.org' >>/etc/hosts"], check=True)
    yield
    laptop.run(["sh", "-c", "cat /etc/hosts.before >/etc/hosts"], check=True)


@pytest.mark.evasion(6, "an entry of /etc/hosts, an address typed in", "egress connect")
def test_row_6_known_addresses(blocking, employee, hosts):
    """Nothing is looked up: the hello names a shared address' site, an address of one channel alone is evidence itself."""
    start = time.monotonic()
    for url, statuses in (("https://web.whatsapp.com/", (35, 56)), ("https://core.telegram.org/", (7,)), (f"https://{TELEGRAM}/", (7,)),
                          (f"http://{TELEGRAM}:80/", (7,))):
        status, ms, text = employee.curl(url)
        assert status in statuses and ms < FAST_MS, (url, ms, text)
    rows = {r["channel"]: r for r in blocking.violations(employee)}
    assert set(rows) == {"whatsapp", "telegram"}
    assert_row(rows["whatsapp"], layer="tls", tier="name", remote=world.SHARED4, **{"class": "use"})
    assert_row(rows["telegram"], layer="connect", tier="address", remote=TELEGRAM, **{"class": "use"})
    for kind, what in (("dns", {"name": "web.whatsapp.com"}), ("tls", {"name": "web.whatsapp.com"}), ("tcp", {"address": TELEGRAM})):
        assert not blocking.internet.seen(kind, since=start, **what), kind


@pytest.mark.evasion(6, "an entry of /etc/hosts, an address typed in", "egress connect")
def test_row_6_when_approved(allowing, employee, hosts):
    start = time.monotonic()
    for url in ("https://web.whatsapp.com/", "https://core.telegram.org/", f"http://{TELEGRAM}/"):
        assert employee.curl(url)[0] == 0, url
    assert not [x for x in allowing.internet.seen("dns", since=start) if "whatsapp" in x["name"] or "telegram" in x["name"]]
    assert allowing.violations(employee) == []


CACHED = HELLO + """
name, address = "web.whatsapp.com", socket.getaddrinfo("web.whatsapp.com", 443, socket.AF_INET)[0][4][0]
result = [attempt(hello, name, address)["error"]]
print("looked up", flush=True)
sys.stdin.readline()
print(json.dumps(result + [attempt(hello, name, address)]), flush=True)
"""


@pytest.mark.evasion(6, "an address from when the name could be looked up", "egress")
def test_row_6_cached_address(allowing, employee):
    process = employee.popen(["/usr/bin/python3", "-c", PRELUDE + CACHED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "looked up\n"
        assert allowing.violations(employee) == []
        allowing.agent.policy({"teams": "allow"})
        start = time.monotonic()
        before, after = json.loads(process.communicate("\n", timeout=30 * SLOW)[0])
    assert before is None and after["error"] and after["ms"] < FAST_MS, (before, after)
    row, = allowing.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", tier="name", **{"class": "use"})
    assert not allowing.internet.seen("tls", since=start, name="web.whatsapp.com")


@pytest.mark.evasion(14, "a neighbour on the same address", "egress")
def test_neighbour_on_the_same_address(blocking, employee):
    """The same person, program and address, before and after a blocked attempt."""
    for _ in range(2):
        assert employee.curl("https://www.example.org/", *resolve("www.example.org"))[0] == 0
        assert employee.curl("https://web.whatsapp.com/", *resolve("web.whatsapp.com"))[0] != 0
    rows = blocking.violations(employee)
    assert [r["channel"] for r in rows] == ["whatsapp"]


@pytest.mark.parametrize("args", [["--http1.1"], ["--tls-max", "1.2"], ["--tlsv1.3"], ["--no-alpn"]])
@pytest.mark.evasion(7, "curl's hellos", "egress")
def test_every_hello_of_curl(blocking, employee, args):
    status, ms, text = employee.curl("https://discord.com/", *resolve("discord.com"), *args)
    assert status in (35, 56) and ms < FAST_MS, text
    row, = blocking.violations(employee)
    assert_row(row, channel="discord", layer="tls")


STARTTLS = """
def starttls(write=1 << 20, before=0):
    def send(s, hello):
        prolog = b"<?xml version='1.0'?><stream:stream to='X' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        in_writes(write)(s, prolog)
        time.sleep(0.02)
        in_writes(write)(s, b" " * before + b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        time.sleep(0.02)
        in_writes(write)(s, hello)
    return send
"""


@pytest.mark.parametrize("write", [1 << 20, 40, 1])
@pytest.mark.parametrize("port", [5222, 5223])
@pytest.mark.evasion(9, "STARTTLS", "egress")
def test_row_9_starttls(blocking, employee, port, write):
    since = time.monotonic()
    r = employee.python(CLIENT + STARTTLS + f'result = attempt(handshake, "web.whatsapp.com", starttls({write}), port={port})')
    assert_stopped(blocking, employee, r, since, port=port)


@pytest.mark.evasion(9, "STARTTLS", "egress")
def test_row_9_starttls_late(blocking, employee):
    """Behind more clear text than anybody has to say before."""
    since = time.monotonic()
    r = employee.python(CLIENT + STARTTLS + 'result = attempt(handshake, "web.whatsapp.com", starttls(before=20000), port=5222)')
    assert_stopped(blocking, employee, r, since, port=5222)


@pytest.mark.parametrize("write", [1 << 20, 40, 1])
@pytest.mark.evasion(9, "STARTTLS", "egress")
def test_row_9_starttls_when_approved(allowing, employee, write):
    r = employee.python(CLIENT + STARTTLS + f'result = attempt(handshake, "web.whatsapp.com", starttls({write}), port=5222)')
    assert r["value"] == "TLSv1.3", r
    assert allowing.violations(employee) == []


@pytest.mark.parametrize("port", [53 + 1, 8443, 5222, 65000])
@pytest.mark.evasion(9, "TLS on an odd port", "egress")
def test_row_9_odd_port(blocking, employee, port):
    since = time.monotonic()
    r = attempt(employee, "two-writes", more=f", port={port}")
    assert_stopped(blocking, employee, r, since, port=port)


@pytest.mark.evasion(9, "TLS on an odd port", "egress")
def test_row_9_odd_port_when_approved(allowing, employee):
    for port in (53 + 1, 8443, 5222, 65000):
        assert attempt(employee, "two-writes", more=f", port={port}")["error"] is None
    assert allowing.violations(employee) == []


@pytest.mark.evasion(9, "TLS on an odd port", "egress")
def test_odd_port(blocking, employee):
    status, ms, text = employee.curl("https://web.whatsapp.com:5222/", *resolve("web.whatsapp.com", "203.0.113.7", 5222))
    assert status in (35, 56) and ms < FAST_MS, text
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", remote="203.0.113.7", port=5222)


@pytest.mark.evasion(7, "upper case, trailing dot", "egress")
def test_mixed_case(blocking, employee):
    r = employee.python(HELLO + f'result = attempt(hello, "WEB.WhatsApp.COM", "{world.SHARED4}")')
    assert r["error"] and r["ms"] < FAST_MS, r
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", program="/usr/bin/python3")


@pytest.mark.parametrize("name", ["notwhatsapp.com", "whatsapp.com.example.org", "discordcom.example", None])
@pytest.mark.evasion(4, "in TLS", "egress")
def test_look_alikes_and_no_name_pass(blocking, employee, name):
    r = employee.python(HELLO + f'result = attempt(hello, {name!r}, "{world.SHARED4}")')
    assert r["error"] is None, r
    assert blocking.violations(employee) == []


def test_approved_pass_unrecorded(allowing, employee):
    assert employee.curl("https://web.whatsapp.com/", *resolve("web.whatsapp.com"))[0] == 0
    r = employee.python(HELLO + f'result = attempt(hello, "discord.com", "{world.SHARED6}")')
    assert r["error"] is None
    assert allowing.violations(employee) == []


def test_exempt_user(station, employee):
    other = station.employee()
    station.agent.policy(extra=f"\n[group desk]\nuser = {employee.name}\n\n[channel whatsapp]\nverdict = allow\ngroup = desk\n")
    assert employee.curl("https://web.whatsapp.com/", *resolve("web.whatsapp.com"))[0] == 0
    assert other.curl("https://web.whatsapp.com/", *resolve("web.whatsapp.com"))[0] in (35, 56)
    assert [r["layer"] for r in station.violations(other)] == ["tls"]


def test_watched_passes_and_is_recorded(station, employee):
    station.agent.policy({"whatsapp": "watch"})
    assert employee.curl("https://web.whatsapp.com/", *resolve("web.whatsapp.com"))[0] == 0
    row, = station.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", outcome="passed", verdict="watch")


@pytest.mark.evasion(7, "malformed", "egress")
def test_malformed_hellos_harm_nobody(blocking, employee):
    """Truncated and disturbed hellos: everything lives, and nothing innocent is taken for a name."""
    code = f"""
import random
random.seed(2)
context = ssl.create_default_context()
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname="www.example.org")
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    pass
whole = outgoing.read()
cases = [whole[:n] for n in range(1, len(whole), 7)] + [random.randbytes(random.randrange(1, 1400)) for _ in range(20)]
for i in range(60):
    b = bytearray(whole)
    for _ in range(i % 4 + 1):
        b[random.randrange(60)] = random.randrange(256)  # lengths and types are at the front
    cases.append(bytes(b))
def send(data):
    with socket.create_connection(("{world.SHARED4}", 443), timeout=5) as s:
        s.sendall(data)
result = [attempt(send, c) for c in cases]
"""
    r = employee.python(code)
    assert all(x["error"] is None for x in r), [x for x in r if x["error"]]
    blocking.agent.alive()
    assert blocking.violations(employee) == []
    assert employee.curl("https://web.whatsapp.com/", *resolve("web.whatsapp.com"))[0] in (35, 56)


def test_socket_connected_anew(blocking, employee):
    """What was found out about a socket's first peer says nothing about its second."""
    result = employee.python("""
import ctypes, fcntl, termios
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def again(name):
    s = socket.create_connection(("%s", 80), 10)
    s.sendall(b"x" * 40000)  # more than is looked at
    end = time.monotonic() + 5
    while any(fcntl.ioctl(s, termios.TIOCOUTQ, bytes(4))) and time.monotonic() < end:
        pass
    unconnected = (ctypes.c_char * 16)()  # sa_family AF_UNSPEC: connect(2), "dissolve the association"
    assert ctypes.CDLL(None).connect(s.fileno(), unconnected, 16) == 0
    s.settimeout(10)
    s.connect(("%s", 443))
    return context.wrap_socket(s, server_hostname=name).version()
result = attempt(again, "www.example.org"), attempt(again, "web.whatsapp.com")
""" % (world.SHARED4, world.SHARED4))
    assert result[0]["error"] is None and result[1]["error"], result
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", user=employee.name)
