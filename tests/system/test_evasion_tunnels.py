# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 15 and 22: encrypted DNS, and tunnels: by the catalogue's names, addresses and programs, and by the tools themselves."""
import pathlib
import re
import shutil
import subprocess
import time

import pytest

import internet as net
import world
from harness import FAST_MS, SLOW, TREE, assert_row, policy_text
from internet import wait_for
from test_dns import SEND, query
from test_evasion_tls import CLIENT
from test_exec import install

BYPASS = ("tunnel", "anonymiser", "relay")
CHANNELS = {f.stem: f.read_text() for f in sorted((TREE / "rules/channels").glob("*.ini"))}
TUNNELS = {c: t for c, t in CHANNELS.items() if re.search(r"(?m)^category *= *(\S+)$", t).group(1) in BYPASS}


def entries(text, section, kinds):
    """Values of a section's entries of these kinds."""
    part = re.search(rf"(?ms)^\[{section}\]$(.*?)(?=^\[|\Z)", text)
    return [v for k, v in re.findall(r"(?m)^(\w+) *= *(.+)$", part.group(1)) if k in kinds] if part else []


def of_tunnels(section, kinds):
    """entry: channel, of every such entry of a tunnel."""
    return {entry: c for c, text in TUNNELS.items() for entry in entries(text, section, kinds)}


def allowing_tunnels(station, *more):
    station.agent.policy(dict.fromkeys([*TUNNELS, *more], "allow"))


DOH = entries(CHANNELS["encrypted-dns"], "names", ("suffix", "exact"))
LOOK_UP = """
def look_up(name):
    return len(socket.getaddrinfo(name, 443, family=socket.AF_INET))
result = {n: attempt(look_up, n) for n in sys.argv[1:]}
"""
HELLO = CLIENT + """
def say(name):
    # as much of a session as shows that the server has the hello
    with socket.create_connection((ADDRESS, 443), timeout=5) as s:
        s.sendall(begin(name)[2].read())
        if not s.recv(100):
            raise ConnectionResetError(errno.ECONNRESET, "closed")
result = {n: attempt(say, n) for n in sys.argv[1:]}
"""


@pytest.mark.evasion(15, "every DoH server of the catalogue, by name, in hellos, by address", "egress connect")
def test_row_15_servers(blocking, employee):
    assert len(DOH) > 100
    since = time.monotonic()
    for code in (LOOK_UP, HELLO):
        results = employee.python(code, *DOH, timeout=120)
        assert not {n: r for n, r in results.items() if not r["error"] or r["error"] == "TimeoutError" or r["ms"] > FAST_MS}
    address = entries(CHANNELS["encrypted-dns"], "addresses", ("prefix",))[0].partition("/")[0]
    assert employee.python('result = attempt(connect, sys.argv[1], 443)', address)["error"]
    rows = blocking.violations(employee)
    assert {(r["channel"], r["class"], r["layer"], r["tier"]) for r in rows} == {
        ("encrypted-dns", "bypass", "dns", "name"), ("encrypted-dns", "bypass", "tls", "name"), ("encrypted-dns", "bypass", "connect", "address")}
    assert not [x for kind in ("dns", "tls") for x in blocking.internet.seen(kind, since=since) if x["name"] in DOH]


@pytest.mark.evasion(15, "every DoH server of the catalogue, by name, in hellos, by address", "egress connect")
def test_row_15_servers_when_approved(station, employee):
    station.agent.policy({"encrypted-dns": "allow"})
    for code in (LOOK_UP, HELLO):
        results = employee.python(code, *DOH, timeout=120)
        assert not {n: r for n, r in results.items() if r["error"]}
    assert station.violations(employee) == []


@pytest.mark.evasion(22, "every tunnel of the catalogue, by its names and by its programs", "egress exec")
def test_row_22_catalogue(blocking, employee):
    names, programs = of_tunnels("names", ("suffix", "exact")), of_tunnels("programs", ("name",))
    assert len(set(names.values())) > 40 and len(set(programs.values())) > 40
    assert {"tailscale", "tor", "psiphon"} <= {*names.values(), *programs.values()}
    results = employee.python(LOOK_UP, *names, timeout=60)
    assert not {n: r for n, r in results.items() if not r["error"] or r["ms"] > FAST_MS}
    other = blocking.employee()
    assert not [p for p in programs if other.run(["sh", "-c", '"$0"', install(other, p, "/usr/bin/true")]).returncode == 0]
    for person, layer, channels in ((employee, "dns", names), (other, "exec", programs)):
        rows = blocking.violations(person)
        assert {r["channel"] for r in rows} == set(channels.values())
        assert {(r["layer"], r["class"]) for r in rows} == {(layer, "bypass")}


@pytest.mark.evasion(22, "every tunnel of the catalogue, by its names and by its programs", "egress exec")
def test_row_22_catalogue_when_approved(station, employee):
    allowing_tunnels(station)
    names, programs = of_tunnels("names", ("suffix", "exact")), of_tunnels("programs", ("name",))
    assert not {n: r for n, r in employee.python(LOOK_UP, *names, timeout=60).items() if r["error"]}
    assert not [name for name in programs if employee.run([install(employee, name, "/usr/bin/true")]).returncode]
    assert station.violations(employee) == []


TOOLS = {  # what tools of Debian's do with the name of a service's server: command, name, channel
    "openvpn": (r"printf 'u\np\n' >auth; chmod 600 auth; exec openvpn --client --dev null --nobind --remote us8471.nordvpn.com 1194 --proto udp"
                " --ca /etc/ssl/certs/ca-certificates.crt --auth-user-pass auth --resolv-retry 0 --connect-retry-max 1", "us8471.nordvpn.com", "nordvpn"),
    "wg": (f"WG_ENDPOINT_RESOLUTION_RETRIES=0 exec wg set wg0 peer {'x' * 42}8= endpoint se-got-wg-001.relays.mullvad.net:51820",
           "se-got-wg-001.relays.mullvad.net", "mullvad"),
    "ssh": ("exec ssh -o StrictHostKeyChecking=no -R 80:localhost:80 nokey@localhost.run", "localhost.run", "localhost-run"),
}


def use(person, command):
    """A tool would wait for its server."""
    person.run(["timeout", "2", "sh", "-c", command], timeout=60 * SLOW)


@pytest.mark.evasion(22, "OpenVPN, WireGuard, SSH to a service", "egress")
@pytest.mark.parametrize("tool", TOOLS)
def test_row_22_tools(blocking, employee, needs, tool):
    command, name, channel = TOOLS[tool]
    needs(tool)
    since = time.monotonic()
    use(employee, command)
    row, = blocking.violations(employee)
    assert_row(row, channel=channel, layer="dns", tier="name", **{"class": "bypass"})
    assert not blocking.internet.seen("dns", since=since, name=name)


@pytest.mark.evasion(22, "OpenVPN, WireGuard, SSH to a service", "egress")
@pytest.mark.parametrize("tool", TOOLS)
def test_row_22_tools_when_approved(station, employee, needs, tool):
    command, name, _ = TOOLS[tool]
    needs(tool)
    allowing_tunnels(station)
    since = time.monotonic()
    use(employee, command)
    assert station.internet.seen("dns", since=since, name=name)
    assert station.violations(employee) == []


TUNNEL_CLIENT, THROUGH = "10.99.0.2", "198.18.99.99"


@pytest.fixture(scope="module")
def tunnel(station):
    """OpenVPN to a server of somebody's own: packets to the shared address, to Telegram's and to a resolver go through it."""
    base = pathlib.Path(station.internet.base)
    subprocess.run(["openvpn", "--genkey", "secret", base / "vpn-key"], check=True, stdout=subprocess.DEVNULL)
    common = ["openvpn", "--dev", "tun", "--proto", "udp", "--secret", base / "vpn-key", "--cipher", "AES-256-CBC", "--auth", "SHA256"]
    server = [*common, "--port", "1194", "--ifconfig", "10.99.0.1", TUNNEL_CLIENT]
    client = [*common, "--nobind", "--remote", net.WORLD4, "1194", "--ifconfig", TUNNEL_CLIENT, "10.99.0.1"]
    for address in (world.SHARED4, "149.154.167.70", THROUGH):
        client += ["--route", address]
    station.internet.world.run(["nft", "insert", "rule", "inet", "world", "prerouting", "udp", "dport", "1194", "accept"], check=True)
    running = []
    for place, argv, name in ((station.internet.world, server, "server"), (station.internet.laptop, client, "client")):
        with open(base / f"vpn-{name}.log", "w") as log:
            running.append(place.popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    wait_for(lambda: any(p.poll() is not None for p in running) or
             "tun" in station.internet.laptop.run(["ip", "route", "get", THROUGH]).stdout, 20 * SLOW, "OpenVPN")
    assert not any(p.poll() is not None for p in running), (base / "vpn-client.log").read_text() + (base / "vpn-server.log").read_text()
    yield
    for process in running:
        process.kill()
        process.wait()


ANY_WAY = SEND + CLIENT + f"""
result = {{"dns": attempt(send, {query("web.whatsapp.com")!r}, "{THROUGH}"), "tls": attempt(handshake, "web.whatsapp.com", in_writes(1 << 20)),
          "connect": attempt(connect, "149.154.167.70", 443), "innocent": attempt(handshake, "www.example.org", in_writes(1 << 20)),
          "lookup": attempt(send, {query("www.example.org")!r}, "{THROUGH}")}}
"""


@pytest.mark.evasion(22, "OpenVPN to a server of one's own", "egress connect")
def test_row_22_through_openvpn(blocking, employee, needs, tunnel):
    """What goes into the tunnel is seen before it does, by name and address; work through it goes on."""
    since, r = time.monotonic(), employee.python(ANY_WAY)
    assert r.pop("innocent")["error"] is None and r.pop("lookup")["error"] is None
    assert {x["client"] for x in blocking.internet.seen("tls", since=since, name="www.example.org")} == {TUNNEL_CLIENT}, "not through the tunnel"
    assert not {k: v for k, v in r.items() if not v["error"] or v["ms"] > FAST_MS}
    rows = {row["layer"]: row for row in blocking.violations(employee)}
    assert {layer: (row["channel"], row["class"]) for layer, row in rows.items()} == {
        "dns": ("whatsapp", "use"), "tls": ("whatsapp", "use"), "connect": ("telegram", "use")}
    assert not [x for kind in ("dns", "tls") for x in blocking.internet.seen(kind, since=since, name="web.whatsapp.com")]


@pytest.mark.evasion(22, "OpenVPN to a server of one's own", "egress connect")
def test_row_22_through_openvpn_when_approved(allowing, employee, needs, tunnel):
    assert not {k: v for k, v in employee.python(ANY_WAY).items() if v["error"]}
    assert allowing.violations(employee) == []


OWN = """[channel]
id = own-tunnels
name = Tunnels of one's own
vendor = Example Bank
category = tunnel
homepage = https://intranet.example/vpn
checked = 2026-11-21
source = https://intranet.example/vpn

[programs]
name = openvpn
name = wg
"""


@pytest.mark.evasion(22, "a VPN's tools, where the organisation lists them", "exec")
def test_row_22_tools_of_an_own_channel(blocking, employee, needs, tmp_path):
    """The catalogue leaves them alone, since work needs them; a channel of the organisation's own need not."""
    needs("openvpn", "wg")
    assert employee.run(["openvpn", "--version"]).returncode in (0, 1) and employee.run(["wg", "--version"]).returncode == 0
    own, plain, agent = tmp_path / "own", tmp_path / "plain.ini", blocking.agent
    own.mkdir()
    (own / "own-tunnels.ini").write_text(OWN)
    agent.serial += 1
    plain.write_text(policy_text(serial=agent.serial))
    blocking.desk.cli("policy", "sign", plain, "--key", "policy.key", "--channels", own, "-o", tmp_path / "policy.bundle")
    agent.cli("policy", "install", tmp_path / "policy.bundle", check=True)
    wait_for(lambda: agent.status()["policy"]["serial"] == agent.serial, 10 * SLOW, "the policy")
    for tool in ("openvpn", "wg"):
        assert employee.run(["sh", "-c", f"{tool} --version; exit $?"]).returncode in (126, 128 + 9)
    rows = blocking.violations(employee)
    assert {(r["channel"], r["class"], r["layer"]) for r in rows} == {("own-tunnels", "bypass", "exec")}


@pytest.fixture(scope="module")
def ssh_server(station):
    """An SSH server of somebody's own, elsewhere in the world, that lets one key in; the port."""
    base, port = pathlib.Path(station.internet.base) / "ssh", 2222
    base.mkdir()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", base / key], check=True)
    (base / "authorized").write_text((base / "user.pub").read_text())
    (base / "config").write_text(f"Port {port}\nHostKey {base}/host\nAuthorizedKeysFile {base}/authorized\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n")
    (base / "hosts").write_text("127.0.0.1 localhost www.example.org web.whatsapp.com\n")  # where the world serves them
    elsewhere = station.internet.world
    elsewhere.run(["nft", "-f", "-"], check=True, input=f"""
insert rule inet world prerouting tcp dport {port} accept
table inet ssh {{ chain output {{ type nat hook output priority -100;
  ip daddr 127.0.0.1 tcp dport 443 redirect to :{world.ANY_PORT}
}}; }}""")
    process = elsewhere.popen(["unshare", "-m", "sh", "-ec", f"mount -t tmpfs run /run; mkdir /run/sshd; mount --bind {base}/hosts /etc/hosts;"
                               f"exec /usr/sbin/sshd -D -e -f {base}/config"], stdin=subprocess.DEVNULL, stderr=open(f"{base}.log", "w"))
    yield base / "user", port
    process.kill()
    process.wait()


@pytest.fixture
def ssh_d(station, employee, ssh_server):
    """`ssh -D` of the employee's to it; the port of its SOCKS proxy."""
    key, port = ssh_server
    own = employee.home / "key"
    shutil.copy(key, own)
    shutil.chown(own, employee.uid, employee.uid)
    own.chmod(0o600)
    process = employee.popen(["ssh", "-N", "-D", "1080", "-i", own, "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                              "root@home.example.org"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: process.poll() is not None or
             employee.python('result = attempt(lambda: socket.create_connection(("127.0.0.1", 1080)).close())["error"]') is None, 20 * SLOW, "ssh -D")
    assert process.poll() is None, process.stderr.read()
    yield 1080
    process.kill()
    process.wait()


@pytest.mark.evasion(22, "ssh -D to a server of one's own", "egress")
def test_row_22_ssh_d(blocking, employee, ssh_d):
    """What goes into the tunnel is seen before it does, by name; work through it goes on."""
    assert employee.curl("https://www.example.org/", "--socks5-hostname", f"127.0.0.1:{ssh_d}")[0] == 0
    start = time.monotonic()
    status, ms, text = employee.curl("https://web.whatsapp.com/", "--socks5-hostname", f"127.0.0.1:{ssh_d}")
    assert status in (7, 35, 52, 55, 56, 97) and ms < FAST_MS, (status, ms, text)
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="http", tier="name", program="/usr/bin/curl")
    assert not blocking.internet.seen("tls", since=start, name="web.whatsapp.com")


@pytest.mark.evasion(22, "ssh -D to a server of one's own", "egress")
def test_row_22_ssh_d_when_approved(allowing, employee, ssh_d):
    status, _, text = employee.curl("https://web.whatsapp.com/", "--socks5-hostname", f"127.0.0.1:{ssh_d}")
    assert status == 0, text
    assert allowing.violations(employee) == []
