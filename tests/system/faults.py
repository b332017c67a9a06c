# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults, many at a time and by a seed: programs killed, stopped and restarted, links cut, disks full or read-only, clocks set.

A Rig is a laptop with an agent, its uplink, a collector and a store. Each program is a Service that comes back when it
ends, as under systemd; each Fault takes hold of one thing for a while. The laptop's state, the collector's folder and
the database lie on file systems of their own (ext4 through loop devices), and the agent, the uplink and the collector
see wall clocks that can be set (tests/support/week-clock.c): the machine's own clock stays as it is."""
import contextlib
import ctypes
import json
import mmap
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time

import internet as net
from harness import BUILD, PRELUDE, SLOW, TREE, Agent, Collector, Desk, Employee, Programs
from internet import wait_for

sys.path.insert(0, str(TREE / "tests/support"))
from postgres import Postgres  # noqa: E402

AGAIN_S = 0.1  # systemd's RestartSec=
DAY_NS = 86400 * 10**9
CLOCK_STEPS_NS = [-400 * DAY_NS, -DAY_NS, -3600 * 10**9, -2 * 10**9, 2 * 10**9, 3600 * 10**9, DAY_NS, 400 * DAY_NS]
REPORTS_PORT = 8443
# What people on the laptop try all the time. argv: what to try, seed, the file that ends it.
LOAD = PRELUDE + """
import random
tries, chance, stop = json.loads(sys.argv[1]), random.Random(int(sys.argv[2])), sys.argv[3]
def dns(name):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("192.168.77.1", 53))
        s.send(b"\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + labels + b"\\0\\0\\1\\0\\1")
def exec(path):
    pid = os.posix_spawn(path, [path], {})
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -signal.SIGKILL:
        raise RuntimeError("it ran")
import signal
made, passed = {}, []
while not os.path.exists(stop):
    layer, channel, what = chance.choice(tries)
    made[layer + " " + channel] = made.get(layer + " " + channel, 0) + 1
    try:
        {"dns": dns, "exec": exec, "connect": lambda a: connect(a, 443)}[layer](what)
        if layer == "connect":
            passed.append(what)
    except RuntimeError:
        passed.append(what)
    except PermissionError:
        pass
    except OSError as e:
        if layer != "connect" or e.errno not in (errno.ECONNREFUSED, errno.ECONNRESET):
            passed.append(what + ": " + str(e))
    time.sleep(chance.expovariate(10))
print(json.dumps([made, passed]))
"""


@contextlib.contextmanager
def private_mounts():
    """This thread's mounts, and those of what it starts, are seen by nobody else and end with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    folder = os.getcwd()
    try:
        if libc.unshare(net.CLONE_NEWNS):
            raise net.Missing(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        yield
    finally:
        if libc.setns(before, net.CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "setns")
        os.chdir(folder)
        os.close(before)


class Disk:
    """A small file system of its own. `run`: runs a command where it is mounted; `inside`: leads there from here."""

    def __init__(self, run, image, folder, size_mb, inside=""):
        self.run, self.folder, self.inside = run, folder, pathlib.Path(f"{inside}{folder}")
        with open(image, "wb") as f:
            f.truncate(size_mb << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", image], check=True)
        self.mount("loop", str(image))

    def unmount(self):
        self.run(["umount", "--lazy", str(self.folder)], check=True)

    def mount(self, options, *what):
        self.run(["mount", "-o", options, *what, str(self.folder)], check=True)

    def fill(self):
        with open(self.inside / "filler", "wb") as f:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        free = os.statvfs(self.inside)
                        n = max(size, free.f_bavail * free.f_bsize // 2)
                        os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size, n)

    def empty(self):
        (self.inside / "filler").unlink(missing_ok=True)


class Clock:
    """The wall clock of the programs that are started with `environment`."""

    def __init__(self, path):
        path.write_bytes(bytes(32))
        with open(path, "r+b") as f:
            self.page = mmap.mmap(f.fileno(), 32)
        path.chmod(0o644)
        self.environment = {"LD_PRELOAD": str(path.parent / "bin/week-clock.so"), "WEEK_CLOCK": str(path)}

    def step(self, ns):
        self.page[:8] = struct.pack("=q", ns)


class Service:
    """A program that is started again whenever it has ended."""

    def __init__(self, name, start):
        self.name, self.begin = name, start
        self.process, self.again, self.is_up, self.starts = None, 0, True, 0

    def tick(self):
        if self.process and self.process.poll() is not None:
            self.process, self.again = None, time.monotonic() + AGAIN_S
        if not self.process and self.is_up and time.monotonic() >= self.again:
            self.process = self.begin()
            self.starts += 1

    def send(self, number):
        if self.process:
            self.process.send_signal(number)

    def end(self, number=signal.SIGKILL):
        """It is gone when this returns."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(20 * SLOW)
            self.tick()


class Database(Postgres):
    """PostgreSQL as a child of this process, on a disk of its own."""

    def __init__(self, internet, folder):
        self.internet, self.process = internet, None
        super().__init__(folder=folder)

    def popen(self):
        with open(self.folder / "log", "a") as log:
            return self.internet.world.popen(
                ["setpriv", "--reuid=nobody", f"--regid={self.user.pw_gid}", "--clear-groups", str(self.bin / "postgres"), "-D",
                 str(self.folder / "db"), "-k", str(self.folder), "-c", "listen_addresses=", "-c", "min_wal_size=32MB", "-c",
                 "max_wal_size=64MB"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self):
        self.process = self.popen()
        wait_for(lambda: "t" in self.run("pg_isready", "-h", self.folder, check=False), 20 * SLOW, "PostgreSQL")

    def answers(self):
        return "accepting" in self.run("pg_isready", "-h", self.folder, check=False)

    def backends(self, pid):
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Rig:
    def __init__(self, internet, kind):
        self.internet, self.kind = internet, kind
        self.base = base = pathlib.Path(internet.base)
        self.programs = Programs(base / "bin")
        shutil.copy(BUILD / "tests/system/week-clock.so", base / "bin")
        self.clocks = {"agent": Clock(base / "agent.clock"), "collector": Clock(base / "collector.clock")}
        self.disks, self.services, self.database = {}, {}, None
        self.make_store()
        self.make_laptop()
        self.copies = self.base / "copies"  # of the spool's segments: links, so that they stay when they are acknowledged
        self.notes, self.stopping = set(), threading.Event()
        self.watcher = threading.Thread(target=self.watch_log)

    def make_store(self):
        def here(argv, check):
            return subprocess.run(argv, check=check)
        url = None
        (self.base / "collector").mkdir()
        self.disks["collector"] = Disk(here, self.base / "collector.img", self.base / "collector", 160)
        if self.kind == "PostgreSQL":
            (self.base / "pg").mkdir()
            self.disks["database"] = Disk(here, self.base / "pg.img", self.base / "pg", 400)
            self.database = Database(self.internet, self.base / "pg")
            url = self.database.url
        self.collector = Collector(self.internet, self.programs, url)
        self.collector.stop()
        if self.database:
            self.services["database"] = Service("database", self.database.popen)
            self.services["database"].process = self.database.process
        self.services["collector"] = Service("collector", lambda: self.popen(
            self.internet.world, "collector", [str(self.programs.collector), "serve", str(self.collector.dir)],
            "onchannel-collector", self.clocks["collector"]))

    def make_laptop(self):
        laptop = self.internet.laptop
        self.agent = Agent(self.internet, self.programs, Desk(self.programs, self.base / "desk"), self.collector)
        folder = self.agent.state
        self.disks["agent"] = Disk(laptop.run, self.base / "state.img", folder, 48, f"/proc/{laptop.holder.pid}/root")
        uid = net.SERVICES["onchannel"]
        for name, mode in (("incoming", 0o755), ("uplink", 0o700)):
            (self.disks["agent"].inside / name).mkdir(mode=mode)
            os.chown(self.disks["agent"].inside / name, uid, uid)
        self.services["agent"] = Service("agent", lambda: self.popen(
            laptop, "agent", [str(self.programs.agent), "--config", str(self.agent.ini)], None, self.clocks["agent"]))
        self.services["uplink"] = Service("uplink", lambda: self.popen(
            laptop, "uplink", [str(self.programs.uplink), "--config", str(self.agent.ini)], "onchannel", self.clocks["agent"]))

    def popen(self, place, name, argv, user, clock):
        with open(self.base / f"{name}.log", "a") as log:
            return place.popen(argv, user=user, env=net.environment(**clock.environment), stdin=subprocess.DEVNULL, stdout=log,
                               stderr=log)

    def start(self):
        for name in ("collector", "agent"):
            self.services[name].tick()
        self.wait("the collector", lambda: self.collector.curl("/api/v1/session").returncode == 0)
        self.agent.process = self.services["agent"].process
        self.wait("the agent", self.status)
        self.agent.enrol()
        self.agent.policy({"teams": "allow", "slack": "allow"})
        (self.disks["agent"].inside / "copies").mkdir()
        self.watcher.start()
        self.tick()

    def status(self):
        """The agent's, or None while it does not answer."""
        try:
            return self.agent.status()
        except (OSError, ValueError):
            return None

    def tick(self):
        for s in self.services.values():
            s.tick()
        inside = self.disks["agent"].inside
        with contextlib.suppress(OSError):
            for segment in (inside / "spool").glob("*.seg"):
                copy = inside / "copies" / f"{segment.name}.{segment.stat().st_ino}"
                if not copy.exists():
                    os.link(segment, copy)

    def wait(self, what, condition, timeout=60):
        def turn():
            self.tick()
            return condition()
        return wait_for(turn, timeout * SLOW, what)

    def watch_log(self):
        """What an auditor's browser sees of the log, again and again."""
        while not self.stopping.wait(1):
            r = self.collector.curl("/log/checkpoint", "--max-time", "2")
            text, _, status = r.stdout.rpartition("\n")
            if r.returncode == 0 and status == "200":
                self.notes.add(text)

    # ---- what the store holds ----

    def rows(self, sql):
        """Rows of the database: numbers and text as they are, bytes as hex."""
        if self.database:
            return self.database.sql(re.sub(r"hex\((\w+)\)", r"encode(\1, 'hex')", sql))
        with contextlib.closing(sqlite3.connect(f"file:{self.collector.dir}/collector.db?mode=ro", uri=True)) as db:
            return [["" if v is None else str(v) for v in row] for row in db.execute(sql)]

    def next_seq(self):
        try:
            (n,), = self.rows("SELECT next_seq FROM device")
            return int(n)
        except (AssertionError, sqlite3.Error, ValueError):
            return None

    def close(self):
        self.stopping.set()
        if self.watcher.ident:
            self.watcher.join()
        for s in reversed(list(self.services.values())):
            s.is_up = False
            s.end()
        for disk in self.disks.values():
            disk.unmount()


class Load:
    """People who try what is blocked, all the time."""

    def __init__(self, rig, seed, people=6, names=40):
        chance = random.Random(seed)
        self.stop_file = rig.base / "load.stop"
        dns = [("dns", *x) for x in chance.sample(blocked_names(), names)]
        addresses = [("connect", "telegram", a) for a in ("149.154.167.50", "91.108.4.7", "2001:67c:4e8::9")]
        self.names = {what for _, _, what in dns}
        self.people, self.processes = [], []
        for i in range(people):
            e = Employee(rig.internet, list(net.PEOPLE)[2 + i])
            self.people.append(e)
            programs = [("exec", channel, install(e, name)) for channel, name in (("signal", "signal-desktop"), ("discord", "Discord"))]
            # as often an address or a program as a name
            tries = dns + addresses * (len(dns) // 3) + programs * (len(dns) // 8)
            self.processes.append(e.popen(["/usr/bin/python3", "-c", LOAD, json.dumps(tries), str(seed + i), str(self.stop_file)],
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True))

    def end(self):
        """{(user, layer, channel): attempts}, and what got through."""
        self.stop_file.touch()
        made, passed = {}, []
        for e, process in zip(self.people, self.processes):
            out = process.communicate(timeout=30 * SLOW)[0]
            assert process.returncode == 0, "the load itself failed"
            mine, through = json.loads(out)
            made.update({(e.name, *key.split(" ")): n for key, n in mine.items()})
            passed += through
        return made, passed


def install(employee, name):
    path = employee.home / "bin" / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy("/usr/bin/true", path)
    path.chmod(0o755)
    path.parent.chmod(0o755)
    return str(path)


def blocked_names():
    """(channel, name) of messengers of the catalogue that the policy does not approve."""
    found = []
    for path in sorted((TREE / "rules/channels").glob("*.ini")):
        text = path.read_text()
        name = re.search(r"^suffix *= *([\w.-]+)$", text, re.M)
        if name and re.search(r"^category *= *messenger$", text, re.M) and path.stem not in ("teams", "slack"):
            found.append((path.stem, name[1]))
    return found


# ---- faults: begin(rig, chance) does it and returns what undoes it ----

def kill(*names, how=signal.SIGKILL):
    def begin(rig, chance):
        for name in names:
            rig.services[name].is_up = False
            rig.services[name].end(how)

        def undo():
            for name in names:
                rig.services[name].is_up = True
        return undo
    return begin


def stop(name):
    """Stands still: whoever talks to it waits."""
    def begin(rig, chance):
        process = rig.services[name].process
        pids = [process.pid] if process else []
        if name == "database" and process:
            pids += rig.database.backends(process.pid)
        signal_all(pids, signal.SIGSTOP)
        return lambda: signal_all(pids, signal.SIGCONT)
    return begin


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def slow(rig, chance):
    """The collector answers slowly: it is stopped nine tenths of the time."""
    ended = threading.Event()

    def brake():
        while not ended.is_set():
            for number, seconds in ((signal.SIGSTOP, 0.45), (signal.SIGCONT, 0.05)):
                with contextlib.suppress(ProcessLookupError, AttributeError):
                    rig.services["collector"].process.send_signal(number)
                ended.wait(seconds)
    thread = threading.Thread(target=brake)
    thread.start()

    def undo():
        ended.set()
        thread.join()
        with contextlib.suppress(ProcessLookupError, AttributeError):
            rig.services["collector"].process.send_signal(signal.SIGCONT)
    return undo


def link(*rules):
    """Packets between uplink and collector, by rules at the collector's end."""
    def begin(rig, chance):
        text = "table inet faults {\n" + "\n".join(
            f"chain {hook} {{ type filter hook {hook} priority -10\n{rule}\n}}" for hook, rule in rules) + "\n}"
        rig.internet.world.run(["nft", "-f", "-"], input=text, check=True)
        return lambda: rig.internet.world.run(["nft", "delete", "table", "inet", "faults"], check=True)
    return begin


def unplug(rig, chance):
    rig.internet.world.run(["ip", "link", "set", "cable", "down"], check=True)

    def undo():  # the addresses stay, IPv6's and the routes go
        rig.internet.world.run(["ip", "-batch", "-", "-force"], input=net.WORLD_NET)
    return undo


def full(name):
    def begin(rig, chance):
        rig.disks[name].fill()
        return rig.disks[name].empty
    return begin


def read_only(disk, *names):
    """The disk comes back read-only after a crash: the programs start in vain until it is writable."""
    def begin(rig, chance):
        for name in names:
            rig.services[name].is_up = False
            rig.services[name].end()
        rig.disks[disk].mount("remount,ro")
        for name in names:
            rig.services[name].is_up = True
        return lambda: rig.disks[disk].mount("remount,rw")
    return begin


def clock(name):
    def begin(rig, chance):
        rig.clocks[name].step(chance.choice(CLOCK_STEPS_NS))
        return lambda: rig.clocks[name].step(0)
    return begin


def lock(rig, chance):
    """Somebody else writes to the store and takes their time."""
    if rig.database:
        process = subprocess.Popen([str(rig.database.bin / "psql"), "-h", str(rig.database.folder), "-U", "onchannel", "-d", "postgres", "-X",
                                    "-q"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        process.stdin.write("BEGIN; LOCK TABLE device;\n")
        process.stdin.flush()

        def release():
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait(30 * SLOW)
        return release
    db = sqlite3.connect(rig.collector.dir / "collector.db", timeout=2, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.Error:  # the disk is full
        pass
    return db.close


def backend(number):
    """One connection's process of the database, or all that serve the collector."""
    def begin(rig, chance):
        process = rig.services["database"].process
        children = rig.database.backends(process.pid) if process else []
        if children:
            signal_all([chance.choice(children)], number)
        return lambda: None
    return begin


REJECT = f"tcp dport {REPORTS_PORT} reject with tcp reset"
FAULTS = {  # kind: (what it takes hold of, longest seconds, begin)
    "agent killed": ("agent", 2, kill("agent")),
    "agent ended": ("agent", 1, kill("agent", how=signal.SIGTERM)),
    "agent stopped": ("agent", 6, stop("agent")),
    "agent's clock set": ("agent's clock", 4, clock("agent")),
    "agent's disk full": ("agent's disk", 5, full("agent")),
    "agent's disk read-only": ("agent's disk agent uplink", 2, read_only("agent", "agent", "uplink")),
    "uplink killed": ("uplink", 2, kill("uplink")),
    "uplink stopped": ("uplink", 4, stop("uplink")),
    "link drops": ("link", 4, link(("input", f"tcp dport {REPORTS_PORT} drop"), ("output", f"tcp sport {REPORTS_PORT} drop"))),
    "link half open": ("link", 4, link(("output", f"tcp sport {REPORTS_PORT} drop"))),
    "link resets": ("link", 2, link(("input", REJECT))),
    "link unplugged": ("link", 3, unplug),
    "collector killed": ("collector", 2, kill("collector")),
    "collector ended": ("collector", 1, kill("collector", how=signal.SIGTERM)),
    "collector stopped": ("collector", 4, stop("collector")),
    "collector slow": ("collector", 5, slow),
    "collector's clock set": ("collector's clock", 4, clock("collector")),
    "collector's disk full": ("store", 5, full("collector")),
    "collector's disk read-only": ("store collector lock", 2, read_only("collector", "collector")),
    "store locked": ("lock", 6, lock),
}
DATABASE_FAULTS = {
    "database killed": ("database", 2, kill("database")),
    "database stopped short": ("database", 2, kill("database", how=signal.SIGQUIT)),
    "database stands still": ("database", 4, stop("database")),
    "database's disk full": ("database's disk", 5, full("database")),
    "connection killed": ("database", 0.5, backend(signal.SIGKILL)),
    "connection ended": ("database", 0.5, backend(signal.SIGTERM)),
}


class Plan:
    """Which faults, when and for how long: the same for the same seed, number and store."""

    def __init__(self, seed, n, kind, every_s=1.0):
        self.seed, self.list = seed, []
        chance, busy, at = random.Random(seed), {}, 0
        kinds = {**FAULTS, **(DATABASE_FAULTS if kind == "PostgreSQL" else {})}
        while len(self.list) < n:
            at += chance.expovariate(1 / every_s)
            free = sorted(k for k, f in kinds.items() if all(busy.get(x, 0) <= at for x in things(f)))
            if not free:
                continue
            what = chance.choice(free)
            seconds = chance.uniform(0.05, kinds[what][1])
            for x in things(kinds[what]):
                busy[x] = at + seconds + 0.3
            self.list.append((at, what, seconds, kinds[what], random.Random(chance.random())))

    def __str__(self):
        return "\n".join(f"  {at:7.2f} s  {what}, {seconds:.2f} s" for at, what, seconds, _, _ in self.list)

    def counts(self):
        found = {}
        for _, what, *_ in self.list:
            found[what] = found.get(what, 0) + 1
        return found

    def run(self, rig):
        """Each at its time, or when what it takes hold of is free; all are over when this returns."""
        start, ends, left = time.monotonic(), [], list(self.list)
        try:
            while left or ends:
                now = time.monotonic() - start
                for end in [e for e in ends if e[0] <= now]:
                    ends.remove(end)
                    end[1]()
                held = {x for e in ends for x in e[2]}
                if left and left[0][0] <= now and not held & set(things(left[0][3])):
                    _, _, seconds, kind, chance = left.pop(0)
                    undo = kind[2](rig, chance)
                    ends.append((time.monotonic() - start + seconds, undo, things(kind)))
                rig.tick()
                time.sleep(0.01)
        finally:
            for end in ends:
                end[1]()


def things(fault):
    """What a fault takes hold of: words, of which two may be one thing."""
    return re.findall(r"[a-z]+'s \w+|\w+", fault[0])
