# SPDX-License-Identifier: GPL-3.0-or-later
"""The fake internet itself: what the other tests take for granted."""
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from dnslib import DNSRecord

import world
from harness import Employee
from internet import LAPTOP4, WORLD4, Internet, cgroup2_root, wait_for


@pytest.fixture(scope="module")
def anna(internet):
    return Employee(internet, "anna")


def test_every_name_has_its_own_addresses():
    assert world.addresses("example.com") == world.addresses("EXAMPLE.com.") != world.addresses("example.net")
    shared = {world.addresses(n) for n in ("web.whatsapp.com", "discord.com", "gateway.discord.com", "www.example.org")}
    assert shared == {(world.SHARED4, world.SHARED6)}
    assert world.addresses("core.telegram.org")[0].startswith("149.154.167.")


@pytest.mark.parametrize("server", [WORLD4, "8.8.8.8", "2001:db8::53"])
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_resolver(anna, needs, server, transport):
    needs("dig")
    for kind, expected in (("A", "149.154.167.99"), ("AAAA", "2001:67c:4e8:f004::9"), ("HTTPS", "")):
        r = anna.run(["dig", "+short", transport, f"@{server}", "telegram.org", kind])
        assert (r.returncode, r.stdout.strip()) == (0, expected)


def test_resolver_survives_garbage(internet, anna):
    for i in range(50):
        anna.internet.laptop.run(["/usr/bin/python3", "-c", f"import socket,os;socket.socket(2,2).sendto(os.urandom({i}),('{WORLD4}',53))"],
                                 user="anna")
    query = DNSRecord.question("t.me").pack()
    r = anna.python(f"""
s = socket.create_connection(("{WORLD4}", 53))
q = bytes.fromhex("{query.hex()}")
s.sendall(2 * (struct.pack("!H", len(q)) + q))  # two in one write
f = s.makefile("rb")
result = [f.read(*struct.unpack("!H", f.read(2))).hex() for _ in range(2)]""")
    assert [str(DNSRecord.parse(bytes.fromhex(x)).a.rdata) for x in r] == ["149.154.167.98"] * 2


@pytest.mark.parametrize("args", [["-4"], ["-6"], ["--http1.1"], ["--http2"]])
def test_https_for_every_name(internet, anna, args):
    status, _, text = anna.curl("https://some.where.example/path", *args)
    assert status == 0 and "this is some.where.example/path" in text
    assert internet.seen("tls", name="some.where.example", port=443)
    assert internet.seen("http", name="some.where.example", path="/path")


def test_https_on_odd_port_and_address(internet, anna):
    assert anna.curl("https://odd.example:8883/")[0] == 0
    assert internet.seen("tls", name="odd.example", port=8883)
    assert anna.curl("https://203.0.113.9/")[0] == 0
    assert internet.seen("tcp", address="203.0.113.9", port=443)


def test_plain_http_and_size(anna):
    assert "this is plain.example" in anna.curl("http://plain.example/")[2]
    for protocol in ("--http1.1", "--http2"):
        r = anna.run(["sh", "-c", f"curl -sS {protocol} https://big.example/bytes/3000000 | wc -c"])
        assert r.stdout.strip() == "3000000"


def test_shared_address(internet, anna):
    for name in ("web.whatsapp.com", "www.example.org"):
        assert anna.curl(f"https://{name}/")[0] == 0
        assert internet.seen("tls", name=name, address=world.SHARED4) or internet.seen("tls", name=name, address=world.SHARED6)


def test_udp_echo(anna):
    r = anna.python('result = [attempt(connect, a, 5555, socket.SOCK_DGRAM) for a in ("203.0.113.5", "2001:db8::5")]')
    assert [x["value"] for x in r] == [b"\xefhello".hex()] * 2


def test_employee_is_somebody(internet, anna):
    r = anna.run(["sh", "-c", "id -un; hostname; cd && pwd; cat /proc/self/cgroup | grep ^0:; touch f"])
    assert r.stdout.split() == ["anna", "laptop", str(anna.home), "0::" + internet.laptop.cgroup.removeprefix(cgroup2_root())]
    assert os.stat(anna.home / "f").st_uid == anna.uid


def test_host_is_untouched(internet):
    for host_file in ("/etc/passwd", "/etc/resolv.conf"):
        assert "onchannel-test" not in pathlib.Path(host_file).read_text()
    mounts = pathlib.Path("/proc/self/mountinfo").read_text()
    assert internet.base not in mounts
    host = subprocess.run(["ip", "-br", "address"], capture_output=True, text=True, check=True).stdout
    assert LAPTOP4 not in host and WORLD4 not in host


def test_instances_side_by_side(internet):
    with Internet() as other:
        assert other.base != internet.base
        somebody = Employee(other, "ben")
        assert somebody.curl("https://only.here.example/")[0] == 0
        assert other.seen("tls", name="only.here.example") and not internet.seen("tls", name="only.here.example")
        base, cgroup = other.base, other.cgroup
    assert not os.path.exists(base) and not os.path.exists(cgroup)


def test_what_a_killed_runner_leaves_is_swept():
    script = "import internet, sys, time\ni = internet.Internet()\ni.laptop.popen(['sh', '-c', 'sleep 1000 & wait'])\n" \
             "print(i.base, i.cgroup, flush=True)\ntime.sleep(1000)"
    runner = subprocess.Popen([sys.executable, "-c", script], cwd=pathlib.Path(__file__).parent, stdout=subprocess.PIPE, text=True)
    base, cgroup = runner.stdout.readline().split()
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    runner.stdout.close()
    assert os.path.exists(base) and os.path.exists(cgroup)
    with Internet():
        assert not os.path.exists(base) and not os.path.exists(cgroup)


def test_the_world_logs_in_order(internet, anna):
    start = time.monotonic()
    anna.curl("https://first.example/")
    anna.curl("https://second.example/")
    assert [r["name"] for r in internet.seen("http", since=start)] == ["first.example", "second.example"]
    assert not internet.seen("http", since=time.monotonic())
    wait_for(lambda: internet.seen("dns", name="first.example", type="A"), 1)
