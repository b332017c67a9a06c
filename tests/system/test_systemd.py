# SPDX-License-Identifier: GPL-3.0-or-later
"""The units as they are installed, under a real systemd: on the virtual machine itself, whose process 1 it is."""
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import ssl
import subprocess
import time

import pytest

import starts
from harness import SLOW, Collector, Desk, Programs, policy_text
from internet import COLLECTOR, WORLD4, wait_for
from test_evasion_lsm import EPERM

pytestmark = pytest.mark.skipif("ONCHANNEL_VM" not in os.environ, reason="it installs onto the machine itself: only in tests/vm")

AGENT, UPLINK = "onchannel.service", "onchannel-uplink.service"
CA = "/etc/onchannel/collector-ca.pem"
ETC, STATE, PINS = pathlib.Path("/etc/onchannel"), pathlib.Path("/var/lib/onchannel"), pathlib.Path("/sys/fs/bpf/onchannel")
NET = f"""
ip link add cable type dummy
ip addr add {WORLD4}/24 dev cable
ip link set cable up
ip route add default dev cable
echo {WORLD4} {COLLECTOR} >>/etc/hosts
echo nameserver {WORLD4} >/etc/resolv.conf
systemctl start systemd-journald
systemd-sysusers
systemd-tmpfiles --create
systemctl daemon-reload
"""


def run(*argv, check=True, user=None, **kw):
    kw = {"capture_output": True, "text": True, "timeout": 60 * SLOW, "stdin": subprocess.DEVNULL, **kw}
    r = subprocess.run([str(a) for a in argv], check=False, **kw)
    assert not check or r.returncode == 0, f"{argv}: exit {r.returncode}\n{r.stdout}\n{r.stderr}"
    return r


@contextlib.contextmanager
def drop_in(setting):
    """Of the agent's unit, for a while."""
    file = pathlib.Path(f"/run/systemd/system/{AGENT}.d/test.conf")
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(f"[Service]\n{setting}\n")
    run("systemctl", "daemon-reload")
    yield
    file.unlink()
    run("systemctl", "daemon-reload")


def denied(script):
    r = run("sh", "-c", script, check=False)
    assert r.returncode and re.search(EPERM, r.stderr), (script, r)


def shown(unit, what):
    return run("systemctl", "show", "-P", what, unit).stdout.strip()


@pytest.fixture(autouse=True)
def journal():
    """pytest shows it of a failed test: what the units said."""
    since = time.time()
    yield
    print(run("journalctl", "-u", "onchannel*", "-u", "other", "-o", "cat", f"--since=@{since:.0f}", check=False).stdout)


def started(pid):
    """When that process was started, so that another of the same number is told from it."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


class Here:
    """Where harness.Collector runs: on this machine, instead of in the fake internet's world."""

    def __init__(self, base):
        self.base, self.world = str(base), self

    def run(self, argv, check=False, **kw):
        return run(*argv, check=check, **kw)

    def popen(self, argv, user=None, **kw):
        return subprocess.Popen(argv, **kw)


class Machine:
    """The agent, its uplink and a collector, installed as an administrator would."""

    def __init__(self, base):
        base.chmod(0o755)
        run("sh", "-ec", NET)
        self.desk = Desk(Programs(base / "bin"), base / "desk")
        self.collector = Collector(Here(base), Programs(base / "bin-collector"))
        shutil.copytree(self.desk.folder / "keys", ETC / "keys", dirs_exist_ok=True)
        share = pathlib.Path("/usr/share/onchannel")
        share.mkdir()
        for suffix in ("", ".minisig"):
            shutil.copy(f"{self.desk.catalogue}{suffix}", share / f"catalogue.ini{suffix}")
        shutil.copy(self.collector.ca, CA)
        (ETC / "agent.ini").write_text(f"[collector]\nurl = https://{COLLECTOR}:8443\nca = {CA}\n")
        run("systemctl", "start", AGENT)
        self.serial = 0

    def status(self):
        return run("onchannel", "status").stdout

    def policy(self):
        self.serial += 1
        run("onchannel", "policy", "install", self.desk.sign(policy_text(serial=self.serial)))
        wait_for(lambda: f'"serial":{self.serial},' in run("onchannel", "status", "--json").stdout.replace(" ", ""), 10 * SLOW, "the policy in force")

    def close(self):
        run("systemctl", "stop", UPLINK, AGENT, check=False)
        run("onchanneld", "release", check=False)
        self.collector.stop()
        run("ip", "link", "del", "cable")


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    m = Machine(tmp_path_factory.mktemp("machine"))
    m.policy()
    yield m
    m.close()


def blocked(tmp_path):
    """By name, by address, by program."""
    assert "EDE: 17" in run("dig", "+tries=1", "+time=20", f"@{WORLD4}", "web.whatsapp.com", check=False).stdout
    assert stays_blocked(tmp_path)
    return True


def stays_blocked(tmp_path):
    """Also while no agent answers in the resolver's place."""
    assert run("curl", "-sS", "https://149.154.167.50/", check=False).returncode == 7
    program = tmp_path / "signal-desktop"
    shutil.copy("/usr/bin/true", program)
    with pytest.raises(PermissionError):
        run(program)
    return True


def test_systemd_start(machine, tmp_path):
    assert shown(AGENT, "ActiveState") == "active" and shown(AGENT, "StatusText") == ""
    assert "exec=lsm" in machine.status() and "defence=lsm" in machine.status()
    assert json.loads(run("onchannel", "status", "--json").stdout)["canary"]["result"] == "blocked"
    assert blocked(tmp_path)
    assert pathlib.Path(f"/sys/fs/cgroup{shown(AGENT, 'ControlGroup')}/cpu.weight").read_text() == "1000\n"
    journal = run("journalctl", "-u", AGENT, "-o", "cat").stdout
    assert "ready: exec=lsm" in journal and "stopped whatsapp: dropped (dns, name)" in journal and "dig" not in journal, journal
    assert not re.search("cannot|ignoring|failed", journal), journal


@pytest.fixture(scope="module")
def enrolled(machine):
    run("onchannel", "enrol", f"https://{COLLECTOR}:8443", "--token", machine.collector.token(), "--ca", CA)
    run("systemctl", "start", UPLINK)
    return machine


def test_systemd_uplink(enrolled):
    rows = wait_for(enrolled.collector.violations, 5 * SLOW, "violations at the collector")
    assert {r["user"] for r in rows} == {"root"} and {"dns", "connect", "exec"} >= {r["layer"] for r in rows}
    pid = shown(UPLINK, "MainPID")
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"CapBnd:\s+0{16}\n", text) and re.search(r"NoNewPrivs:\s+1\n", text) and re.search(r"Seccomp:\s+2\n", text), text
    assert pathlib.Path(f"/proc/{pid}").stat().st_uid != 0
    for path in ("/etc/onchannel/x", STATE / "spool/x", STATE / "x"):
        assert run("nsenter", "-t", pid, "-m", "touch", path, check=False).returncode, path


def hello(name):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl._create_unverified_context().wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


@pytest.mark.skipif(platform.release().startswith("6.1."), reason="it takes minutes, and programs are started by systemd: on the other kernel")
@pytest.mark.lsm
@pytest.mark.evasion(21, "started by D-Bus, systemd, timers, sockets, cron, at, autostart, su, machinectl, ssh; in cgroups of one's own", "egress connect lsm")
def test_systemd_starts(enrolled):
    """The agent watches the root of the cgroups, as where it is installed: each is judged, in the person's name."""
    starts.prepare(hello("web.whatsapp.com"))
    found = starts.results()
    assert {way: (codes, uid) for way, (codes, uid, _) in found.items()} == {way: (starts.CODES, starts.UID) for way in starts.WAYS}, found
    cgroups = {way: cgroup for way, (_, _, cgroup) in found.items()}
    assert len(set(cgroups.values())) >= 10 and "/below" in cgroups["clone"], cgroups
    layers = {}

    def all_arrived():
        for row in enrolled.collector.violations(user=starts.USER):
            layers.setdefault(row["program"], set()).add(row["layer"])
        return all({"dns", "connect", "tls"} <= layers.get(str(starts.HOME / way / "fetch"), set()) and
                   "exec" in layers.get(str(starts.HOME / way / "signal-desktop"), set()) for way in starts.WAYS)
    try:
        wait_for(all_arrived, 5 * SLOW, "violations at the collector")
    except TimeoutError:
        raise AssertionError(layers) from None


def test_systemd_broken_ini(enrolled, tmp_path):
    """A typing error, a file that is gone, a folder: agent and uplink come back as they were, by a restart and where nothing is left."""
    ini = ETC / "agent.ini"
    good = ini.read_text()
    try:
        for change in (lambda: ini.write_text(f"{good}retries 3\n"), ini.unlink, ini.mkdir):
            change()
            run("systemctl", "restart", AGENT, UPLINK)
            assert blocked(tmp_path) and "that of the last start is in force" in enrolled.status()
            run("systemctl", "stop", AGENT)
            run("onchanneld", "release")
            assert not PINS.exists()
            run("systemctl", "start", AGENT)
            assert blocked(tmp_path)
            wait_for(lambda: "0 records not yet at the collector" in enrolled.status(), 10 * SLOW, "the uplink's work")
    finally:
        ini.rmdir()
        ini.write_text(good)
    run("systemctl", "restart", AGENT, UPLINK)
    assert "last start" not in enrolled.status()


def test_systemd_sandbox(machine):
    pid = shown(AGENT, "MainPID")
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"NoNewPrivs:\s+1\n", text) and re.search(r"Seccomp:\s+2\n", text), text
    for path in ("/usr/x", "/etc/x", "/home/x", "/var/lib/x", "/root/x", "/sys/fs/cgroup/x"):
        assert "Read-only" in run("nsenter", "-t", pid, "-m", "touch", path, check=False).stderr, path


@contextlib.contextmanager
def user_manager(unit):
    """Somebody's, with that unit of theirs: its cgroup."""
    run("useradd", "-m", "notified")
    try:
        run("systemd-run", "--unit=other", "--uid=notified", "-pType=notify", "-pDelegate=yes", "-pRuntimeDirectory=notified",
            "-EXDG_RUNTIME_DIR=/run/notified", "/lib/systemd/systemd", "--user", f"--unit={unit}")
        yield pathlib.Path(f"/sys/fs/cgroup{shown('other', 'ControlGroup')}")
    finally:
        run("systemctl", "stop", "other", check=False)
        run("userdel", "-r", "notified", check=False)


def test_systemd_notify(machine):
    """Of each user's own manager. It is told, under what its unit takes away; there is no desktop here that would show it."""
    with user_manager("onchannel-notify.service") as group:
        procs, = wait_for(lambda: list(group.rglob("onchannel-notify.service/cgroup.procs")), 20 * SLOW, "the notifier")
        pid = wait_for(lambda: procs.read_text().strip(), 20 * SLOW)
        wait_for(lambda: f"pid={pid}," in run("ss", "-xpH").stdout, 20 * SLOW, "it follows the agent")
        assert re.search(r"NoNewPrivs:\s+1\n", pathlib.Path(f"/proc/{pid}/status").read_text())
        run("setpriv", "--reuid=notified", "--regid=notified", "--clear-groups", "curl", "-sS", "https://149.154.167.50/", check=False)
        wait_for(lambda: "nobody shows" in run("journalctl", "-t", "onchannel-notify", "-o", "cat").stdout, 20 * SLOW, "the notice")


def test_systemd_reload(machine, tmp_path):
    pid = shown(AGENT, "MainPID")
    run("systemctl", "reload", AGENT)
    assert shown(AGENT, "MainPID") == pid and blocked(tmp_path)


def test_systemd_watchdog(machine, tmp_path):
    """An agent that stands still is ended and comes back by itself; all the while nothing gets through."""
    assert shown(AGENT, "WatchdogUSec") == "30s"
    with drop_in("WatchdogSec=10"):
        run("systemctl", "restart", AGENT)
        stand_still(machine, tmp_path)
    run("systemctl", "restart", AGENT)


def stand_still(machine, tmp_path):
    pid = shown(AGENT, "MainPID")
    before = started(pid)
    run("systemctl", "kill", "-s", "STOP", "--kill-whom=main", AGENT)
    assert stays_blocked(tmp_path)
    wait_for(lambda: shown(AGENT, "NRestarts") != "0" and shown(AGENT, "ActiveState") == "active", 10 * SLOW, "the agent coming back")
    assert started(shown(AGENT, "MainPID")) != before
    assert "Watchdog timeout" in run("journalctl", "-u", AGENT, "-o", "cat").stdout
    assert blocked(tmp_path)
    assert "defence=lsm" in machine.status()


@pytest.mark.lsm
@pytest.mark.evasion(23, "mounts over and under its folders", "lsm")
def test_systemd_lsm(machine, tmp_path):
    """Root against the agent where mounts are shared between namespaces; other services are not disturbed."""
    pid = shown(AGENT, "MainPID")
    cgroup = f"/sys/fs/cgroup{shown(AGENT, 'ControlGroup')}"
    for script in (f"kill -KILL {pid}", f"echo 1 >{cgroup}/cgroup.kill", f"echo 0 >{cgroup}/memory.max", f"mount -t tmpfs none {STATE}",
                   "mount -t tmpfs none /var/lib", "mount -t tmpfs none /sys/fs/bpf", "umount -l /sys/fs/bpf", "mount --make-rprivate /",
                   "unshare -m --propagation unchanged mount -t tmpfs none /var/lib",
                   "unshare -m --propagation unchanged umount -l /sys/fs/bpf", f"nsenter -t {pid} -m mount -t tmpfs none /var/lib",
                   f"nsenter -t {pid} -m umount -l {STATE}", f"rm {PINS}/oc_egress", f"chmod 777 {STATE}/policy"):
        denied(script)
    for options in ("ProtectSystem=strict\nPrivateTmp=yes\nProtectHome=yes\nPrivateDevices=yes\nReadWritePaths=/var",
                    "TemporaryFileSystem=/var\nProtectControlGroups=yes", "PrivateMounts=yes"):
        pathlib.Path("/run/systemd/system/other.service").write_text(f"[Service]\nType=oneshot\nExecStart=true\n{options}\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "start", "other")
    run("unshare", "-m", "sh", "-ec", "mount -t tmpfs none /var/lib; umount -l /sys/fs/bpf")
    assert shown(AGENT, "MainPID") == pid and blocked(tmp_path)


@pytest.mark.lsm
def test_systemd_killed_for_good(machine, tmp_path):
    """Process 1 may end it. What it left is kept, until process 1 is about to become another program."""
    with drop_in("Restart=no"):
        run("systemctl", "kill", "-s", "KILL", AGENT)
        wait_for(lambda: shown(AGENT, "ActiveState") == "failed", 20 * SLOW)
        denied(f"rm {PINS}/oc_drops")
        denied("mount -t tmpfs none /var/lib")
        assert stays_blocked(tmp_path)
        run("systemctl", "daemon-reexec")
        run("sh", "-ec", f"mount -t tmpfs none /var/lib; umount /var/lib; rm {PINS}/oc_drops")
    run("systemctl", "start", AGENT)
    assert blocked(tmp_path)


def test_systemd_stop(machine, tmp_path):
    """Stopping the agent does not open the gate; `onchanneld release` does."""
    run("systemctl", "stop", AGENT)
    assert shown(AGENT, "ActiveState") == "inactive" and shown(AGENT, "Result") == "success"
    assert stays_blocked(tmp_path)
    run("systemctl", "start", AGENT)
    assert blocked(tmp_path)
    run("systemctl", "stop", AGENT)
    run("onchanneld", "release")
    assert "onchannel" not in run("nft", "list", "tables").stdout and not PINS.exists()
    wait_for(lambda: run("sh", "-c", tmp_path / "signal-desktop", check=False).returncode == 0, 5 * SLOW, "programs being let alone")
