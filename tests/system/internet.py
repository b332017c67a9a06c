#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fake internet: a laptop and a world joined by a cable, both made of namespaces.

    internet.py --shell                    a shell of an employee on the laptop
    internet.py --run COMMAND [--shell]    the command as root there, with the argument --shell
                [--forward PORT]           … and this machine's 127.0.0.1:PORT leads to the laptop's
    internet.py --sweep                    remove what killed runs left behind

The world answers for every name and every address (world.py). The laptop is a network, mount
and UTS namespace with users of its own, a cgroup of its own and a bpf file system of its own,
so that any number of instances run side by side and none touches the host. Nothing is named:
the kernel takes the namespaces away with their last process, and a runner that was killed
leaves only a folder and cgroups, which the next one removes (see sweep()).
"""
import argparse
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import world

PREFIX = "onchannel-test-"
LAPTOP4, LAPTOP6 = "192.168.77.10", "fd77::10"
WORLD4, WORLD6 = "192.168.77.1", "fd77::1"
COLLECTOR = "collector.onchannel.test"  # resolves to the world itself
OPEN_PORTS = "22, 587, 8443, 8444"  # of the world's own address: servers that a test starts, the collector's
PEOPLE = {"anna": 4242, "ben": 4243, **{f"u{n:03}": 4300 + n for n in range(600)}}
SERVICES = {"onchannel": 4200, "onchannel-collector": 4201}

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET = 0x00020000, 0x04000000, 0x40000000  # linux/sched.h
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

LAPTOP_SETUP = """
set -e
hostname laptop
mount --make-rprivate /
mount -t overlay -o lowerdir=/etc,upperdir=$BASE/etc,workdir=$BASE/work overlay /etc
mount -t bpf -o mode=700 bpf $BASE/bpf
"""
LAPTOP_NET = f"""
link set lo up
addr add {LAPTOP4}/24 dev eth0
addr add {LAPTOP6}/64 dev eth0 nodad
link set eth0 up
route add default via {WORLD4}
route add default via {WORLD6} dev eth0
"""
# "table main" matters: the kernel would put a local route into the table that is asked first,
# and the world could no longer reach the laptop.
WORLD_NET = f"""
link set lo up
addr add {WORLD4}/24 dev cable
addr add {WORLD6}/64 dev cable nodad
link set cable up
route add local 0.0.0.0/0 dev lo table main
route add local ::/0 dev lo table main
"""
WORLD_NFT = f"""
table inet world {{
  chain prerouting {{
    type nat hook prerouting priority dstnat
    icmpv6 type != echo-request accept
    ip daddr {WORLD4} tcp dport {{ {OPEN_PORTS} }} accept
    ip6 daddr {WORLD6} tcp dport {{ {OPEN_PORTS} }} accept
    meta l4proto {{ tcp, udp }} th dport 53 redirect to :{world.DNS_PORT}
    meta l4proto tcp tcp option 30 exists redirect to :{world.MPTCP_PORT}
    meta l4proto {{ tcp, udp }} redirect to :{world.ANY_PORT}
  }}
}}
"""


class Missing(Exception):
    """Something that the fake internet needs is not on this machine."""


def _check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def cgroup2_root():
    """Where the cgroup v2 hierarchy is mounted: /sys/fs/cgroup, or below it on a hybrid system."""
    with open("/proc/self/mountinfo") as f:
        for line in f:
            if " - cgroup2 " in line:
                return line.split()[4]
    raise Missing("no cgroup v2 hierarchy is mounted")


def wait_for(condition, timeout=10, what=None):
    """The first true value of condition(), asked again and again; TimeoutError after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(what or getattr(condition, "__name__", "condition"))
        time.sleep(0.01)


def remove_cgroup(path):
    """The cgroup, what is below it, and every process in it."""
    if not os.path.isdir(path):
        return
    with open(f"{path}/cgroup.kill", "w") as f:  # Linux 5.14
        f.write("1")

    def gone():
        try:
            for folder, _, _ in os.walk(path, topdown=False):
                os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError:  # EBUSY until the last process has gone
            return False
        return True
    wait_for(gone, 10, f"end of the processes in {path}")


def sweep():
    """Remove what runners that no longer live left behind."""
    for name in os.listdir(tempfile.gettempdir()):
        folder = os.path.join(tempfile.gettempdir(), name)
        if not name.startswith(PREFIX):
            continue
        try:
            with open(f"{folder}/lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held by its runner as long as that lives
                remove_cgroup(os.path.join(cgroup2_root(), name))
                shutil.rmtree(folder, ignore_errors=True)
        except (FileNotFoundError, BlockingIOError):
            continue


class Place:
    """A set of namespaces and a cgroup in which programs are started."""

    def __init__(self, internet, name, flags):
        self.internet, self.cgroup = internet, f"{internet.cgroup}/{name}"
        os.mkdir(self.cgroup)
        self.namespaces = []  # (fd, type) to enter

        def unshare():
            _check(_libc.unshare(flags))
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        self.holder = subprocess.Popen(["sleep", "infinity"], preexec_fn=unshare, stdin=subprocess.DEVNULL)
        for kind, flag in (("net", CLONE_NEWNET), ("uts", CLONE_NEWUTS), ("mnt", CLONE_NEWNS)):
            if flags & flag:
                self.namespaces.append((os.open(f"/proc/{self.holder.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC), flag))

    def popen(self, argv, user=None, cgroup=True, **kw):
        """Start a program here. `user`: the login name it runs as, else root; cgroup=False: stay
        in the caller's. It ends with the thread that started it."""
        procs = os.open(f"{self.cgroup}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) if cgroup else None
        uid = {**PEOPLE, **SERVICES}[user] if user else None
        home = self.internet.home(user) if user in PEOPLE else "/"
        cwd = kw.pop("cwd", None)
        parent = os.getpid()

        def enter():
            if procs is not None:
                os.write(procs, b"0")
            for fd, flag in self.namespaces:
                _check(_libc.setns(fd, flag))
            if uid is not None:
                os.setgroups([uid])
                os.setgid(uid)
                os.setuid(uid)
            os.chdir(cwd or home)
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid(), which clears it
            if os.getppid() != parent:
                os._exit(1)
        env = kw.pop("env", None) or environment()
        if user:
            env = {"HOME": home, "USER": user, "LOGNAME": user, **env}
        try:
            return subprocess.Popen(argv, preexec_fn=enter, env=env, **kw)
        finally:
            if procs is not None:
                os.close(procs)

    def run(self, argv, check=False, timeout=30, input=None, **kw):
        """Run to its end; returns a CompletedProcess with text output."""
        kw = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **kw}
        kw["stdin"] = subprocess.DEVNULL if input is None else subprocess.PIPE
        with self.popen(argv, **kw) as process:
            try:
                out, err = process.communicate(input, timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                raise AssertionError(f"{argv} did not end in {timeout} s\n{out}\n{err}") from None
        if check and process.returncode:
            raise AssertionError(f"{argv}: exit {process.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        for fd, _ in self.namespaces:
            os.close(fd)


class Internet:
    """The laptop and the world. A context manager."""

    def __init__(self):
        if os.geteuid():
            raise Missing("namespaces, cgroups and eBPF need root")
        for tool in ("ip", "nft", "mount"):
            if not shutil.which(tool, path=PATH):
                raise Missing(f"the program {tool} is not installed")
        sweep()
        self.laptop = self.world = self.server = None
        self.base = tempfile.mkdtemp(prefix=PREFIX)
        os.chmod(self.base, 0o755)
        self.lock = open(f"{self.base}/lock.new", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        os.rename(self.lock.name, f"{self.base}/lock")  # no sweep of somebody else's sees it unlocked
        self.cgroup = os.path.join(cgroup2_root(), os.path.basename(self.base))
        os.mkdir(self.cgroup)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        for folder in ("etc", "etc/ssl", "etc/ssl/certs", "work", "bpf", "home"):
            os.mkdir(f"{self.base}/{folder}")
        world.make_authority(self.base)
        self._write_etc()
        self.laptop = Place(self, "laptop", CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS)
        self.world = Place(self, "world", CLONE_NEWNET)
        self.laptop.run(["sh", "-c", LAPTOP_SETUP], check=True, env={"PATH": PATH, "BASE": self.base})
        self.world.run(["ip", "link", "add", "cable", "type", "veth", "peer", "name", "eth0", "netns",
                        str(self.laptop.holder.pid)], check=True)
        self.world.run(["ip", "-batch", "-"], input=WORLD_NET, check=True)
        self.world.run(["nft", "-f", "-"], input=WORLD_NFT, check=True)
        self.laptop.run(["ip", "-batch", "-"], input=LAPTOP_NET, check=True)
        self.server = self.world.popen(["/usr/bin/python3", world.__file__, self.base], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=open(f"{self.base}/world.err", "w"))
        if self.server.stdout.readline() != b"ready\n":
            with open(f"{self.base}/world.err") as f:
                raise Missing(f"the world's servers do not start: {f.read().strip().splitlines()[-1:]}")

    def _write_etc(self):
        """What the laptop's /etc has in place of the host's."""
        def write(name, text):
            with open(f"{self.base}/etc/{name}", "w") as f:
                f.write(text)
        write("resolv.conf", f"nameserver {WORLD4}\n")
        write("hostname", "laptop\n")
        write("hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 laptop\n")
        write("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
        with open("/etc/passwd") as passwd, open("/etc/group") as group:
            everyone = {**PEOPLE, **SERVICES}
            users = [f"{name}:x:{uid}:{uid}::{self.base}/home/{name}:/bin/sh\n" for name, uid in everyone.items()]
            groups = [f"{name}:x:{uid}:\n" for name, uid in everyone.items()]
            keep = re.compile(rf"({'|'.join(everyone)}):")
            write("passwd", "".join([x for x in passwd if not keep.match(x)] + users))
            write("group", "".join([x for x in group if not keep.match(x)] + groups))
        with open(f"{self.base}/ca.pem") as ca:
            write("ssl/certs/ca-certificates.crt", ca.read())

    def home(self, user):
        path = f"{self.base}/home/{user}"
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
            os.chown(path, PEOPLE[user], PEOPLE[user])
        return path

    def seen(self, kind, since=0, **what):
        """Lines of the world's log of that kind with those values, after `since` (time.monotonic())."""
        if not os.path.exists(f"{self.base}/world.jsonl"):
            return []
        with open(f"{self.base}/world.jsonl") as f:
            rows = [json.loads(line) for line in f]
        return [r for r in rows if r["kind"] == kind and r["time"] >= since
                and all(r.get(k) == v for k, v in what.items())]

    def close(self):
        for place in (self.laptop, self.world):
            if place:
                place.close()
        remove_cgroup(self.cgroup)
        if self.server:
            self.server.stdout.close()
            self.server.wait()
        shutil.rmtree(self.base, ignore_errors=True)
        self.lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def shell(place):
    """An interactive shell of anna's, or the commands from standard input."""
    argv = ["/bin/bash", "--norc", "-i"] if sys.stdin.isatty() else ["/bin/sh"]
    return place.popen(argv, user="anna", env=environment(PS1="anna@laptop:\\w$ "))


def pump(source, sink):
    """Bytes from one socket to the other until the end."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for s in (source, sink):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def forward(place, port):
    """Who connects to this machine's 127.0.0.1:port reaches the same port of the place."""
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as e:
        print(f"internet.py: port {port} of this machine does not lead to the laptop: {e.strerror}", file=sys.stderr)
        return

    def serve():
        for fd, flag in place.namespaces:
            if flag == CLONE_NEWNET:
                _check(_libc.setns(fd, flag))  # of this thread alone
        while True:
            here = listener.accept()[0]
            try:
                there = socket.create_connection(("127.0.0.1", port))
            except OSError:
                here.close()
                continue
            for ends in ((here, there), (there, here)):
                threading.Thread(target=pump, args=ends, daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()


def environment(**more):
    return {"PATH": PATH, "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb"), **more}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--shell", action="store_true", help="open a shell on the laptop")
    parser.add_argument("--run", metavar="COMMAND", help="run this as root on the laptop; ONCHANNEL_CGROUP and ONCHANNEL_STATE name its cgroup and a folder")
    parser.add_argument("--forward", metavar="PORT", type=int, help="with --run: lead this machine's 127.0.0.1:PORT there")
    parser.add_argument("--sweep", action="store_true", help="remove what killed runs left behind, and end")
    args = parser.parse_args()
    if not (args.shell or args.run or args.sweep):
        parser.error("nothing to do")
    try:
        if args.sweep:
            return sweep()
        with Internet() as internet:
            if args.forward:
                forward(internet.laptop, args.forward)
            if args.run:
                keep = {k: v for k, v in os.environ.items() if k.startswith("ONCHANNEL_")}
                process = internet.laptop.popen([args.run] + ["--shell"] * args.shell, cwd=os.getcwd(), env=environment(
                    HOME=internet.home("anna"), **keep, ONCHANNEL_CGROUP=internet.laptop.cgroup,
                    ONCHANNEL_STATE=f"{internet.base}/demo"))
            else:
                process = shell(internet.laptop)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the programs on the laptop
            signal.signal(signal.SIGTERM, lambda *_: process.terminate())
            return process.wait()
    except Missing as e:
        sys.exit(f"internet.py: {e}")


if __name__ == "__main__":
    sys.exit(main())
