# SPDX-License-Identifier: GPL-3.0-or-later
"""Row 11: the name is spoken in clear text, to a web server or to a proxy. It must be seen as layer http, tier name."""
import time

import pytest

import world
from harness import FAST_MS, assert_row
from test_tls import resolve

PROXY = "203.0.113.80"
HIDDEN = f"http://{PROXY}:3128"

CURL = {  # arguments of curl, and the channel's name in what the world would log
    "host": [*resolve("web.whatsapp.com", port=80), "http://web.whatsapp.com/"],
    "host-odd-port": [*resolve("web.whatsapp.com", port=8080), "http://web.whatsapp.com:8080/"],
    "host-ipv6": [*resolve("web.whatsapp.com", world.SHARED6, 80), "http://web.whatsapp.com/"],
    "host-upper-case": ["-H", "HOST: WEB.WHATSAPP.COM", "http://203.0.113.81/"],
    "host-http-1.0": ["-0", *resolve("web.whatsapp.com", port=80), "http://web.whatsapp.com/"],
    "h2c": ["--http2-prior-knowledge", *resolve("web.whatsapp.com", port=80), "http://web.whatsapp.com/"],
    "h2c-upgrade": ["--http2", *resolve("web.whatsapp.com", port=80), "http://web.whatsapp.com/"],
    "connect": ["-x", HIDDEN, "https://web.whatsapp.com/"],
    "proxy-get": ["-x", HIDDEN, "http://web.whatsapp.com/"],
    "socks5": ["--socks5-hostname", f"{PROXY}:1080", "https://web.whatsapp.com/"],
    "socks5-login": ["--socks5-hostname", f"u:p@{PROXY}:1080", "https://web.whatsapp.com/"],
    "socks4a": ["--proxy", f"socks4a://{PROXY}:1080", "https://web.whatsapp.com/"],
}


def assert_nothing_left(station, since):
    for kind in ("http", "socks", "tls"):
        assert not [x for x in station.internet.seen(kind, since=since) if "whatsapp" in x["name"].lower()]


@pytest.mark.parametrize("how", CURL)
@pytest.mark.evasion(11, "CONNECT, Host, h2c, SOCKS 4A and 5", "egress")
def test_row_11(blocking, employee, how):
    since = time.monotonic()
    status, ms, text = employee.curl(CURL[how][-1], *CURL[how][:-1])
    assert status in (7, 16, 18, 35, 52, 55, 56, 97) and ms < FAST_MS, (status, ms, text)
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="http", tier="name", program="/usr/bin/curl", entry="suffix whatsapp.com", **{"class": "use"})
    assert row["outcome"] in ("dropped", "reset")
    assert_nothing_left(blocking, since)


@pytest.mark.parametrize("how", [h for h in CURL if h != "socks5-login"])  # of which the world's server is not capable
@pytest.mark.evasion(11, "CONNECT, Host, h2c, SOCKS 4A and 5", "egress")
def test_row_11_when_approved(allowing, employee, how):
    status, _, text = employee.curl(CURL[how][-1], *CURL[how][:-1])
    assert status == 0 and "this is web.whatsapp.com" in text.lower(), text
    assert allowing.violations(employee) == []


@pytest.mark.parametrize("how", [h for h in CURL if h != "socks5-login"])
@pytest.mark.evasion(11, "CONNECT, Host, h2c, SOCKS 4A and 5", "egress")
def test_row_11_others_pass(blocking, employee, how):
    args = [a.replace("web.whatsapp.com", "www.example.org").replace("WEB.WHATSAPP.COM", "WWW.EXAMPLE.ORG") for a in CURL[how]]
    status, _, text = employee.curl(args[-1], *args[:-1])
    assert status == 0 and "this is www.example.org" in text.lower(), text
    assert blocking.violations(employee) == []


@pytest.mark.parametrize("through", [["-x", HIDDEN, "-p"], ["--socks5", f"{PROXY}:1080"]], ids=["connect", "socks5"])
@pytest.mark.evasion(11, "a hello inside the tunnel", "egress")
def test_row_11_name_inside_the_tunnel(blocking, employee, through):
    """The proxy is told an address that many share, the hello inside names the channel."""
    since = time.monotonic()
    url = "https://web.whatsapp.com/"
    to = ["--connect-to", f"web.whatsapp.com:443:{world.SHARED4}:443"] if "-p" in through else resolve("web.whatsapp.com")
    status, ms, text = employee.curl(url, *through, *to)
    assert status in (35, 56) and ms < FAST_MS, (status, ms, text)
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", tier="name")
    assert not blocking.internet.seen("tls", since=since, name="web.whatsapp.com")


# name: (what is said to the proxy, bytes a write, the row if not a name of WhatsApp's in layer http, what the world must log)
STREAM = f"""
import h2.connection, time
def talk(data, write):
    with socket.create_connection(("{PROXY}", 3128), timeout=5) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), write):
            s.sendall(data[i:i + write])
        s.shutdown(socket.SHUT_WR)
        answer = b""
        while more := s.recv(65536):
            answer += more
        if not answer:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
    return len(answer)
def get(host, target="/", more="", body=""):
    return f"GET {{target}} HTTP/1.1\\r\\nHost: {{host}}\\r\\n{{more}}\\r\\n{{body}}".encode()
def through(host, port=443):
    return f"CONNECT {{host}}:{{port}} HTTP/1.1\\r\\nHost: {{host}}:{{port}}\\r\\n\\r\\n".encode()
def socks4a(name):
    return b"\\4\\1\\1\\xbb\\0\\0\\0\\1me\\0" + name.encode() + b"\\0"
def socks5(name, kind=3):
    where = socket.inet_pton({{1: socket.AF_INET, 4: socket.AF_INET6}}[kind], name) if kind != 3 else bytes([len(name)]) + name.encode()
    return b"\\5\\1\\0\\5\\1\\0" + bytes([kind]) + where + b"\\1\\xbb"
def h2c(*names):
    c = h2.connection.H2Connection()
    c.initiate_connection()
    for i, name in enumerate(names):
        c.send_headers(2 * i + 1, [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", name)], end_stream=True)
    return c.data_to_send()
def hello(name):
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()
OTHER, NAME, ADDRESS = "www.example.org", "web.whatsapp.com", "149.154.167.51"
"""
BYTE, PIECES, WHOLE = 1, 7, 1 << 20
TELEGRAM = {"channel": "telegram", "tier": "address"}
STREAMS = {
    "host-in-pieces": ("get(NAME)", PIECES, {}, "http"),
    "host-byte-by-byte": ("get(NAME)", BYTE, {}, "http"),
    "head-of-20-kB": ("get(NAME, more='X: ' + 'x' * 20000 + '\\r\\n').replace(b'Host', b'Y: y\\r\\nHost')", 1000, {}, "http"),
    "target-in-pieces": ("get(OTHER, f'http://{NAME}/')", PIECES, {}, None),
    "connect-byte-by-byte": ("through(NAME)", BYTE, {}, "http"),
    "second-request": ("get(OTHER) + get(NAME)", WHOLE, {}, "http"),
    "30th-request-in-pieces": ("get(OTHER) * 30 + get(NAME)", 1000, {}, "http"),
    "version-1.10": ("get(NAME).replace(b'1.1', b'1.10')", WHOLE, {}, "http"),
    "host-beside-a-target": ("get(NAME, f'http://{OTHER}/')", PIECES, {}, "http"),
    "behind-what-ends-like-a-length": ("get(OTHER, more='XXXXXXt-Length: 5000\\r\\n') + get(NAME)", WHOLE, {}, "http"),
    "behind-what-ends-like-a-coding": ("get(OTHER, more='Content-Encoding: chunked\\r\\n') + get(NAME)", WHOLE, {}, "http"),
    "behind-a-body": ("get(OTHER, more='Content-Length: 5\\r\\n', body='GET /') + get(NAME)", PIECES, {}, "http"),
    "h2c-byte-by-byte": ("h2c(NAME)", BYTE, {}, "http"),
    "h2c-second-request": ("h2c(OTHER, NAME)", WHOLE, {}, "http"),
    "socks4a-byte-by-byte": ("socks4a(NAME)", BYTE, {}, "socks"),
    "socks5-byte-by-byte": ("socks5(NAME)", BYTE, {}, "socks"),
    "socks5-in-socks5": ("socks5(OTHER) + socks5(NAME)", WHOLE, {}, "socks"),
    "request-in-a-tunnel": ("through(OTHER) + get(NAME)", WHOLE, {}, "http"),
    "tunnel-in-socks5": ("socks5(OTHER) + through(NAME)", PIECES, {}, "http"),
    "hello-with-connect": ("through(OTHER) + hello(NAME)", WHOLE, {"layer": "tls"}, "tls"),
    "hello-with-socks5": ("socks5(OTHER) + hello(NAME)", 100, {"layer": "tls"}, "tls"),
    "connect-to-an-address": ("through(ADDRESS)", WHOLE, TELEGRAM, None),
    "connect-to-ipv6": ("through('[2001:67c:4e8:f002::a]')", PIECES, TELEGRAM, None),
    "connect-to-a-number": ("through('0x959aA733')", WHOLE, TELEGRAM, None),
    "proxy-get-of-an-address": ("get('x', f'http://{ADDRESS}/')", WHOLE, TELEGRAM, None),
    "socks5-to-an-address": ("socks5(ADDRESS, 1)", WHOLE, TELEGRAM, None),
    "socks5-to-ipv6": ("socks5('2001:67c:4e8:f002::a', 4)", BYTE, TELEGRAM, None),
    "socks5-to-the-text-of-an-address": ("socks5(ADDRESS)", WHOLE, TELEGRAM, None),
}
LENIENT = {  # what some proxies and servers take, not the world's
    "blank-before-the-method": ("b' ' + through(NAME)", WHOLE, {}, None),
    "connect-with-letters-behind": ("through(NAME).replace(b'CONNECT', b'CONNECTED')", WHOLE, {}, None),
    "connect-without-a-version": ("through(NAME).replace(b' HTTP/1.1', b'')", WHOLE, {}, None),
    "connect-with-a-scheme": ("through('http://' + NAME).replace(b'Host', b'Not')", WHOLE, {}, None),
    "odd-blanks": ("through(NAME).replace(b' HTTP', b'\\v\\fHTTP').replace(b'Host', b'Not')", WHOLE, {}, None),
    "name-in-brackets": ("get(OTHER, f'http://[{NAME}]/')", WHOLE, {}, None),
    "name-as-login": ("get(OTHER, f'http://{NAME}?@{OTHER}/')", WHOLE, {}, None),
    "http-0.9": ("get(OTHER, f'http://{NAME}/').replace(b' HTTP/1.1', b'')", WHOLE, {}, None),
    "connect-between-blanks": ("through(ADDRESS).replace(b' ', b' \\t ', 1)", WHOLE, TELEGRAM, None),
    "connect-in-lower-case": ("through(ADDRESS).replace(b'CONNECT', b'connect').replace(b'Host', b'Not')", WHOLE, TELEGRAM, None),
    "socks5-with-a-reserved-byte": ("socks5(ADDRESS, 1).replace(b'\\5\\1\\0\\1', b'\\5\\1\\7\\1')", WHOLE, TELEGRAM, None),
    "socks4-with-a-long-user": ("b'\\4\\1\\1\\xbb' + socket.inet_aton(ADDRESS) + b'u' * 4000 + b'\\0'", 1000, TELEGRAM, None),
}
ALL = {**STREAMS, **LENIENT}


def stream(employee, how, name="web.whatsapp.com"):
    said, write, *_ = ALL[how]
    return employee.python(STREAM + f"NAME = {name!r}\nresult = attempt(talk, {said}, {write})")


@pytest.mark.evasion(11, "requests in pieces, pipelined, behind bodies, in one another; to addresses", "egress")
def test_row_11_streams(blocking):
    """In any number of writes, one behind the other, in one another: each by a person of its own."""
    since, people = time.monotonic(), {how: blocking.employee() for how in ALL}
    results = {how: stream(person, how) for how, person in people.items()}
    wrong = {h: r for h, r in results.items() if not r["error"] or r["error"] == "TimeoutError" or r["ms"] > FAST_MS and ALL[h][1] > PIECES}
    assert not wrong
    blocking.fence()
    for how, person in people.items():
        rows = blocking.collector.violations(user=person.name)
        assert len(rows) == 1, (how, results[how], rows)
        assert_row(rows[0], **{"channel": "whatsapp", "layer": "http", "tier": "name", "class": "use", "count": 1, **ALL[how][2]})
    assert_nothing_left(blocking, since)


@pytest.mark.evasion(11, "requests in pieces, pipelined, behind bodies, in one another; to addresses", "egress")
def test_row_11_streams_when_approved(allowing, employee):
    for how in STREAMS:
        since, logged = time.monotonic(), STREAMS[how][3]
        r = stream(employee, how)
        assert r["error"] is None and r["value"] > 0, (how, r)
        assert not logged or allowing.internet.seen(logged, since=since, name="web.whatsapp.com"), how
    assert allowing.violations(employee) == []


ODD = ["more='Content-Length: 5, 5\\r\\n', body='12345'", "more='Content-Length: 5\\r\\nContent-Length: 500\\r\\n', body='12345'",
       "more='Transfer-Encoding: xchunked\\r\\n'", "'http://exam ple.org/'"]


@pytest.mark.evasion(11, "heads that servers read differently", "egress")
def test_row_11_odd_heads(blocking, employee):
    """Where nobody can say what a proxy takes for the next request, there is none."""
    since = time.monotonic()
    r = employee.python(STREAM + f"result = [attempt(talk, data, {WHOLE}) for data in ({''.join(f'get(OTHER, {odd}) + get(NAME),' for odd in ODD)})]")
    assert all(x["error"] not in (None, "TimeoutError") and x["ms"] <= FAST_MS for x in r), r
    assert_nothing_left(blocking, since)
    assert blocking.violations(employee) == []
    blocking.agent.policy(mode="monitor")
    r = employee.python(STREAM + f"result = attempt(talk, get(OTHER, {ODD[0]}), {WHOLE})")
    assert r["error"] is None, r


@pytest.mark.evasion(11, "what is posted says nothing", "egress")
def test_row_11_bodies_say_nothing(blocking, employee):
    """What is posted may tell of requests; an approved channel's name and neighbours of addresses pass."""
    said = ["get(OTHER, more='Content-Length: 57\\r\\n', body='x' * 2 + get(NAME).decode() + 'x' * (55 - len(get(NAME))))",
            "get(OTHER) + through('203.0.113.82')", "socks5('203.0.113.82', 1)",
            "socks5(OTHER)", "h2c(OTHER, 'www.example.net')"]
    r = employee.python(STREAM + f"result = [attempt(talk, data, w) for data in ({', '.join(said)}) for w in ({WHOLE}, {PIECES})]")
    assert not [x for x in r if x["error"]], r
    assert blocking.violations(employee) == []


@pytest.mark.evasion(11, "a later request", "egress")
def test_row_11_later_request(blocking, employee):
    """On a connection to a proxy that is kept open, any request may be for another host."""
    r = employee.python(f"""
def get(s, name):
    s.sendall(f"GET http://{{name}}/ HTTP/1.1\\r\\nHost: {{name}}\\r\\n\\r\\n".encode())
    answer = b""
    while not answer.endswith(b"0\\r\\n\\r\\n"):
        more = s.recv(4096)
        if not more:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
        answer += more
with socket.create_connection(("{PROXY}", 3128), timeout=5) as s:
    first = [attempt(get, s, "www.example.org")["error"] for _ in range(300)]
    result = [set(first) == {{None}}, attempt(get, s, "web.whatsapp.com")]
""")
    assert r[0] and r[1]["error"] in ("ECONNRESET", "ECONNABORTED", "EPIPE"), r
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="http")
