# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that belong to one channel alone. What must be seen: layer connect, tier address."""
import subprocess
import time

import pytest

import world
from harness import FAST_MS, SLOW, assert_row
from internet import wait_for

CONNECT = "result = attempt(connect, sys.argv[1], int(sys.argv[2]))"
SEND = "result = attempt(connect, sys.argv[1], int(sys.argv[2]), socket.SOCK_DGRAM)"


def assert_refused(result):
    assert result["error"] in ("ECONNREFUSED", "EACCES", "EPERM", "EHOSTUNREACH", "ECONNRESET"), result
    assert result["ms"] < FAST_MS, result


@pytest.mark.parametrize("address,port", [
    ("149.154.167.50", "443"), ("91.108.56.130", "443"), ("2001:67c:4e8:f002::a", "443"), ("2001:b28:f23d:f001::a", "80"),
    ("149.154.167.54", "80"), ("149.154.167.55", "5222")])
@pytest.mark.evasion(13, "connect, v4 and v6", "connect")
def test_exclusive_prefix(blocking, employee, address, port):
    start = time.monotonic()
    assert_refused(employee.python(CONNECT, address, port))
    row, = blocking.violations(employee)
    assert_row(row, channel="telegram", channel_name="Telegram", tier="address", layer="connect", verdict="block",
               user=employee.name, uid=employee.uid, program="/usr/bin/python3", policy_serial=blocking.serial, remote=address,
               port=int(port), **{"class": "use"})
    assert row["entry"].startswith("prefix ")
    assert not blocking.internet.seen("tcp", since=start, address=address)


@pytest.mark.parametrize("address", ["149.154.167.51", "2001:67c:4e8:f002::b"])
@pytest.mark.evasion(13, "UDP", "connect")
def test_udp(blocking, employee, address):
    r = employee.python(SEND, address, "443")
    assert r["value"] is None and r["error"] != "TimeoutError" and r["ms"] < FAST_MS, r
    row, = blocking.violations(employee)
    assert_row(row, channel="telegram", layer="connect", tier="address", remote=address)


@pytest.mark.evasion(13, "UDP", "sendmsg")
def test_udp_unconnected(blocking, employee):
    r = employee.python("""
def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.sendto(b"hello", ("149.154.167.52", 443))
        return s.recv(100).hex()
result = attempt(send)""")
    assert r["value"] is None
    row, = blocking.violations(employee)
    assert_row(row, channel="telegram", layer="connect", remote="149.154.167.52")


@pytest.mark.evasion(13, "IPv4-mapped IPv6", "connect")
def test_mapped_address(blocking, employee):
    assert_refused(employee.python(CONNECT, "::ffff:149.154.167.53", "443"))
    row, = blocking.violations(employee)
    assert_row(row, channel="telegram", layer="connect", tier="address")


@pytest.mark.parametrize("address", ["149.154.159.255", "149.154.176.0", world.SHARED4, world.SHARED6, "198.18.0.1"])
@pytest.mark.evasion(14, "one outside the prefix; a shared address", "connect prefix")
def test_neighbours_pass(blocking, employee, address):
    assert employee.python(CONNECT, address, "443")["error"] is None
    assert blocking.violations(employee) == []


def test_approved_pass_unrecorded(allowing, employee):
    for address in ("149.154.167.50", "2001:67c:4e8:f002::a"):
        assert employee.python(CONNECT, address, "443")["error"] is None
        wait_for(lambda a=address: allowing.internet.seen("tcp", address=a, port=443), 5 * SLOW, "the connection at the server")
        assert employee.python(SEND, address, "443")["value"]
    assert allowing.violations(employee) == []


def test_exempt_user(station, employee):
    other = station.employee()
    station.agent.policy(extra=f"\n[group desk]\nuser = {employee.name}\n\n[channel telegram]\nverdict = allow\ngroup = desk\n")
    assert employee.python(CONNECT, "149.154.167.50", "443")["error"] is None
    assert_refused(other.python(CONNECT, "149.154.167.50", "443"))
    assert len(station.violations(other)) == 1


def test_watched_passes_and_is_recorded(station, employee):
    station.agent.policy({"telegram": "watch"})
    assert employee.python(CONNECT, "149.154.167.50", "443")["error"] is None
    row, = station.violations(employee)
    assert_row(row, channel="telegram", layer="connect", outcome="passed", verdict="watch")


@pytest.mark.evasion(20, "open connection to an address", "walk")
def test_open_connection_ends_when_the_policy_turns(allowing, employee):
    """EVASION 20: what was open when the channel was approved ends within a second."""
    r = None
    process = employee.popen(["/usr/bin/python3", "-c", """
import socket, time
s = socket.create_connection(("149.154.167.60", 443))
s.settimeout(0.05)
print("open", flush=True)
end = time.monotonic() + 20
while time.monotonic() < end:
    try:
        s.send(b"\\xef")
        s.recv(10)
    except TimeoutError:
        continue
    except OSError as e:
        print(type(e).__name__, flush=True)
        break
"""], stdout=-1, text=True)
    with process:
        assert process.stdout.readline() == "open\n"
        allowing.agent.policy()
        turned = time.monotonic()
        r = process.stdout.readline().strip()
        took = time.monotonic() - turned
        process.wait(20)
    assert r in ("ConnectionResetError", "ConnectionRefusedError", "ConnectionAbortedError", "BrokenPipeError", "PermissionError"), r
    assert took < 1 * max(1, FAST_MS / 500)


def test_watched_by_the_name_that_was_asked_for(station, employee):
    """Under `watch` a connection to an address that many share is whose the process was told it is; nobody else's is."""
    station.agent.policy({"whatsapp": "watch"})
    told, other = employee, station.employee()
    ask = 'result = [attempt(connect, socket.getaddrinfo({!r}, 443, family=f)[0][4][0], 4444)["error"] for f in (socket.AF_INET, socket.AF_INET6)]'
    assert told.python(ask.format("web.whatsapp.com")) == [None, None]
    assert other.python(ask.format("innocent.shop.example")) == [None, None]
    rows = {r["layer"]: r for r in station.violations(told)}
    assert set(rows) == {"dns", "connect"}, rows
    assert_row(rows["connect"], channel="whatsapp", tier="name", verdict="watch", outcome="passed", port=4444, entry="suffix whatsapp.com")
    assert station.collector.violations(user=other.name) == []
    # the same process hears of both names: the last one counts
    again = station.employee()
    code = 'import socket as s; s.getaddrinfo("web.whatsapp.com", 443); s.getaddrinfo("innocent.shop.example", 443)\n'
    assert again.python(code + ask.format("innocent.shop.example")) == [None, None]
    assert {r["layer"] for r in station.violations(again)} == {"dns"}


def test_what_was_asked_for_blocks_no_address(blocking, employee):
    station = blocking
    station.agent.policy({"whatsapp": "watch"})
    process = employee.popen(["/usr/bin/python3", "-c", """
import socket, sys
address = socket.getaddrinfo("web.whatsapp.com", 443, family=socket.AF_INET)[0][4][0]
print("told", flush=True)
sys.stdin.readline()
socket.create_connection((address, 4444)).close()
print("connected", flush=True)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "told\n"
        station.agent.policy({"teams": "allow"})
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "connected\n"
    assert {r["layer"] for r in station.violations(employee)} == {"dns"}
