# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults, many at a time and by a seed: programs killed, stopped and restarted, links cut, power cut, disks full or read-only,
clocks set. Each takes hold of one thing of a Rig (rig.py) for a while, under a Load."""
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import internet as net
from harness import PRELUDE, SLOW, TREE, Employee

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


def again_and_again(service, signals):
    """Sends these (number, seconds until the next) until what it returns is called."""
    ended = threading.Event()

    def turn():
        while not ended.is_set():
            for number, seconds in signals():
                with contextlib.suppress(ProcessLookupError, AttributeError):
                    service.process.send_signal(number)
                ended.wait(seconds)
    thread = threading.Thread(target=turn)
    thread.start()

    def end():
        ended.set()
        thread.join()
    return end


def slow(rig, chance):
    """The collector answers slowly: it is stopped nine tenths of the time."""
    end = again_and_again(rig.services["collector"], lambda: ((signal.SIGSTOP, 0.45), (signal.SIGCONT, 0.05)))

    def undo():
        end()
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


@contextlib.contextmanager
def killed(rig, names):
    for name in names:
        rig.services[name].is_up = False
        rig.services[name].end()
    yield
    for name in names:
        rig.services[name].is_up = True


def killed_there(rig, names, chance):
    """The first of them is killed and comes back all the time, until what it returns is called."""
    return again_and_again(rig.services[names[0]], lambda: ((signal.SIGKILL, chance.uniform(0.2, 1.5)),))


def read_only(disk, *names):
    """The disk comes back read-only after a crash; there the first program is killed again and again."""
    def begin(rig, chance):
        with killed(rig, names):
            rig.disks[disk].mount("remount,ro")
        end = killed_there(rig, names, chance)

        def undo():
            end()
            rig.disks[disk].mount("remount,rw")
        return undo
    return begin


def fails(disk, *names):
    """An error makes the disk read-only under the programs, of which the first is killed again and again, until somebody repairs it."""
    def begin(rig, chance):
        rig.disks[disk].mount("remount,abort")
        end = killed_there(rig, names, chance)

        def undo():
            end()
            rig.wait("the agent on its broken disk", rig.status)  # who repairs it takes what was not synced
            with killed(rig, names):
                rig.disks[disk].mount_again(repair=True)
        return undo
    return begin


def power_cut(disk, *names):
    """The disk's machine loses its power and starts again; /run and what the kernel has of the agent stay."""
    def begin(rig, chance):
        held = [rig.services[name] for name in names]
        children = rig.database.backends(held[0].process.pid) if disk == "database" and held[0].process else []
        for service in held:
            service.is_up = False
        rig.disks[disk].cut()
        for service in held:
            service.end()
        signal_all(children, signal.SIGKILL)
        rig.disks[disk].mount_again()

        def undo():
            for service in held:
                service.is_up = True
        return undo
    return begin


def clock(name):
    def begin(rig, chance):
        rig.clocks[name].step(chance.choice(CLOCK_STEPS_NS))
        return lambda: rig.clocks[name].step(0)
    return begin


def step_while_it_runs(rig):
    """Those of the plan may fall into times when the agent does not."""
    rig.wait("the agent", rig.status)
    rig.clocks["agent"].step(DAY_NS)
    rig.wait("a record by another clock", lambda: latest(rig.disks["agent"].inside) > time.time() + DAY_NS / 2e9)
    rig.clocks["agent"].step(0)


def latest(state):
    """The latest time in a record that was written so far."""
    found = [0]
    for segment in [*(state / "copies").iterdir(), *(state / "spool").glob("*.seg")]:
        with contextlib.suppress(FileNotFoundError):  # acknowledged meanwhile
            found += [int(t) / 1000 for t in re.findall(rb'"time":(\d+)', segment.read_bytes())]
    return max(found)


def lock(rig, chance):
    """Somebody else writes to the store and takes their time."""
    if rig.database:
        process = subprocess.Popen([str(rig.database.bin / "psql"), "-h", str(rig.database.folder), "-U", "onchannel", "-d", "postgres", "-X",
                                    "-q"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        process.stdin.write("BEGIN; LOCK TABLE device;\n")
        process.stdin.flush()

        def release():
            process.kill()  # in the middle of its transaction, or still waiting for its turn
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
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
    "agent's disk read-only": ("agent's disk agent uplink", 4, read_only("agent", "agent", "uplink")),
    "agent's disk fails": ("agent's disk agent uplink", 4, fails("agent", "agent", "uplink")),
    "agent's power cut": ("agent's disk agent uplink", 1, power_cut("agent", "agent", "uplink")),
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
    "collector's power cut": ("store collector lock", 1, power_cut("collector", "collector")),
    "store locked": ("lock", 6, lock),
}
DATABASE_FAULTS = {
    "database killed": ("database", 2, kill("database")),
    "database stopped short": ("database", 2, kill("database", how=signal.SIGQUIT)),
    "database stands still": ("database", 4, stop("database")),
    "database's disk full": ("database's disk", 5, full("database")),
    "database's power cut": ("database database's disk lock", 1, power_cut("database", "database")),
    "connection killed": ("database", 0.5, backend(signal.SIGKILL)),
    "connection ended": ("database", 0.5, backend(signal.SIGTERM)),
}


class Plan:
    """Which faults, when and for how long: the same for the same seed, number and store."""

    def __init__(self, seed, n, kind, every_s=0.7):
        self.seed, self.list = seed, []
        chance, busy, used, at = random.Random(seed), {}, [], 0
        kinds = {**FAULTS, **(DATABASE_FAULTS if kind == "PostgreSQL" else {})}
        while len(self.list) < n:
            at += chance.expovariate(1 / every_s)
            free = sorted(k for k, f in kinds.items() if all(busy.get(x, 0) <= at for x in things(f)))
            if not free:
                continue
            rarest = min(map(used.count, free))
            what = chance.choice([k for k in free if used.count(k) <= rarest + 1])  # none is left out
            used.append(what)
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
