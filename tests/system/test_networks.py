# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks as people meet them: captive portals, broken resolvers, IPv6 alone, a phone's tether, a firewall of the laptop's
own. What is blocked fails at once everywhere, what is not works as far as the network does, and nobody is accused of it."""
import pathlib
import subprocess

import pytest

import internet as net
from harness import FAST_MS, assert_row

PORTAL, PORT = "10.66.0.1", 5399
# A network's resolver in place of the world's.
RESOLVER = """
import ipaddress, os, socket, sys, world
from dnslib import *
def reply(data, mode):
    query = DNSRecord.parse(data)
    r, name, kind = query.reply(), query.q.qname, QTYPE[query.q.qtype]
    if mode == "garbage":
        return data[:2] + b"\\x81\\x80" + data[4:6] + bytes([0, 5, 0, 0, 0, 0]) + data[12:] + os.urandom(60)
    if mode == "servfail":
        r.header.rcode = RCODE.SERVFAIL
    if mode == "redirecting portal":
        r.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME("login.portal.example"), ttl=5))
        name = DNSLabel("login.portal.example")
    if mode.endswith("portal") and kind == "A":
        r.add_answer(RR(name, QTYPE.A, rdata=A(sys.argv[3]), ttl=5))
    if mode == "dns64" and kind == "AAAA":
        four = int(ipaddress.ip_address(world.addresses(str(name))[0]))
        r.add_answer(RR(name, QTYPE.AAAA, rdata=AAAA(str(ipaddress.ip_address("64:ff9b::") + four)), ttl=5))
    return r.pack()
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", int(sys.argv[2])))
print("ready", flush=True)
while True:
    data, who = s.recvfrom(4096)
    if sys.argv[1] != "silent":
        s.sendto(reply(data, sys.argv[1]), who)
"""


class Resolver:
    def __init__(self, internet, mode):
        self.internet, self.mode = internet, mode

    def nft(self, command):
        return self.internet.world.run(["nft", "-a", *command.split()], check=True).stdout

    def __enter__(self):
        self.process = self.internet.world.popen(
            ["/usr/bin/python3", "-c", RESOLVER, self.mode, str(PORT), PORTAL], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=net.environment(PYTHONPATH=str(pathlib.Path(__file__).parent)))
        assert self.process.stdout.readline() == b"ready\n"
        self.nft(f"insert rule inet world prerouting udp dport 53 redirect to :{PORT}")

    def __exit__(self, *_):
        rule, = [line for line in self.nft("list chain inet world prerouting").splitlines() if f":{PORT}" in line]
        self.nft(f"delete rule inet world prerouting handle {rule.split()[-1]}")
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


def root(station, script):
    station.internet.laptop.run(["sh", "-ec", script], check=True)


def assert_blocked(employee):
    status, ms, text = employee.curl("https://web.whatsapp.com/")
    assert status == 6 and ms < FAST_MS, (status, ms, text)


def assert_only_that(station, employee):
    row, = station.violations(employee)
    assert_row(row, channel="whatsapp", layer="dns", tier="name")


def assert_usual(station):
    """Both families work, what is blocked is, by name and by address."""
    employee = station.employee()
    for family in ("-4", "-6"):
        assert employee.curl("https://www.example.org/", family)[0] == 0, family
    assert_blocked(employee)
    assert_only_that(station, employee)
    other = station.employee().python('result = attempt(connect, "149.154.167.50", 443)')
    assert other["error"] and other["ms"] < FAST_MS, other


@pytest.mark.parametrize("mode", ["portal", "redirecting portal"])
def test_captive_portal(blocking, employee, mode):
    """Every name is the portal, until somebody logs in: its address is that of the blocked and of the innocent name."""
    with Resolver(blocking.internet, mode):
        assert_blocked(employee)
        for url in ("http://www.example.org/", "http://detectportal.firefox.com/", "https://login.portal.example/", f"http://{PORTAL}/login"):
            assert employee.curl(url)[0] == 0, url
        assert_blocked(employee)
    assert_only_that(blocking, employee)
    assert_usual(blocking)


@pytest.mark.parametrize("mode", ["servfail", "garbage", "silent"])
def test_broken_resolver(blocking, employee, mode):
    """What is blocked is refused as fast as ever; the rest fails as it would without an agent, and leaves no record."""
    with Resolver(blocking.internet, mode):
        assert_blocked(employee)
        assert employee.curl("https://www.example.org/", "--max-time", "2")[0] in (6, 28)
        assert employee.curl("https://innocent.shop.example/", "--max-time", "2", "--resolve", "innocent.shop.example:443:104.18.32.47")[0] == 0
    assert_only_that(blocking, employee)


def test_ipv6_alone(blocking, employee, needs):
    """DNS64 and NAT64 (RFC 6147, RFC 6052): no IPv4 on the laptop, all names have addresses below 64:ff9b::/96."""
    needs("dig")
    with Resolver(blocking.internet, "dns64"):
        root(blocking, f"ip addr del {net.LAPTOP4}/24 dev eth0; echo nameserver {net.WORLD6} >/etc/resolv.conf")
        try:
            for url in ("http://www.example.org/", "https://innocent.shop.example/", "https://teams.microsoft.com/"):
                assert employee.curl(url)[0] == 0, url
            assert_blocked(employee)
            said = employee.run(["dig", "+tries=1", "web.whatsapp.com", "AAAA"]).stdout
            other = blocking.employee().python('result = attempt(connect, "64:ff9b::149.154.167.50", 443)')
        finally:
            root(blocking, f"ip addr add {net.LAPTOP4}/24 dev eth0; ip route add default via {net.WORLD4}; "
                 f"echo nameserver {net.WORLD4} >/etc/resolv.conf")
    assert "REFUSED" in said and "not approved" in said, said
    assert other["error"] and other["ms"] < FAST_MS, other
    blocking.download.close()  # its address was gone
    blocking.download = type(blocking.download)(blocking.employee())


def test_interfaces_come_and_go(blocking):
    """Renamed, and a second way out: whatever the interface, the same holds."""
    route = f"ip route replace default via {net.WORLD4}; ip addr add {net.LAPTOP6}/64 dev NAME nodad; ip -6 route add default via {net.WORLD6} dev NAME"
    for old, new in (("eth0", "wlan7"), ("wlan7", "eth0")):
        root(blocking, f"ip link set {old} down; ip link set {old} name {new}; ip link set {new} up; " + route.replace("NAME", new))
        assert_usual(blocking)
    blocking.internet.world.run(["sh", "-ec", f"ip link add tether type veth peer name usb0 netns {blocking.internet.laptop.holder.pid}; "
                                 "ip addr add 172.20.10.1/24 dev tether; ip link set tether up"], check=True)
    root(blocking, "ip addr add 172.20.10.2/24 dev usb0; ip link set usb0 up; ip route add 203.0.113.0/24 via 172.20.10.1; "
         "ip route add 149.154.160.0/20 via 172.20.10.1; echo nameserver 172.20.10.1 >/etc/resolv.conf")
    assert_usual(blocking)
    root(blocking, f"ip link del usb0; echo nameserver {net.WORLD4} >/etc/resolv.conf")


def test_firewall_of_the_laptop(blocking):
    """A strict one, as ufw and firewalld write them, lets the agent's answers in; that it is taken away harms nobody."""
    root(blocking, """nft -f - <<END
table inet firewall {
  chain input { type filter hook input priority 0; policy drop; iif lo accept; ct state established,related accept; icmpv6 type != echo-request accept; }
  chain raw { type filter hook prerouting priority raw; fib saddr . mark . iif oif missing drop; }
  chain output { type filter hook output priority 10; ct state invalid drop; }
  chain forward { type filter hook forward priority 0; policy drop; }
}
END
for i in all lo eth0; do echo 1 >/proc/sys/net/ipv4/conf/$i/rp_filter; done""")
    try:
        assert_usual(blocking)
        blocking.agent.policy({"teams": "allow", "slack": "allow"})
        assert_usual(blocking)
    finally:
        root(blocking, "nft delete table inet firewall; for i in all lo eth0; do echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter; done")
