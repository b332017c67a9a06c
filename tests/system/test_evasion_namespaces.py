# SPDX-License-Identifier: GPL-3.0-or-later
"""EVASION 21: inside a container or a namespace it must be seen as outside. Each kind of container runs
the same attempts, once blocked and once allowed."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

import internet as net
import world
from harness import FAST_MS, PRELUDE, SLOW, assert_row
from internet import wait_for
from test_dns import query
from test_evasion_quic import CLIENT
from test_evasion_running import ENDED, HOLD, ended, turn

NSPAWN = os.environ.get("ONCHANNEL_NSPAWN", "systemd-nspawn")  # need not be installed: `dpkg -x` is enough
TELEGRAM = "149.154.167.63"

PROBE = PRELUDE + """
def get(name, *args):
    return subprocess.run(["curl", "-sS", "-o", "/dev/null", "--max-time", "20", *args, f"https://{name}/"], stderr=subprocess.DEVNULL).returncode
def program(path):
    return subprocess.run([path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
def why(query):
    # what the answer says: its code and text
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        s.connect((open("/etc/resolv.conf").read().split()[1], 53))
        s.send(bytes.fromhex(query))
        answer = s.recv(4096)
        return [answer[3] & 15, answer[-60:].decode("ascii", "replace")]
def run(what, argument):
    return {
        "dns": lambda: get("web.whatsapp.com"),
        "why": lambda: why(argument),
        "tls": lambda: get("web.whatsapp.com", "--resolve", f"web.whatsapp.com:443:{argument}"),
        "connect": lambda: connect(argument, 443) or 0,
        "exec": lambda: program(argument),
        "innocent": lambda: get("www.example.org"),
    }[what]()
print(json.dumps({w: attempt(run, w, a) for w, a in zip(sys.argv[1::2], sys.argv[2::2])}), flush=True)
"""


class Container:
    """How to run a program of an employee's in it: argv -> argv, started by root or the employee."""
    by_root = True

    def __init__(self, internet, employee):
        self.internet, self.employee = internet, employee
        self.base = pathlib.Path(internet.base)

    def probe(self, *attempts, **kw):
        argv = self.wrap(["/usr/bin/python3", "-c", PROBE, *(str(a) for pair in attempts for a in pair)])
        place = self.internet.laptop if self.by_root else self.employee
        r = place.run(argv, timeout=90 * SLOW, env=self.environment(), **kw)
        assert r.returncode == 0, r.stderr + r.stdout
        return json.loads(r.stdout.strip().splitlines()[-1])

    def environment(self):
        return net.environment()

    def as_employee(self):
        return ["setpriv", "--reuid", str(self.employee.uid), "--regid", str(self.employee.uid), "--clear-groups", "--"]

    def close(self):
        pass


class Netns(Container):
    """`unshare -n`, with a cable of its own to the world."""
    start = ["unshare", "--net"]

    def __init__(self, internet, employee):
        super().__init__(internet, employee)
        place = employee if "--user" in self.start else internet.laptop
        self.holder = place.popen([*self.start, "sleep", "infinity"], stdin=subprocess.DEVNULL)
        own = os.readlink(f"/proc/{internet.laptop.holder.pid}/ns/net")
        wait_for(lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != own, 5, "the namespace")
        self.connect()

    def inside(self, commands):
        self.internet.laptop.run(["nsenter", "-t", str(self.holder.pid), "-n", "ip", "-batch", "-"], input=commands, check=True)

    def connect(self):
        self.internet.world.run(["ip", "-batch", "-"], check=True, input=f"""
link add cable{self.holder.pid} type veth peer name eth0 netns {self.holder.pid}
addr add 192.168.78.1/24 dev cable{self.holder.pid}
link set cable{self.holder.pid} up
""")
        self.inside("link set lo up\naddr add 192.168.78.2/24 dev eth0\nlink set eth0 up\nroute add default via 192.168.78.1\n"
                    f"route add {net.WORLD4} via 192.168.78.1\n")

    def wrap(self, argv):
        return ["nsenter", "-t", str(self.holder.pid), "-n", *self.as_employee(), *argv]

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Bridge(Netns):
    """As Docker does it: a bridge on the laptop, NAT, its packets pass the laptop's forward chain."""

    def connect(self):
        name = f"br{self.holder.pid}"[:15]
        self.internet.laptop.run(["sh", "-ec", "echo 1 >/proc/sys/net/ipv4/ip_forward"], check=True)
        self.internet.laptop.run(["ip", "-batch", "-"], check=True, input=f"""
link add {name} type bridge
addr add 172.17.0.1/16 dev {name}
link set {name} up
link add c{self.holder.pid} type veth peer name eth0 netns {self.holder.pid}
link set c{self.holder.pid} master {name} up
""")
        self.internet.laptop.run(["nft", "-f", "-"], check=True, input="""
table ip docker { chain nat { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname "eth0" masquerade; }; }
""")
        self.inside("link set lo up\naddr add 172.17.0.2/16 dev eth0\nlink set eth0 up\nroute add default via 172.17.0.1\n")
        self.bridge = name

    def close(self):
        super().close()
        self.internet.laptop.run(["ip", "link", "del", self.bridge], check=True)
        self.internet.laptop.run(["nft", "delete", "table", "ip", "docker"], check=True)


class Bwrap(Container):
    by_root = False

    def wrap(self, argv):
        return ["bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-user", "--unshare-pid", "--unshare-ipc",
                "--uid", "0", "--gid", "0", *argv]


class Chroot(Container):

    def wrap(self, argv):
        root = self.base / "chroot"
        root.mkdir(exist_ok=True)
        return ["unshare", "-m", "sh", "-ec", 'mount --rbind / "$0"; exec chroot "$0" "$@"', str(root), *self.as_employee(), *argv]


def make_root(folder, owner=None):
    """A root that borrows /usr and /etc by bind mounts."""
    folder.mkdir(mode=0o755)
    for d in ("usr", "etc", "proc", "sys", "dev", "run", "tmp", "home", "var", "root"):
        (folder / d).mkdir(mode=0o755)
    for link in ("bin", "sbin", "lib", "lib64"):
        os.symlink(f"usr/{link}", folder / link)
    if owner is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner, owner, follow_symlinks=False)
    return folder


class Nspawn(Container):

    def wrap(self, argv):
        root = self.base / "nspawn"
        if not root.exists():
            make_root(root)
            (root / "usr/lib").mkdir()
        home = self.employee.home
        return [NSPAWN, "-q", "-D", str(root), "--register=no", "--keep-unit", "--bind-ro=/usr", "--bind-ro=/etc", "--bind", str(home),
                "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe", f"--uuid={'1' * 32}", "--pipe", "--",
                *self.as_employee(), *argv]

    def environment(self):
        return net.environment(SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1")


def provide_tun(internet):
    """/dev/net/tun as on any desktop: for everyone."""
    node = f"{internet.base}/tun"
    if not os.path.exists(node):
        internet.laptop.run(["sh", "-ec", f"mknod -m 666 {node} c 10 200; mount --bind {node} /dev/net/tun"], check=True)


class Pasta(Container):
    by_root = False

    def __init__(self, internet, employee):
        super().__init__(internet, employee)
        provide_tun(internet)

    def wrap(self, argv):
        return ["pasta", "--config-net", "--no-map-gw", "--quiet", "--", *argv]


class Slirp(Pasta):
    """slirp4netns by hand, without a container around it."""
    script = """
unshare --user --map-root-user --net sh -c 'until ip route 2>/dev/null | grep -q default; do sleep 0.05; done; exec "$@"' sh "$@" &
inside=$!
until [ "$(readlink /proc/$inside/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
slirp4netns -c $inside tap0 >/dev/null 2>&1 &
wait $inside
r=$?
kill $!
exit $r
"""

    def wrap(self, argv):
        return ["sh", "-c", self.script, "sh", *argv]


class Podman(Container):
    """Rootless, with slirp4netns."""

    def __init__(self, internet, employee):
        super().__init__(internet, employee)
        provide_tun(internet)
        internet.laptop.run(["sh", "-ec", f"for f in /etc/subuid /etc/subgid; do echo {employee.name}:{1000000 + employee.uid * 65536}:65536 >>$f; done"],
                            check=True)
        self.run = employee.home / "run"
        self.run.mkdir(mode=0o700)
        os.chown(self.run, employee.uid, employee.uid)
        self.root = make_root(employee.home / "root", employee.uid)

    def wrap(self, argv):
        # crun wants cgroup v2 to be the only one: on a hybrid system it sees that alone
        return ["unshare", "-m", "sh", "-ec", 'mount --make-rshared /; mount --rbind "$0" /sys/fs/cgroup; exec "$@"', net.cgroup2_root(),
                *self.as_employee(), "podman", "--cgroup-manager=cgroupfs", "--events-backend=file", "run", "--rm", "--cgroups=disabled", "--network=slirp4netns",
                "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined", "-v", "/usr:/usr:ro", "-v", "/etc/ssl:/etc/ssl:ro",
                "-v", f"{self.employee.home}/bin:{self.employee.home}/bin:ro", "--rootfs", str(self.root), *argv]

    def environment(self):
        return net.environment(XDG_RUNTIME_DIR=str(self.run), HOME=str(self.employee.home), USER=self.employee.name)


CONTAINERS = {"unshare": (Netns, ["unshare", "nsenter"]), "bridge": (Bridge, ["unshare", "nsenter"]), "bwrap": (Bwrap, ["bwrap"]),
              "chroot": (Chroot, ["chroot"]), "nspawn": (Nspawn, [NSPAWN]), "pasta": (Pasta, ["pasta"]),
              "podman": (Podman, ["podman", "slirp4netns", "newuidmap", "crun"])}


@pytest.fixture(params=CONTAINERS)
def container(request, internet, employee, needs):
    kind, programs = CONTAINERS[request.param]
    needs(*programs)
    c = kind(internet, employee)
    try:
        yield c
    finally:
        c.close()


@contextlib.contextmanager
def messenger(employee):
    path = employee.home / "bin" / "signal-desktop"
    path.parent.mkdir(mode=0o755)
    shutil.copy("/usr/bin/true", path)
    employee.home.chmod(0o755)
    yield path


@pytest.mark.evasion(21, "unshare, bridge, bwrap, chroot, nspawn, pasta, rootless Podman", "egress connect prefix")
def test_21_blocked_as_outside(blocking, employee, container):
    with messenger(employee) as path:
        since = time.monotonic()
        r = container.probe(("dns", "-"), ("why", query("web.whatsapp.com", edns=True)), ("tls", world.SHARED4), ("connect", TELEGRAM),
                            ("exec", path), ("innocent", "-"))
    assert r["innocent"]["value"] == 0, r
    assert r["dns"]["value"] == 6 and r["dns"]["ms"] < 10 * FAST_MS, r
    assert r["why"]["error"] is None and r["why"]["ms"] < FAST_MS, r
    code, text = r["why"]["value"]
    assert code == 5 and text.endswith("This channel is not approved. Use Teams."), r
    assert r["tls"]["value"] in (35, 56) and r["tls"]["ms"] < 10 * FAST_MS, r
    assert r["connect"]["error"] and r["connect"]["ms"] < FAST_MS, r
    assert r["exec"]["error"] == "EPERM" or r["exec"]["value"] == -9, r
    assert not blocking.internet.seen("tcp", since=since, address=TELEGRAM)
    assert blocking.internet.seen("tls", since=since, name="web.whatsapp.com") == [], (since, r, blocking.violations(employee))
    rows = {row["layer"]: row for row in blocking.violations(employee)}
    assert set(rows) == {"dns", "tls", "connect", "exec"}, rows
    assert_row(rows["dns"], channel="whatsapp", tier="name", uid=employee.uid)
    assert_row(rows["tls"], channel="whatsapp", tier="name", uid=employee.uid, remote=world.SHARED4, outcome="reset")
    assert_row(rows["connect"], channel="telegram", tier="address", uid=employee.uid, remote=TELEGRAM)
    assert_row(rows["exec"], channel="signal", tier="program", uid=employee.uid)


@pytest.mark.evasion(21, "unshare, bridge, bwrap, chroot, nspawn, pasta, rootless Podman", "egress connect prefix")
def test_21_allowed_as_outside(allowing, employee, container):
    with messenger(employee) as path:
        r = container.probe(("dns", "-"), ("tls", world.SHARED4), ("connect", TELEGRAM), ("exec", path))
    assert {k: v["value"] for k, v in r.items()} == {"dns": 0, "tls": 0, "connect": 0, "exec": 0}, r
    assert allowing.violations(employee) == []


class UserNetns(Netns):
    """The same of a user namespace in which the employee is whom they like: here root."""
    start = ["unshare", "--user", "--map-root-user", "--net"]

    def wrap(self, argv):
        return ["nsenter", "-t", str(self.holder.pid), "--user", "--net", "--preserve-credentials", *argv]


OWNER_FORGOTTEN = """
s = socket.create_connection((sys.argv[1], 443), 10)
for _ in range(60000):  # more than the agent keeps owners of
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.connect((sys.argv[1], 9))
def hello():
    with ssl._create_unverified_context().wrap_socket(s, server_hostname="web.whatsapp.com") as t:
        return t.version()
print(json.dumps(attempt(hello)))
"""


@pytest.mark.evasion(21, "a user namespace's uid is an exempt one's", "egress")
def test_21_whoever_one_is_in_a_namespace(allowing, employee):
    container = UserNetns(allowing.internet, employee)
    try:
        turn(allowing, extra="\n[group desk]\nuser = root\n\n[channel whatsapp]\nverdict = allow\ngroup = desk\n")
        since = time.monotonic()
        r = employee.run(container.wrap(["/usr/bin/python3", "-c", PRELUDE + OWNER_FORGOTTEN, world.SHARED4]), timeout=60 * SLOW)
        assert r.returncode == 0, r.stderr
        assert json.loads(r.stdout)["error"], r.stdout
    finally:
        container.close()
    assert not allowing.internet.seen("tls", since=since, name="web.whatsapp.com")
    row, = allowing.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", tier="name", uid=employee.uid, outcome="reset")


VRF = """
ip link add vrf0 type vrf table 10 && ip link set vrf0 up && ip link set eth0 master vrf0 && ip route add default via 192.168.78.1 table 10
for qdisc in noqueue pfifo; do
        tc qdisc replace dev vrf0 root $qdisc
        for name in web.whatsapp.com www.example.org; do
                curl -sS -m 20 -o /dev/null --interface vrf0 --resolve $name:443:ADDRESS https://$name/
                echo $?
        done
done
"""


@pytest.mark.lsm
@pytest.mark.evasion(21, "a virtual router of one's own (VRF), which sends packets twice", "egress")
def test_21_vrf(blocking, employee):
    """With a queue of its own its packets take another way through the kernel."""
    container, since = UserNetns(blocking.internet, employee), time.monotonic()
    try:
        r = employee.run(container.wrap(["sh", "-c", VRF.replace("ADDRESS", world.SHARED4)]), timeout=120 * SLOW)
    finally:
        container.close()
    codes = [int(x) for x in r.stdout.split()]
    assert len(codes) == 4 and codes[0] and codes[2] and codes[1] == codes[3] == 0, (r.stdout, r.stderr)
    assert not blocking.internet.seen("tls", since=since, name="web.whatsapp.com")
    assert {x["layer"] for x in blocking.violations(employee)} == {"tls"}


@pytest.mark.evasion(21, "QUIC", "egress")
def test_21_quic(blocking, employee, needs):
    """A hello that was held back goes on its way from within the namespace."""
    needs(*CONTAINERS["unshare"][1])
    container = Netns(blocking.internet, employee)
    try:
        code = PRELUDE + CLIENT + """
def talk(name):
    with client() as s:
        s.send(initial(crypto(hello(name)), dcid=os.urandom(8)))
        s.recv(2000)
print(json.dumps([attempt(talk, n) for n in ("www.example.org", "web.whatsapp.com")]))
"""
        r = blocking.internet.laptop.run(container.wrap(["/usr/bin/python3", "-c", code]), check=True)
    finally:
        container.close()
    innocent, blocked = json.loads(r.stdout)
    assert innocent["error"] is None and innocent["ms"] < FAST_MS and blocked["error"] == "ECONNABORTED", (innocent, blocked)
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="quic", tier="name")


@pytest.mark.evasion(21, "a virtual machine's packets", "prefix")
def test_21_forwarded_packets(blocking, employee, needs):
    """A guest whose programs nobody can see, a virtual machine: what passes through the laptop is stopped there by address."""
    needs(*CONTAINERS["bridge"][1])
    bridge = Bridge(blocking.internet, employee)
    try:
        r = bridge.probe(("connect", TELEGRAM), cgroup=False)["connect"]
        assert r["error"] and r["ms"] < FAST_MS, r
        r = bridge.probe(("connect", "203.0.113.82"), ("innocent", "-"), cgroup=False)
        assert r["connect"]["error"] is None and r["innocent"]["value"] == 0, r
    finally:
        bridge.close()


@pytest.mark.evasion(21, "open connection in another namespace", "walk")
def test_21_open_connection_ends_when_the_policy_turns(allowing, employee, needs):
    needs(*CONTAINERS["unshare"][1])
    container = Netns(allowing.internet, employee)
    try:
        process = allowing.internet.laptop.popen(container.wrap(["/usr/bin/python3", "-c", HOLD, TELEGRAM, "443", "tcp", ""]),
                                                 stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        with process:
            assert process.stdout.readline() == "open\n"
            assert ended(process, turn(allowing)) in ENDED
            process.kill()
    finally:
        container.close()
    row, = allowing.violations(employee)
    assert_row(row, channel="telegram", layer="connect", tier="address", remote=TELEGRAM, outcome="reset")
