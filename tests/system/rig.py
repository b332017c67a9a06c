# SPDX-License-Identifier: GPL-3.0-or-later
"""A Rig is a laptop with an agent, its uplink, a collector and a store that faults (faults.py) may take hold of. Each program is
a Service that comes back when it ends, as under systemd. The laptop's state, the collector's folder and the database lie on file
systems of their own (ext4 through loop devices), and the agent, the uplink and the collector see wall clocks that can be set
(tests/support/week-clock.c): the machine's own clock stays as it is."""
import contextlib
import ctypes
import fcntl
import mmap
import os
import pathlib
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
from harness import BUILD, SLOW, TREE, Agent, Collector, Desk, Programs
from internet import wait_for

sys.path.insert(0, str(TREE / "tests/support"))
from postgres import Postgres  # noqa: E402

AGAIN_S, END_S = 0.1, 5  # systemd's RestartSec= and TimeoutStopSec=
EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH = 2 << 30 | 4 << 16 | ord("X") << 8 | 125, 2  # Linux fs/ext4/ext4.h


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
        self.run, self.image, self.folder, self.inside = run, image, folder, pathlib.Path(f"{inside}{folder}")
        with open(image, "wb") as f:
            f.truncate(size_mb << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", image], check=True)
        self.mount("loop", str(image))

    def unmount(self):
        self.run(["umount", "--lazy", str(self.folder)], check=True)

    def cut(self):
        """As if the power went: nothing reaches the disk from now on, also not what was written before and not synced."""
        folder = os.open(self.inside, os.O_RDONLY)
        fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))
        os.close(folder)

    def mount_again(self, repair=False):
        """After cut() or an error: what is left of it."""
        wait_for(lambda: self.run(["umount", str(self.folder)], check=False).returncode == 0, 20 * SLOW, "nobody on the disk")
        if repair:
            subprocess.run(["sh", "-c", f"e2fsck -fy {self.image} >/dev/null || test $? = 1"], check=True)
        self.mount("loop", str(self.image))

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
        folder = os.open(self.inside, os.O_RDONLY)
        os.fsync(folder)  # else a power cut brings it back
        os.close(folder)


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
        """It is gone when this returns: killed when it waits for something that stands still, as systemd does."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
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
        wait_for(lambda: "accepting" in self.run("pg_isready", "-h", self.folder, check=False), 20 * SLOW, "PostgreSQL")

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
                    folder = os.open(copy.parent, os.O_RDONLY)
                    os.fsync(folder)
                    os.close(folder)

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
