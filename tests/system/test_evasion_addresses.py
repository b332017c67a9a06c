# SPDX-License-Identifier: GPL-3.0-or-later
"""EVASION 13 and 14: every prefix of Telegram's to its edges, the neighbours one outside, the shared address."""
import ipaddress
import re
import time
import urllib.parse

import pytest

import world
from harness import FAST_MS, SLOW, TREE
from test_exec import install

PREFIXES = [ipaddress.ip_network(p) for p in re.findall(r"(?m)^prefix\s*=\s*(\S+)", (TREE / "rules/channels/telegram.ini").read_text())]
# hello: an obfuscated MTProto start is random bytes (core.telegram.org/mtproto/mtproto-transports)
CODE = """
import random
def talk(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.settimeout(10)
        s.connect((address, int(port)))
        s.send(random.Random(1).randbytes(64))
        return 1
result = {f"{a} {p}": attempt(talk, a, p) for a, p in zip(sys.argv[1::2], sys.argv[2::2])}
"""


def edges():
    return [str(a) for p in PREFIXES for a in {p[0], p[-1]}]


def neighbours():
    around = [p[0] - 1 for p in PREFIXES] + [p[-1] + 1 for p in PREFIXES]
    return [str(a) for a in around if not any(a in p for p in PREFIXES if p.version == a.version)]


def talk(employee, addresses, ports):
    return employee.python(CODE, *[x for a in addresses for p in ports for x in (a, p)])


@pytest.mark.evasion(13, "first and last address of every prefix", "connect")
def test_13_edges_of_every_prefix(blocking, employee):
    assert {p.version for p in PREFIXES} == {4, 6}
    start = time.monotonic()
    results = talk(employee, edges(), ("443",))
    assert not {k: r for k, r in results.items() if r["error"] is None or r["ms"] > FAST_MS}
    rows = blocking.violations(employee)
    assert {(r["channel"], r["layer"], r["tier"], r["class"]) for r in rows} == {("telegram", "connect", "address", "use")}
    assert not [r for r in blocking.internet.seen("tcp", since=start) if r["address"] in edges()]


@pytest.mark.evasion(13, "through NAT64 (64:ff9b::/96)", "connect")
def test_13_nat64(blocking, employee):
    results = talk(employee, ["64:ff9b::149.154.167.51"], ("443", "80"))
    assert not {k: r for k, r in results.items() if r["error"] is None or r["ms"] > FAST_MS}
    assert {(r["channel"], r["tier"], r["remote"]) for r in blocking.violations(employee)} == {("telegram", "address", "149.154.167.51")}
    assert not [r for r in talk(employee, ["64:ff9b::203.0.113.9"], ("443",)).values() if r["error"]]


@pytest.mark.parametrize("port", ["443", "80", "5222"])
@pytest.mark.evasion(13, "obfuscated, on 443, 80, 5222", "connect")
def test_13_obfuscated_on_its_ports(blocking, employee, port):
    addresses = ("149.154.167.51", "91.108.56.130", "2001:67c:4e8:f002::a", "2001:b28:f23d:f001::a")
    results = talk(employee, addresses, (port,))
    assert not {k: r for k, r in results.items() if r["error"] is None or r["ms"] > FAST_MS}
    assert {(r["channel"], r["layer"], r["port"]) for r in blocking.violations(employee)} == {("telegram", "connect", int(port))}


@pytest.mark.evasion(13, "first and last address of every prefix", "connect")
def test_13_allowed(allowing, employee):
    results = talk(employee, edges(), ("443",))
    assert not {k: r for k, r in results.items() if r["error"]}
    assert allowing.violations(employee) == []


FALLBACKS = ("https://dns.google/resolve?name=apv3.stel.com&type=16", "https://cloudflare-dns.com/dns-query?name=apv3.stel.com&type=16",
             "https://firebaseremoteconfig.googleapis.com/v1/projects/x", "https://firestore.googleapis.com/v1/projects/x")


def by_program(employee, name):
    """curl under that name: status for each of the fallbacks."""
    path = install(employee, name, "/usr/bin/curl")
    return {url: employee.run([path, "-sS", "-o", "/dev/null", "--max-time", str(20 * SLOW), url], timeout=30 * SLOW).returncode for url in FALLBACKS}


@pytest.mark.evasion(13, "its fallbacks (JSON DoH, Firebase), from that process only", "connect egress")
def test_13_fallbacks_from_that_process_only(station, employee):
    """Where the program may run (programs = watch) and everybody may use these services, its own connections are Telegram's."""
    station.agent.policy({"encrypted-dns": "allow"}, programs="watch")
    other, since = station.employee(), time.monotonic()
    assert set(by_program(employee, "telegram-desktop").values()) <= {6, 7, 35, 56}
    assert not [r for r in station.internet.seen("tls", since=since) if r["name"] in [urllib.parse.urlsplit(u).hostname for u in FALLBACKS]]
    rows = station.violations(employee)
    assert {(r["channel"], r["tier"], r["class"]) for r in rows} == {("telegram", "program", "use")}
    assert {r["layer"] for r in rows} == {"exec", "connect"}, rows
    assert set(by_program(other, "fetch").values()) == {0}
    assert station.collector.violations(user=other.name) == []


@pytest.mark.evasion(13, "its fallbacks (JSON DoH, Firebase), from that process only", "connect egress")
def test_13_fallbacks_when_approved(station, employee):
    station.agent.policy({"telegram": "allow", "encrypted-dns": "allow"})
    assert set(by_program(employee, "telegram-desktop").values()) == {0}
    assert station.violations(employee) == []


@pytest.mark.evasion(14, "one outside the prefix; a shared address", "connect prefix")
def test_14_one_outside_and_shared(blocking, employee):
    results = talk(employee, [*neighbours(), world.SHARED4, world.SHARED6], ("443", "80"))
    assert not {k: r for k, r in results.items() if r["error"]}
    assert blocking.violations(employee) == []
