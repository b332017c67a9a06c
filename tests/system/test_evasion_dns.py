# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 2 and 3: queries in every shape."""
import json
import time

import pytest
from dnslib import DNSQuestion, DNSRecord

from firefox import Firefox
from harness import FAST_MS, SLOW, assert_row
from internet import WORLD4, WORLD6, wait_for
from test_dns import query

STREAM = f"""
def framed(*queries):
    return b"".join(struct.pack("!H", len(q)) + q for q in map(bytes.fromhex, queries))
def ask(data, write, answers, server="{WORLD4}", close=False):
    with socket.create_connection((server, 53), timeout=5) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), write):
            s.sendall(data[i:i + write])
        f = s.makefile("rb")
        for _ in range(answers):
            size = f.read(2)
            if not size:
                raise ConnectionResetError(errno.ECONNRESET, "closed")
            if f.read(*struct.unpack("!H", size))[3] & 15 == 5:
                raise PermissionError(errno.EPERM, "refused")
    return answers
"""
INNOCENT, BLOCKED = query("www.example.org"), query("web.whatsapp.com")
SHAPES = {  # queries, bytes a write
    "plain": ([BLOCKED], 1 << 20),
    "length-apart": ([BLOCKED], 2),
    "byte-by-byte": ([BLOCKED], 1),
    "pipelined": ([INNOCENT, BLOCKED], 1 << 20),
    "pipelined-first": ([BLOCKED, INNOCENT], 1 << 20),
    "pipelined-in-pieces": ([INNOCENT, INNOCENT, BLOCKED], 13),
    "behind-500": ([INNOCENT] * 500 + [BLOCKED], 1 << 20),
}


def assert_row_of(station, employee, since, **expected):
    row, = station.violations(employee)
    assert_row(row, **{"class": "use", "channel": "whatsapp", "layer": "dns", "tier": "name", "verdict": "block", "port": 53, **expected})
    assert not station.internet.seen("dns", since=since, name="web.whatsapp.com")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.evasion(2, "writes apart, byte by byte, pipelined", "egress")
def test_row_2(blocking, employee, shape):
    queries, write = SHAPES[shape]
    since = time.monotonic()
    r = employee.python(STREAM + f"result = attempt(ask, framed(*{queries!r}), {write}, {len(queries)})")
    assert r["error"] and r["error"] != "TimeoutError" and r["ms"] < FAST_MS, r
    assert_row_of(blocking, employee, since)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.evasion(2, "writes apart, byte by byte, pipelined", "egress")
def test_row_2_when_approved(allowing, employee, shape):
    queries, write = SHAPES[shape]
    r = employee.python(STREAM + f"result = attempt(ask, framed(*{queries!r}), {write}, {len(queries)})")
    assert r["error"] is None, r
    assert allowing.violations(employee) == []


@pytest.mark.evasion(2, "after an innocent query over the same connection", "egress")
def test_row_2_one_connection(blocking, employee):
    """An innocent query, its answer, then the other over the same connection; over IPv6."""
    since = time.monotonic()
    code = STREAM + f"""
with socket.create_connection(("{WORLD6}", 53), timeout=5) as s:
    s.sendall(framed({INNOCENT!r}))
    first = len(s.recv(4096))
    s.sendall(framed({BLOCKED!r}))
    result = [first, attempt(lambda: s.recv(4096)[5] & 15)]
"""
    first, r = employee.python(code)
    assert first > 40 and r["value"] == 5 and r["ms"] < FAST_MS, r
    assert_row_of(blocking, employee, since, remote=WORLD6)


def questions(*names):
    q = DNSRecord()
    for name in names:
        q.add_question(DNSQuestion(name))
    return q.pack().hex()


def uncompressed(*names):
    """The same without pointers from one question into another."""
    header = bytes.fromhex("00010100") + len(names).to_bytes(2, "big") + bytes(6)
    body = b"".join(b"".join(bytes([len(x)]) + x.encode() for x in n.split(".")) + b"\0\0\1\0\1" for n in names)
    return (header + body).hex()


MANY = {
    "blocked-second": uncompressed("www.example.org", "web.whatsapp.com"),
    "blocked-first": uncompressed("web.whatsapp.com", "www.example.org"),
    "blocked-last": uncompressed(*["www.example.org"] * 7, "web.whatsapp.com"),
    "compressed": questions("www.whatsapp.com", "web.whatsapp.com"),
    # one question, which is passed at a glance when its last two labels are nobody's
    "mixed-case": uncompressed("wEB.WhAtsApP.Com"),
    "zero-in-a-label": uncompressed("a\0b.web.whatsapp.com"),
    "something-behind": uncompressed("web.whatsapp.com") + uncompressed("www.example.org")[24:],
    "17-labels": uncompressed(".".join("abcdefghijklmn") + ".web.whatsapp.com"),
}


@pytest.mark.parametrize("raw", MANY.values(), ids=MANY)
@pytest.mark.evasion(3, "several questions, pointers", "egress")
def test_row_3_several_questions(blocking, employee, raw):
    since = time.monotonic()
    r = employee.python(f"""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(1)
    s.connect(("{WORLD4}", 53))
    s.send(bytes.fromhex({INNOCENT!r}))
    s.recv(4096)
    def ask():
        s.send(bytes.fromhex({raw!r}))
        if s.recv(4096)[3] & 15 != 5:
            raise AssertionError
        raise PermissionError(errno.EPERM, "refused")
    result = attempt(ask)
""")
    assert r["error"] == "EPERM" and r["ms"] < FAST_MS, r
    assert_row_of(blocking, employee, since)


@pytest.mark.evasion(3, "several questions, pointers", "egress")
def test_row_3_when_approved(allowing, employee):
    """Each of these, by type and by spelling as well, is answered; but for a pointer among the questions: that passes for nobody."""
    raws = [*(raw for shape, raw in MANY.items() if shape != "compressed"), *(query("web.whatsapp.com", kind) for kind in ("A", "AAAA", "ANY", "TXT", "MX", "HTTPS")),
            *(query(name, edns=True) for name in ("WHATSAPP.COM", "a.b.c.d.e.f.g.h.whatsapp.com", "x" * 63 + ".whatsapp.com"))]
    asked = employee.python(f"""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(5)
    s.connect(("{WORLD4}", 53))
    result = []
    for raw in {raws!r}:
        s.send(bytes.fromhex(raw))
        result.append(s.recv(4096)[3] & 15)
""")
    assert asked == [0] * len(raws), asked
    assert allowing.violations(employee) == []


@pytest.mark.evasion(3, "several questions, pointers", "egress")
def test_row_3_a_pointer_hides_nothing(blocking, employee):
    """The second question's name ends in the first's, the first's in what follows: nobody honest asks so."""
    since = time.monotonic()
    name = "03" + b"web".hex() + "08" + b"whatsapp".hex()
    raws = ["000101000002000000000000" + "07" + b"example".hex() + "03" + b"com".hex() + "00" + "00010001" + name + "c014" + "00010001",
            "000101000001000000000000" + name + "c01f" + "00010001" + "03" + b"com".hex() + "00"]
    employee.python(f"""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    result = [attempt(s.sendto, bytes.fromhex(raw), ("{WORLD4}", 53)) for raw in {raws!r}]
""")
    blocking.fence()
    assert not blocking.internet.seen("dns", since=since, name="web.whatsapp.com")
    assert not [x for x in blocking.internet.seen("dns", since=since) if x["type"] == "malformed"]
    assert not blocking.internet.seen("dns", since=since, name="example.com")


GSO = f"""
def ask(queries, segment):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect(("{WORLD4}", 53))
        s.setsockopt(socket.IPPROTO_UDP, 103, segment)  # UDP_SEGMENT
        s.send(b"".join(map(bytes.fromhex, queries)))
        return [s.recv(4096)[3] & 15 for _ in queries]
"""


@pytest.mark.parametrize("names", [["www.example.org", "web.whatsapp.com"], ["web.whatsapp.com", "www.example.org"],
                                   ["www.example.org"] * 30 + ["web.whatsapp.com"]])
@pytest.mark.evasion(8, "UDP segmentation", "egress")
def test_row_8_segmentation(blocking, employee, names):
    """Several queries in one packet that only the driver parts."""
    since = time.monotonic()
    queries = [query(n) for n in names]
    size = max(len(q) // 2 for q in queries)
    queries = [q + "00" * (size - len(q) // 2) for q in queries]  # all of one size, but the last may be shorter
    r = employee.python(GSO + f"result = attempt(ask, {queries!r}, {size})")
    assert r["error"] or 5 in (r["value"] or []), r
    assert_row_of(blocking, employee, since)


@pytest.mark.evasion(8, "UDP segmentation", "egress")
def test_row_8_segmentation_of_others_passes(blocking, employee):
    queries = [query("www.example.org")] * 4
    r = employee.python(GSO + f"result = attempt(ask, {queries!r}, {len(queries[0]) // 2})")
    assert r["error"] is None and r["value"] == [0] * 4, r
    assert blocking.violations(employee) == []


@pytest.mark.parametrize("server", [WORLD4, WORLD6])
@pytest.mark.evasion(1, "REFUSED, with the reason", "egress")
def test_answer_says_why(blocking, employee, needs, server):
    """`dig` prints at once what the policy says (RFC 8914)."""
    needs("dig")
    start = time.monotonic()
    r = employee.run(["dig", "+tries=1", "+time=2", f"@{server}", "WEB.whatsapp.com"])
    ms = (time.monotonic() - start) * 1000
    assert "status: REFUSED" in r.stdout, r.stdout + r.stderr
    assert "EDE: 17 (Filtered): (This channel is not approved. Use Teams.)" in r.stdout
    assert "WEB.whatsapp.com" in r.stdout and "mismatch" not in r.stdout and "WARNING" not in r.stdout, r.stdout
    query_ms = int(r.stdout.partition("Query time: ")[2].split()[0])
    assert query_ms < FAST_MS and ms < 5 * FAST_MS, (query_ms, ms)
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", outcome="dropped", program="/usr/bin/dig")


@pytest.mark.evasion(1, "REFUSED, with the reason", "egress")
def test_answer_of_a_loopback_resolver(blocking, employee, needs):
    needs("dig")
    r = employee.run(["dig", "+tries=1", "+time=2", "@127.0.0.53", "web.whatsapp.com"])
    assert "status: REFUSED" in r.stdout and "EDE: 17" in r.stdout, r.stdout
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", remote="127.0.0.53")


@pytest.mark.evasion(2, "plain, v4 and v6", "egress")
@pytest.mark.parametrize("server", [WORLD4, WORLD6])
def test_answer_over_tcp_says_why(blocking, employee, needs, server):
    """And ends the connection: the resolver has not heard of it."""
    needs("dig")
    since, start = time.monotonic(), time.monotonic()
    r = employee.run(["dig", "+tcp", "+tries=1", "+time=2", f"@{server}", "web.whatsapp.com"])
    ms = (time.monotonic() - start) * 1000
    assert "status: REFUSED" in r.stdout and "EDE: 17 (Filtered): (This channel is not approved. Use Teams.)" in r.stdout, r.stdout
    assert int(r.stdout.partition("Query time: ")[2].split()[0]) < FAST_MS and ms < 5 * FAST_MS
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", outcome="reset", program="/usr/bin/dig")
    assert not blocking.internet.seen("dns", since=since, name="web.whatsapp.com")


@pytest.mark.evasion(1, "the agent does not read", "egress")
def test_no_answer_when_the_agent_does_not_read(blocking, employee):
    """What cannot be answered fails at once."""
    import signal
    blocking.agent.process.send_signal(signal.SIGSTOP)
    try:
        code = f"""
q = bytes.fromhex({BLOCKED!r})
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.sendto(q, ("{WORLD4}", 53))
    time.sleep(1.5)
    result = attempt(s.sendto, q, ("{WORLD4}", 53))
"""
        r = employee.python(code)
        assert r["error"] == "EPERM", r
    finally:
        blocking.agent.process.send_signal(signal.SIGCONT)
    row, = blocking.violations(employee)
    assert row["count"] == 2


SENDMMSG = """
import ctypes
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("len", ctypes.c_size_t)]
class msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(iovec)), ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]
class mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", msghdr), ("len", ctypes.c_uint)]
def ask(server, *queries):
    queries = [bytes.fromhex(q) for q in queries]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((server, 53))
        v = (mmsghdr * 2)()
        io = [iovec(q, len(q)) for q in queries]
        for i in range(2):
            v[i].hdr.iov, v[i].hdr.iovlen = ctypes.pointer(io[i]), 1
        sent = ctypes.CDLL(None).sendmmsg(s.fileno(), v, 2, 0)
        return [sent, sorted(s.recv(4096)[3] & 15 for _ in range(2))]
result = ask(*sys.argv[1:])
"""


@pytest.mark.parametrize("queries", [[INNOCENT, BLOCKED], [BLOCKED, INNOCENT]])
@pytest.mark.evasion(8, "sendmmsg", "egress")
def test_row_8_sendmmsg(blocking, employee, queries):
    """What glibc does for A and AAAA: two messages in one call."""
    since = time.monotonic()
    assert employee.python(SENDMMSG, WORLD4, *queries) == [2, [0, 5]]
    assert_row_of(blocking, employee, since)


@pytest.mark.evasion(8, "sendmmsg", "egress")
@pytest.mark.evasion(8, "UDP segmentation", "egress")
def test_row_8_datagrams_when_approved(allowing, employee):
    assert employee.python(SENDMMSG, WORLD4, INNOCENT, BLOCKED) == [2, [0, 0]]
    assert employee.python(GSO + f"result = ask({[BLOCKED] * 4!r}, {len(BLOCKED) // 2})") == [0] * 4
    assert allowing.violations(employee) == []


@pytest.mark.parametrize("kind, port", [("STREAM", 853), ("DGRAM", 853)])
@pytest.mark.parametrize("address", ["9.9.9.9", "2620:fe::fe"])
@pytest.mark.evasion(15, "DoT and DoQ by port", "connect sendmsg")
def test_row_15_dot_and_doq(blocking, employee, kind, port, address):
    r = employee.python(f'result = attempt(connect, "{address}", {port}, socket.SOCK_{kind})')
    assert r["error"] in ("ECONNREFUSED", "EPERM", "EACCES", "EHOSTUNREACH") and r["ms"] < FAST_MS, r
    row, = blocking.violations(employee)
    assert_row(row, channel="encrypted-dns", layer="connect", tier="address", port=853, **{"class": "bypass"})
    assert row["entry"] in ("tcp 853", "udp 853")


@pytest.mark.evasion(15, "DoT and DoQ by port", "connect sendmsg")
def test_row_15_doq_by_two_threads(blocking, employee):
    """One connects a socket to DoQ, and another at the same time to something else, which must not make it innocent: none is ever connected."""
    r = employee.python("""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    result = [attempt(s.connect, ("9.9.9.9", 853)), attempt(s.getpeername)]
""")
    assert [x["error"] for x in r] == ["EPERM", "ENOTCONN"], r


@pytest.mark.evasion(15, "DoT and DoQ by port", "connect sendmsg")
def test_row_15_unconnected_doq(blocking, employee):
    r = employee.python("""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    result = attempt(s.sendto, b"x" * 1200, ("9.9.9.9", 853))
""")
    assert r["error"] == "EPERM"
    row, = blocking.violations(employee)
    assert_row(row, channel="encrypted-dns", layer="connect", port=853)


@pytest.mark.evasion(15, "DoT and DoQ by port", "connect sendmsg")
def test_row_15_dot_when_approved(station, employee):
    station.agent.policy({"encrypted-dns": "allow"})
    r = employee.python('result = attempt(connect, "9.9.9.9", 853)')
    assert r["error"] is None
    assert station.violations(employee) == []


CANARY = "use-application-dns.net"  # Firefox asks for it before it turns encrypted DNS on by itself
ROLLOUT = {"doh-rollout.home-region": "US", "doh-rollout.us.enabled": True,  # as in the countries where it does
           "doh-rollout.us.provider-list": json.dumps([{"uri": "https://doh.nobody-knows.example/dns-query"}])}


@pytest.mark.parametrize("verdict,mode", [("block", 0), ("allow", 2)])
@pytest.mark.evasion(15, "Firefox turns it on by itself, and asks for its canary before", "egress")
def test_row_15_firefox_canary(station, employee, needs, verdict, mode):
    """A Firefox without a managed policy; what it asks by itself is on nobody's record."""
    needs("firefox-esr")
    station.agent.policy({"encrypted-dns": verdict})
    since, browser = time.monotonic(), Firefox(employee, 2899, **ROLLOUT)
    try:
        wait_for(lambda: browser.has_pref("doh-rollout.mode"), 60 * SLOW, "Firefox's decision")
        assert browser.pref("doh-rollout.mode")[0] == mode
    finally:
        browser.close()
    assert bool(station.internet.seen("dns", since=since, name=CANARY)) == (verdict == "allow")
    assert station.violations(employee) == []


@pytest.mark.parametrize("name,recorded", [(CANARY, False), ("dns.google", True)])
@pytest.mark.evasion(15, "Firefox turns it on by itself, and asks for its canary before", "egress")
def test_row_15_canary_is_nobodys_attempt(blocking, employee, needs, name, recorded):
    needs("dig")
    for transport in ("+notcp", "+tcp"):
        assert "status: REFUSED" in employee.run(["dig", "+tries=1", "+time=2", transport, f"@{WORLD4}", name]).stdout
    assert bool(blocking.violations(employee)) == recorded
    assert employee.curl(f"https://www.{CANARY}/")[0] == 0, "that name alone"


ALIAS = "web-whatsapp-com.alias.example"  # a name that the world answers with a CNAME to web.whatsapp.com


@pytest.mark.evasion(5, "CNAME to a messenger", "ingress egress")
def test_row_5_alias(blocking, employee):
    """An innocent name that stands for a messenger's: its answer does not arrive, and the asker hears why."""
    status, ms, text = employee.curl(f"https://{ALIAS}/")
    assert status == 6 and ms < FAST_MS, (ms, text)
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", tier="name", outcome="dropped", program="/usr/bin/curl")


@pytest.mark.parametrize("server", [WORLD4, WORLD6])
@pytest.mark.evasion(5, "CNAME to a messenger", "ingress egress")
def test_row_5_alias_is_refused(blocking, employee, needs, server):
    needs("dig")
    r = employee.run(["dig", "+tries=1", "+time=2", f"@{server}", ALIAS])
    assert "status: REFUSED" in r.stdout and "EDE: 17" in r.stdout and ALIAS in r.stdout, r.stdout
    assert len(blocking.violations(employee)) == 1


@pytest.mark.parametrize("kind", ["dname", "svcb", "https"])
@pytest.mark.evasion(5, "a DNAME, a service (SVCB, HTTPS) of a messenger's", "ingress egress")
def test_row_5_other_aliases(blocking, employee, needs, kind):
    """What stands for another name without being a CNAME; an innocent one arrives."""
    needs("dig")
    for name, code in ((f"web-whatsapp-com.{kind}.example", "REFUSED"), (f"www-example-org.{kind}.example", "NOERROR")):
        r = employee.run(["dig", "+tries=1", "+time=2", f"@{WORLD4}", "-t", kind.upper(), name])
        assert f"status: {code}" in r.stdout, r.stdout
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", tier="name", outcome="dropped", entry="suffix whatsapp.com")


@pytest.mark.evasion(5, "CNAME to a messenger", "ingress egress")
def test_row_5_alias_over_tcp(blocking, employee, needs):
    needs("dig")
    r = employee.run(["dig", "+tcp", "+tries=1", "+time=2", f"@{WORLD4}", ALIAS])
    assert "CNAME" not in r.stdout and "timed out" not in r.stdout, r.stdout
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns")


@pytest.mark.evasion(5, "CNAME to a messenger", "ingress egress")
def test_row_5_alias_when_approved(allowing, employee):
    assert employee.python(f'result = attempt(socket.getaddrinfo, "{ALIAS}", 443)')["error"] is None
    assert allowing.violations(employee) == []


@pytest.mark.evasion(5, "CNAME to a messenger", "ingress egress")
def test_row_5_alias_of_another(blocking, employee):
    """Also from a messenger-like name to an innocent one."""
    for name in ("www-example-org.alias.example", "notwhatsapp-com.alias.example"):
        assert employee.python(f'result = attempt(socket.getaddrinfo, "{name}", 443)')["error"] is None
    assert blocking.violations(employee) == []


@pytest.mark.evasion(5, "CNAME to a messenger", "ingress egress")
def test_row_5_watched(station, employee):
    station.agent.policy({"whatsapp": "watch"})
    assert employee.python(f'result = attempt(socket.getaddrinfo, "{ALIAS}", 443)')["error"] is None
    row, = station.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", outcome="passed", verdict="watch")


@pytest.mark.parametrize("name, flags, error", [("web.innocent.org", 0x4000000, "EPERM"), ("www.example.org", 0, None)])
@pytest.mark.evasion(8, "bytes that are changed between the look at them and their way out", "egress")
def test_row_8_lent_query(blocking, employee, name, flags, error):
    """A query in a page that its sender can still change (MSG_ZEROCOPY) does not leave."""
    since = time.monotonic()
    r = employee.python(f"""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(5)
    s.connect(("{WORLD4}", 53))
    s.setsockopt(socket.SOL_SOCKET, 60, 1)  # SO_ZEROCOPY
    def ask():
        s.send(bytes.fromhex({query(name)!r}), {flags})
        return s.recv(4096)[3] & 15
    result = attempt(ask)
""")
    assert r["error"] == error, r
    assert bool(blocking.internet.seen("dns", since=since, name=name)) == (error is None)
