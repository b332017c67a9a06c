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


@pytest.mark.vm
@pytest.mark.parametrize("how", CURL)
@pytest.mark.evasion(11, "CONNECT, Host, h2c, SOCKS 4A and 5", "egress")
def test_row_11(blocking, employee, how):
    since = time.monotonic()
    status, ms, text = employee.curl(CURL[how][-1], *CURL[how][:-1])
    assert status in (7, 16, 18, 35, 52, 56, 97) and ms < FAST_MS, (status, ms, text)
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="http", tier="name", program="/usr/bin/curl", entry="suffix whatsapp.com")
    assert row["outcome"] in ("dropped", "reset")
    assert_nothing_left(blocking, since)


@pytest.mark.parametrize("how", [h for h in CURL if h not in ("h2c", "socks5-login")])  # of which the world's server is not capable
@pytest.mark.evasion(11, "CONNECT, Host, h2c, SOCKS 4A and 5", "egress")
def test_row_11_when_approved(allowing, employee, how):
    status, _, text = employee.curl(CURL[how][-1], *CURL[how][:-1])
    assert status == 0 and "this is web.whatsapp.com" in text.lower(), text
    assert allowing.violations(employee) == []


@pytest.mark.parametrize("how", [h for h in CURL if h not in ("h2c", "socks5-login")])
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


@pytest.mark.evasion(11, "an address through SOCKS", "egress")
def test_row_11_address_through_socks(blocking, employee):
    r = employee.python(f"""
def ask():
    with socket.create_connection(("{PROXY}", 1080), timeout=5) as s:
        s.sendall(b"\\5\\1\\0")
        s.recv(2)
        s.sendall(b"\\5\\1\\0\\1" + socket.inet_aton("149.154.167.51") + struct.pack("!H", 443))
        if not s.recv(100):
            raise ConnectionResetError(errno.ECONNRESET, "closed")
result = attempt(ask)
""")
    assert r["error"] in ("ECONNRESET", "ECONNABORTED", "EPIPE") and r["ms"] < FAST_MS, r
    row, = blocking.violations(employee)
    assert_row(row, channel="telegram", layer="http", tier="address")


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
