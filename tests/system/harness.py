# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs under test as objects: IT security's desk, the collector, the agent with its uplink,
and the people who use the laptop. Everything runs in a fake internet (internet.py)."""
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import internet as net
from internet import wait_for

TREE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ONCHANNEL_BUILD", TREE / "build")).resolve()
# How much slower than an idle laptop this machine is: told (an emulator), or by what waits for its processors.
SLOW = float(os.environ.get("ONCHANNEL_SLOW") or max(1, 1 + os.getloadavg()[0] / os.cpu_count()))
FAST_MS = 100 * SLOW  # "fails fast": an error, never a time-out
PROGRAMS = ("agent/onchanneld", "agent/uplink/onchannel-uplink", "cli/onchannel", "notify/onchannel-notify", "collector/onchannel-collector")
ADMIN_PASSWORD_LABEL = "password"
POLICY = {
    "format": 1, "organisation": "Example Bank plc", "serial": 1, "not_before": "2020-01-01T00:00:00Z",
    "expires": "2099-01-01T00:00:00Z", "mode": "enforce", "unlisted": "block", "bypass": "block", "quic": "inspect",
    "programs": "block", "notice": "This channel is not approved. Use Teams.", "help": "https://intranet.example/channels",
}
MEASURED = {}  # what was measured -> milliseconds of each time: shown at the end of a run, never tested
FENCE_NAME = "viber.com"  # of a channel that no test approves: see Station.violations()


def policy_text(channels=None, extra="", **keys):
    """A policy that blocks whatever `channels` (id -> verdict) does not allow or watch."""
    lines = ["[policy]"] + [f"{k} = {v}" for k, v in {**POLICY, **keys}.items()]
    for channel, verdict in (channels or {}).items():
        lines += ["", f"[channel {channel}]", f"verdict = {verdict}"]
    return "\n".join(lines) + "\n" + extra


class Programs:
    """Copies of the built programs where every user of the laptop can run them, so that a build
    that goes on meanwhile changes nothing."""

    def __init__(self, folder):
        folder.mkdir()
        for program in PROGRAMS:
            shutil.copy(BUILD / program, folder)
        self.agent, self.uplink = folder / "onchanneld", folder / "onchannel-uplink"
        self.cli, self.notify, self.collector = folder / "onchannel", folder / "onchannel-notify", folder / "onchannel-collector"


class Desk:
    """IT security's desk: keys, catalogue, signatures."""

    def __init__(self, programs, folder, channels=TREE / "rules/channels"):
        self.programs, self.folder, self.channels = programs, folder, channels
        (folder / "keys").mkdir(parents=True)
        for role in ("policy", "catalogue"):
            self.cli("key", "new", role)
            shutil.move(folder / f"{role}.pub", folder / "keys")
        self.catalogue = self.build_catalogue(channels)

    def cli(self, *args, check=True):
        result = subprocess.run([self.programs.cli, *map(str, args)], cwd=self.folder, capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=30, check=False)
        if check and result.returncode:
            raise AssertionError(f"onchannel {args}: exit {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def build_catalogue(self, channels, name="catalogue.ini", serial=1):
        self.cli("catalogue", "build", "-o", name, "--version", "test", "--serial", serial, "--key", "catalogue.key", channels)
        return self.folder / name

    def sign(self, text, name="policy.ini", key="policy.key"):
        path = self.folder / name
        path.write_text(text)
        self.cli("policy", "sign", path, "--key", key)
        return path


class Collector:
    def __init__(self, internet, programs, store=None):
        self.internet, self.programs = internet, programs
        self.folder = pathlib.Path(internet.base) / "collector"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(self.folder, net.SERVICES["onchannel-collector"], net.SERVICES["onchannel-collector"])
        self.dir = self.folder / "data"
        text = self.run("init", self.dir, "--name", net.COLLECTOR, "--agents", "0.0.0.0:8443", "--page", "0.0.0.0:8444",
                        "--admin", "admin", *(("--store", store) if store else ())).stdout
        self.password = next(line.split()[-1] for line in text.splitlines() if ADMIN_PASSWORD_LABEL in line.lower())
        self.ca = pathlib.Path(internet.base) / "collector-ca.pem"
        shutil.copy(self.dir / "server-ca.pem", self.ca)
        self.ca.chmod(0o644)
        self.process = self.cookies = None
        self.start()

    def run(self, *args, check=True, **kw):
        return self.internet.world.run([str(self.programs.collector), *map(str, args)], user="onchannel-collector",
                                       check=check, **kw)

    def start(self):
        self.log = pathlib.Path(self.internet.base) / "collector.log"
        with open(self.log, "a") as log:
            self.process = self.internet.world.popen([str(self.programs.collector), "serve", str(self.dir)],
                                                     user="onchannel-collector", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self.alive() and self.curl("/api/v1/session").returncode == 0, 10, "the collector answering")

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the collector ended with {self.process.returncode}\n{self.log.read_text()}")
        return True

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(20)

    def token(self):
        return self.run("token", self.dir, "--uses", "100", "--hours", "1").stdout.split()[-1]

    def curl(self, path, *args, port=8444, **kw):
        """curl's CompletedProcess; the body and the status in the last line."""
        return self.internet.world.run(
            ["curl", "-sS", "--max-time", str(10 * SLOW), "--cacert", str(self.ca), "--resolve", f"{net.COLLECTOR}:{port}:{net.WORLD4}",
             "-w", "\n%{http_code}", *args, f"https://{net.COLLECTOR}:{port}{path}"], **kw)

    def call(self, path, *args, **kw):
        """(status, JSON) of a call to the auditors' interface, logged in."""
        if not self.cookies:
            self.cookies = f"{self.internet.base}/cookies"
            status, answer = self._split(self.curl("/api/v1/login", "-c", self.cookies, "-H", "Content-Type: application/json", "-H",
                                                   f"Origin: https://{net.COLLECTOR}:8444", "-d",
                                                   json.dumps({"user": "admin", "password": self.password})))
            assert status == 200, answer
        return self._split(self.curl(path, "-b", self.cookies, *args, **kw))

    @staticmethod
    def _split(result):
        assert result.returncode == 0, result.stderr
        body, _, status = result.stdout.rpartition("\n")
        return int(status), json.loads(body) if body[:1] in ("{", "[") else body

    def violations(self, **filters):
        query = "&".join(f"{k}={v}" for k, v in filters.items())
        status, answer = self.call(f"/api/v1/violations?limit=200&{query}")
        assert status == 200, answer
        return answer["rows"]

    def devices(self):
        status, answer = self.call("/api/v1/devices")
        assert status == 200, answer
        return answer["rows"]

    def sql(self, statement, *values):
        """Rows of the database itself, read beside the running collector."""
        path, = [p for p in self.dir.iterdir() if p.suffix in (".db", ".sqlite", ".sqlite3")]
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()


class Agent:
    """onchanneld and its uplink on the laptop."""
    device = "ws-0301"

    def __init__(self, internet, programs, desk, collector=None, browsers=False, device=None):
        """browsers: manage their policies; else a browser shows what the layers below do alone."""
        self.internet, self.programs, self.desk, self.collector = internet, programs, desk, collector
        self.browsers, self.device = browsers, device or self.device
        base = pathlib.Path(internet.base)
        self.state, self.runtime, self.ini = base / "state", base / "runtime", base / "agent.ini"
        self.log, self.uplink_log = base / "agent.log", base / "uplink.log"
        self.process = self.uplink = None
        self.serial = 0
        uid = net.SERVICES["onchannel"]
        self.state.mkdir()
        for folder, mode in (("incoming", 0o755), ("uplink", 0o700)):
            (self.state / folder).mkdir(mode=mode)
            os.chown(self.state / folder, uid, uid)
        self.write_ini()

    def write_ini(self, **more):
        agent = {"device": self.device, "state": self.state, "runtime": self.runtime, "keys": self.desk.folder / "keys",
                 "catalogue": self.desk.catalogue, "bpffs": f"{self.internet.base}/bpf/onchannel",
                 "cgroup": self.internet.laptop.cgroup, "heartbeat": 3600, "uplink_group": "onchannel", **more}
        text = "[agent]\n" + "".join(f"{k} = {v}\n" for k, v in agent.items())
        text += f"[browser]\nmanage = {'yes' if self.browsers else 'no'}\n"
        if self.collector:
            text += f"[collector]\nurl = https://{net.COLLECTOR}:8443\nca = {self.collector.ca}\n"
        self.ini.write_text(text)

    def start(self):
        """Start the daemon and wait until it says that it enforces (sd_notify(3))."""
        path = f"{self.internet.base}/notify"
        pathlib.Path(path).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.log, "a") as log:
            notify.bind(path)
            start = time.monotonic()
            self.process = self.internet.laptop.popen(
                [str(self.programs.agent), "--config", str(self.ini)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=net.environment(NOTIFY_SOCKET=path))
            end = start + 20 * SLOW
            while True:
                if select.select([notify], [], [], 0.02)[0] and "READY=1" in notify.recv(4096).decode().split("\n"):
                    self.start_ms = (time.monotonic() - start) * 1000
                    return self
                self.alive()
                if time.monotonic() > end:
                    raise TimeoutError(f"onchanneld is not ready\n{self.log.read_text()}")

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"onchanneld ended with {self.process.returncode}\n{self.log.read_text()[-3000:]}")
        return True

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        return self.process.wait(20)

    def stop(self):
        for process in (self.uplink, self.process):
            if process and process.poll() is None:
                process.terminate()
                process.wait(20)

    def cli(self, *args, user=None, check=False, **kw):
        """`onchannel` on the laptop, asking this agent."""
        return self.internet.laptop.run([str(self.programs.cli), *map(str, args), "--socket", str(self.runtime / "control.sock")],
                                        user=user, check=check, **kw)

    def json(self, *args, **kw):
        return json.loads(self.cli(*args, "--json", check=True, **kw).stdout)

    def request(self, verb, **fields):
        """One request on the control socket, as root."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(10 * SLOW)
            s.connect(str(self.runtime / "control.sock"))
            s.sendall(json.dumps({"verb": verb, **fields}).encode() + b"\n")
            with s.makefile("rb") as answer:
                return json.loads(answer.readline())

    def status(self):
        answer = self.request("status")
        assert answer["ok"], answer
        return answer

    def policy(self, channels=None, extra="", **keys):
        """Sign, install and wait until it is in force."""
        self.serial += 1
        text = policy_text(channels, extra, **{"serial": self.serial, **keys})
        self.cli("policy", "install", self.desk.sign(text), check=True)
        wait_for(lambda: self.alive() and self.status()["policy"]["serial"] == self.serial, 10 * SLOW, f"policy {self.serial} in force")
        return self.serial

    def enrol(self):
        self.cli("enrol", f"https://{net.COLLECTOR}:8443", "--token", self.collector.token(), "--ca", self.collector.ca,
                 "--config", self.ini, check=True, env=net.environment(PATH=f"{self.programs.cli.parent}:{net.PATH}"))

    def start_uplink(self):
        with open(self.uplink_log, "a") as log:
            self.uplink = self.internet.laptop.popen([str(self.programs.uplink), "--config", str(self.ini)], user="onchannel",
                                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class Employee:
    """Somebody with a login of their own on the laptop, so that what they do is told apart."""

    def __init__(self, internet, name):
        self.internet, self.name, self.uid = internet, name, net.PEOPLE[name]
        self.home = pathlib.Path(internet.home(name))

    def popen(self, argv, **kw):
        return self.internet.laptop.popen([str(a) for a in argv], user=self.name, **kw)

    def run(self, argv, **kw):
        return self.internet.laptop.run([str(a) for a in argv], user=self.name, **kw)

    def curl(self, url, *args):
        """(exit status, milliseconds by curl's own clock, output)."""
        result = self.run(["curl", "-sS", "--max-time", str(20 * SLOW), "-w", "\n%{time_total}", *args, url], timeout=30 * SLOW)
        body, _, seconds = result.stdout.rpartition("\n")
        return result.returncode, float(seconds) * 1000, body + result.stderr

    def python(self, code, *args, timeout=30):
        """Run code that sets `result`; its value. attempt(f, …) in it measures one operation:
        {"ms", "error": errno name or class or None, "value"}."""
        result = self.run(["/usr/bin/python3", "-c", PRELUDE + code + "\nprint(json.dumps(result))", *args], timeout=timeout * SLOW)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


PRELUDE = """
import errno, json, os, socket, ssl, struct, subprocess, sys, time
def attempt(f, *args, **kw):
    start, value, error = time.perf_counter(), None, None
    try:
        value = f(*args, **kw)
    except socket.gaierror as e:
        error = "gaierror"
    except OSError as e:
        error = errno.errorcode.get(e.errno, type(e).__name__)
    if not isinstance(value, (str, int, float, list, dict)):
        value = None
    return {"ms": (time.perf_counter() - start) * 1000, "error": error, "value": value}
def connect(address, port, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as s:
        s.settimeout(10)
        s.connect((address, port))
        s.send(b"\\xefhello")
        return s.recv(100).hex() if kind == socket.SOCK_DGRAM else ""
"""


class Download:
    """An innocent download from the shared address that goes on all the time: whatever the agent
    does, it must not notice."""

    def __init__(self, employee):
        self.file = employee.home / "download"
        with open(self.file, "wb") as out, open(employee.home / "download.err", "wb") as err:
            self.process = employee.popen(["curl", "-sS", "-N", "https://innocent.shop.example/stream"], stdin=subprocess.DEVNULL,
                                          stdout=out, stderr=err)
        self.error = employee.home / "download.err"
        self.check()

    def check(self):
        """New bytes arrive now, over the same connection."""
        before = self.file.stat().st_size

        def more():
            assert self.process.poll() is None, f"the innocent download was cut off: {self.error.read_text()}"
            return self.file.stat().st_size > before
        wait_for(more, 5 * SLOW, "the innocent download going on")

    def close(self):
        self.process.kill()
        self.process.wait()


class Station:
    """A laptop with an enrolled agent, and its collector."""

    def __init__(self, internet, channels=TREE / "rules/channels", **agent):
        base = pathlib.Path(internet.base)
        self.internet, self.programs = internet, Programs(base / "bin")
        self.desk = Desk(self.programs, base / "desk", channels)
        self.collector = Collector(internet, self.programs)
        self.agent = Agent(internet, self.programs, self.desk, self.collector, **agent)
        self.people = (Employee(internet, name) for name in itertools.islice(net.PEOPLE, 2, None))
        self.agent.start()
        self.agent.enrol()
        self.agent.start_uplink()
        self.agent.policy()
        self.download = Download(self.employee())

    def employee(self):
        return next(self.people)

    def fence(self):
        """Wait until everything that has happened so far is at the collector: an attempt of a
        person who makes only this one arrives after all earlier ones, for the chain is in order."""
        somebody = self.employee()
        somebody.run(["getent", "ahosts", FENCE_NAME])
        wait_for(lambda: self.agent.alive() and self.collector.violations(user=somebody.name), 20 * SLOW,
                 "a violation reaching the collector")

    def violations(self, employee, **filters):
        """All of this person's rows at the collector."""
        self.fence()
        return self.collector.violations(user=employee.name, **filters)

    def close(self):
        self.download.close()
        self.agent.stop()
        self.collector.stop()


def assert_row(row, **expected):
    """The row has these values; one line says which has not."""
    wrong = {k: (row.get(k), v) for k, v in expected.items() if row.get(k) != v}
    assert not wrong, f"is, should be: {wrong}\n{row}"
