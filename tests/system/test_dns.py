# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that are looked up. What must be seen: layer dns, tier name."""
import time

import pytest
from dnslib import EDNS0, QTYPE, DNSRecord

import world
from harness import FAST_MS, assert_row
from internet import WORLD4, WORLD6

# send(query): what a stub resolver does, without its patience
SEND = f"""
def send(query, server="{WORLD4}"):
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(bytes.fromhex(query), (server, 53))
        return heard(s.recv(4096))
def heard(answer):
    if answer[3] & 15 == 5:
        raise PermissionError(errno.EPERM, "refused")
    return answer.hex()
def send_tcp(query, server="{WORLD4}"):
    q = bytes.fromhex(query)
    with socket.create_connection((server, 53), timeout=3) as s:
        s.sendall(struct.pack("!H", len(q)) + q)
        f = s.makefile("rb")
        size = f.read(2)
        if not size:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
        return heard(f.read(*struct.unpack("!H", size)))
"""


def query(name, kind="A", edns=False):
    q = DNSRecord.question(name, kind)
    if edns:
        q.add_ar(EDNS0(udp_len=1232))
    return q.pack().hex()


def assert_stopped(result):
    assert result["error"] and result["error"] != "TimeoutError", result
    assert result["ms"] < FAST_MS, result


@pytest.mark.evasion(1, "curl", "egress")
def test_curl_by_name(blocking, employee):
    start = time.monotonic()
    status, ms, text = employee.curl("https://web.whatsapp.com/")
    assert status == 6, text  # CURLE_COULDNT_RESOLVE_HOST
    assert ms < FAST_MS
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", channel_name="WhatsApp", tier="name", layer="dns", outcome="dropped", verdict="block",
               user=employee.name, uid=employee.uid, program="/usr/bin/curl", policy_serial=blocking.serial,
               entry="suffix whatsapp.com", device_name="ws-0301", **{"class": "use"})
    assert not blocking.internet.seen("dns", since=start, name="web.whatsapp.com")


def test_row_is_in_the_database(blocking, employee):
    employee.curl("https://web.whatsapp.com/")
    row, = blocking.violations(employee)
    status, detail = blocking.collector.call(f"/api/v1/violations/{row['device']}/{row['seq']}")
    assert status == 200 and detail["row"]["seq"] == row["seq"]
    assert detail["chain"]["verified"] is True
    record = detail["record"]
    assert record["class_uid"] == 4003 and record["unmapped"]["onchannel"]["channel"] == "whatsapp"
    assert record["metadata"]["uid"] == f"{row['device']}:{row['seq']}"
    assert "web.whatsapp.com" not in str(record), "the name asked is nobody's business: only the entry is recorded"


@pytest.mark.evasion(1, "glibc", "egress")
def test_getaddrinfo_fails_fast(blocking, employee):
    r = employee.python('result = attempt(socket.getaddrinfo, "web.whatsapp.com", 443)')
    assert r["error"] == "gaierror" and r["ms"] < FAST_MS
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", program="/usr/bin/python3")


@pytest.mark.evasion(1, "dig", "egress")
def test_dig(blocking, employee, needs):
    needs("dig")
    r = employee.run(["dig", "+tries=1", "+time=1", "web.whatsapp.com"])
    assert "ANSWER SECTION" not in r.stdout
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", program="/usr/bin/dig")


@pytest.mark.parametrize("server", [WORLD4, WORLD6, "8.8.4.99"])
@pytest.mark.evasion(1, "any server, v4 and v6", "egress")
def test_every_server(blocking, employee, server):
    r = employee.python(SEND + "result = attempt(send, *sys.argv[1:])", query("web.whatsapp.com"), server)
    assert_stopped(r)
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", tier="name", port=53)


@pytest.mark.parametrize("kind", ["A", "AAAA", "HTTPS", "SVCB", "ANY", "TXT", "MX"])
@pytest.mark.evasion(3, "every type", "egress")
def test_every_type(blocking, employee, kind):
    q = DNSRecord.question("web.whatsapp.com", "A")
    q.questions[0].qtype = {"SVCB": 64, "HTTPS": 65}.get(kind) or getattr(QTYPE, kind)
    assert_stopped(employee.python(SEND + "result = attempt(send, *sys.argv[1:])", q.pack().hex()))
    assert len(blocking.violations(employee)) == 1


def with_edns(name):
    q = DNSRecord.question(name)
    q.add_ar(EDNS0(flags="do", udp_len=1232))
    return q.pack().hex()


@pytest.mark.parametrize("raw", [query("WeB.wHaTsApP.cOm"), query("WHATSAPP.COM"), query("a.b.c.d.e.f.g.h.whatsapp.com"),
                                 query("x" * 63 + ".whatsapp.com"), query("wa.me"), with_edns("web.whatsapp.com")],
                         ids=["mixed-case", "apex", "deep", "long-label", "exact", "edns"])
@pytest.mark.evasion(3, "mixed case, deep, long, EDNS", "egress")
def test_every_spelling(blocking, employee, raw):
    assert_stopped(employee.python(SEND + "result = attempt(send, *sys.argv[1:])", raw))
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", tier="name")


@pytest.mark.parametrize("server", [WORLD4, WORLD6])
@pytest.mark.evasion(2, "plain, v4 and v6", "egress")
def test_over_tcp(blocking, employee, server):
    start = time.monotonic()
    assert_stopped(employee.python(SEND + "result = attempt(send_tcp, *sys.argv[1:])", query("web.whatsapp.com"), server))
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", tier="name")
    assert not blocking.internet.seen("dns", since=start, name="web.whatsapp.com")


@pytest.mark.parametrize("name", ["notwhatsapp.com", "whatsapp.com.example.org", "mywa.me", "whatsapp.co", "hatsapp.com",
                                  "x.wa.me.example.net", "discordcom.example", "www.example.org"])
@pytest.mark.evasion(4, "in DNS", "egress")
def test_look_alikes_pass(blocking, employee, name):
    for transport in ("send", "send_tcp"):
        r = employee.python(SEND + f"result = attempt({transport}, *sys.argv[1:])", query(name))
        assert r["error"] is None, r
    assert blocking.violations(employee) == []


@pytest.mark.parametrize("name", ["web.whatsapp.com", "discord.com", "core.telegram.org", "teams.microsoft.com", "slack.com"])
def test_approved_pass_unrecorded(allowing, employee, name):
    r = employee.python(SEND + "result = [attempt(f, *sys.argv[1:]) for f in (send, send_tcp)]", query(name))
    assert [x["error"] for x in r] == [None, None]
    assert employee.python(f'result = attempt(socket.getaddrinfo, "{name}", 443)')["error"] is None
    assert allowing.violations(employee) == []


def test_curl_passes_when_approved(allowing, employee):
    status, _, text = employee.curl("https://web.whatsapp.com/")
    assert status == 0 and "this is web.whatsapp.com" in text
    assert allowing.violations(employee) == []


@pytest.mark.parametrize("policy", [{"mode": "monitor"}, {"unlisted": "watch"}])
def test_watched_passes_and_is_recorded(station, employee, policy):
    serial = station.agent.policy(**policy, channels={"viber": "block"})
    assert employee.curl("https://web.whatsapp.com/")[0] == 0
    rows = station.violations(employee)
    assert {r["outcome"] for r in rows} == {"passed"} and {r["verdict"] for r in rows} == {"watch"}
    row, = [r for r in rows if r["layer"] == "dns"]
    assert_row(row, channel="whatsapp", tier="name", policy_serial=serial)


@pytest.mark.evasion(15, "DoH server by name", "egress")
def test_bypass_class(blocking, employee):
    assert employee.curl("https://dns.google/dns-query")[0] == 6
    row, = blocking.violations(employee)
    assert_row(row, channel="encrypted-dns", layer="dns", **{"class": "bypass"})


@pytest.mark.evasion(22, "VPN and Tor by name", "egress")
@pytest.mark.parametrize("name,channel", [("controlplane.tailscale.com", "tailscale"), ("api.mullvad.net", "mullvad"),
                                          ("www.torproject.org", "tor")])
def test_tunnels_by_name(blocking, employee, name, channel):
    assert employee.curl(f"https://{name}/")[0] == 6
    row, = blocking.violations(employee)
    assert_row(row, channel=channel, layer="dns", **{"class": "bypass"})


def test_exempt_user(station, employee):
    """A group's allowance holds for its members only, whatever their program."""
    other = station.employee()
    station.agent.policy(extra=f"\n[group desk]\nuser = {employee.name}\n\n[channel whatsapp]\nverdict = allow\ngroup = desk\n")
    assert employee.curl("https://web.whatsapp.com/")[0] == 0
    assert other.curl("https://web.whatsapp.com/")[0] == 6
    assert len(station.violations(other)) == 1
    assert [r for r in station.violations(employee) if r["class"] == "use"] == []


@pytest.mark.evasion(3, "malformed", "egress")
def test_malformed_packets_harm_nobody(blocking, employee):
    """Whatever is sent to port 53: the agent lives, what is innocent works, what is blocked stays so."""
    code = SEND + """
import random
random.seed(1)
q = bytes.fromhex(sys.argv[1])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    for i in range(400):
        packet = bytearray(q) if i % 2 else bytearray(random.randbytes(random.randrange(600)))
        for _ in range(i % 5):
            if packet:
                packet[random.randrange(len(packet))] = random.randrange(256)
        try:
            s.sendto(bytes(packet[:random.randrange(len(packet) + 1)]), (sys.argv[3], 53))
        except PermissionError:
            pass  # happens to be a blocked query
for name_end in (b"\\xc0\\x0c", b"\\x3f", b"\\x40", b"\\xff", b""):  # a loop, a label that ends nowhere, odd label types
    attempt(send, (q[:12] + name_end).hex())
result = attempt(send, sys.argv[2])
"""
    r = employee.python(code, query("www.example.org"), query("web.whatsapp.com"), WORLD4)
    assert_stopped(r)
    somebody = blocking.employee()
    assert somebody.curl("https://www.example.org/")[0] == 0
    assert somebody.curl("https://web.whatsapp.com/")[0] == 6
    blocking.agent.alive()
    assert len(blocking.violations(somebody)) == 1


def test_repeats_collapse(blocking, employee):
    r = employee.python(SEND + "result = [attempt(send, *sys.argv[1:]) for _ in range(20)]", query("web.whatsapp.com"))
    assert all(x["error"] for x in r)
    row, = blocking.violations(employee)
    assert row["count"] == 20


@pytest.mark.evasion(1, "over another port, within the local network: not read, the hello is", "egress")
def test_other_ports(blocking, employee):
    """OpenDNS, Quad9; mDNS, LLMNR. It tells an address, at which the name is not to be had."""
    places = [("208.67.222.222", 443), ("208.67.222.222", 5353), ("9.9.9.9", 9953), ("224.0.0.251", 5353), ("224.0.0.252", 5355)]
    r = employee.python(f"""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    result = [attempt(s.sendto, bytes.fromhex({query("web.whatsapp.com")!r}), tuple(p))["error"] for p in {places!r}]
""")
    assert r == [None] * len(places)
    assert blocking.violations(employee) == []
    assert employee.curl("https://web.whatsapp.com/", "--resolve", f"web.whatsapp.com:443:{world.SHARED4}")[0]
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", tier="name")
