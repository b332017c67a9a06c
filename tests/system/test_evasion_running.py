# SPDX-License-Identifier: GPL-3.0-or-later
"""EVASION 20: it was running before the agent started, or before the policy turned against it."""
import contextlib
import os
import select
import shutil
import signal
import subprocess
import time

import pytest

import world
from harness import SLOW, assert_row
from internet import remove_cgroup, wait_for

ENDED = ("ECONNABORTED", "ECONNRESET", "EPIPE", "EPERM", "ECONNREFUSED", "EDESTADDRREQ")  # the last: UDP is disconnected
TELEGRAM, INNOCENT = "149.154.167.61", "203.0.113.81"

# Holds a connection open; says when it is, and how it ended.
HOLD = """
import errno, socket, ssl, sys, time
address, port, kind, name = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM, 262 if kind == "mptcp" else 0)
s.settimeout(10)
s.connect((address, port))
if kind in ("tls", "mptcp"):
    context = ssl._create_unverified_context()
    s = context.wrap_socket(s, server_hostname=name)
print("open", flush=True)
s.settimeout(0.05)
while True:
    try:
        s.send(b"GET /stream HTTP/1.1\\r\\n" if name else b"\\xef")
        if not s.recv(10):
            raise BrokenPipeError(errno.EPIPE, "closed")
        time.sleep(0.05)
    except TimeoutError:
        continue
    except ssl.SSLEOFError:
        print("EPIPE", flush=True)
        break
    except OSError as e:
        print(errno.errorcode.get(e.errno, type(e).__name__), flush=True)
        break
time.sleep(60)
"""


@contextlib.contextmanager
def holding(employee, address, port=443, kind="tcp", name="", program="/usr/bin/python3"):
    process = employee.popen([program, "-c", HOLD, address, str(port), kind, name], stdout=subprocess.PIPE, text=True,
                             stdin=subprocess.DEVNULL)
    try:
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ended(process, since):
    """How the connection ended: within a second."""
    how = process.stdout.readline().strip()
    assert time.monotonic() - since < SLOW
    return how


def goes_on(process):
    assert process.poll() is None
    assert not select.select([process.stdout], [], [], 0.2)[0], "the connection has ended"


def messenger(employee, name="signal-desktop", program=os.path.realpath("/usr/bin/python3")):
    path = employee.home / "bin" / name
    path.parent.mkdir(mode=0o755, exist_ok=True)
    shutil.copy(program, path)
    return str(path)


def may_run(employee, path):
    try:
        return employee.run([path, "0"]).returncode == 0
    except PermissionError:
        return False


def release(station):
    """Nobody watches: no agent, no programs, no table. The kernel lets go of a link a moment after its last pin."""
    assert station.agent.kill(signal.SIGTERM) == 0
    station.internet.laptop.run([str(station.programs.agent), "release", "--config", str(station.agent.ini)], check=True)
    somebody = station.employee()
    path = messenger(somebody, program="/usr/bin/sleep")
    wait_for(lambda: may_run(somebody, path), 5 * SLOW, "programs being let alone")
    wait_for(lambda: somebody.python(f'result = attempt(connect, "{TELEGRAM}", 443)')["error"] is None, 5 * SLOW, "connections being let alone")


def turn(station, *args, **kw):
    station.agent.policy(*args, **kw)
    return time.monotonic()


@pytest.mark.evasion(20, "a program", "walk exec")
def test_20_program_that_runs_already(allowing, employee):
    path = messenger(employee, program="/usr/bin/sleep")
    with employee.popen([path, "60"]) as process:
        time.sleep(0.1)
        assert process.poll() is None
        since = turn(allowing, programs="block")
        assert process.wait(5 * SLOW) == -signal.SIGKILL
        assert time.monotonic() - since < SLOW
    row, = allowing.violations(employee)
    assert_row(row, channel="signal", layer="exec", tier="program", outcome="killed", program=path)


@pytest.mark.evasion(20, "a program", "walk exec")
def test_20_program_started_before_the_agent(blocking, employee):
    path, innocent = messenger(employee, program="/usr/bin/sleep"), messenger(employee, "signal-estimator", "/usr/bin/sleep")
    release(blocking)
    with employee.popen([path, "60"]) as process, employee.popen([innocent, "60"]) as other:
        time.sleep(0.1)
        blocking.agent.start()
        since = time.monotonic()
        assert process.wait(5 * SLOW) == -signal.SIGKILL
        assert time.monotonic() - since < SLOW
        assert other.poll() is None
        other.kill()
    row, = blocking.violations(employee)
    assert_row(row, channel="signal", layer="exec", tier="program", outcome="killed", program=path)


CROWD = """
import ctypes, os, time
for i in range(600):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG
        time.sleep(120)
        os._exit(0)
print("all", flush=True)
time.sleep(120)
"""


@pytest.mark.evasion(20, "a program, behind a crowd of others, in a cgroup of its own", "walk exec")
def test_20_program_behind_a_crowd(blocking, employee):
    """More than can be looked at in one go, all younger than it: none is left out."""
    release(blocking)
    below = os.path.join(blocking.internet.laptop.cgroup, "below")
    os.mkdir(below)
    with employee.popen([messenger(employee, program="/usr/bin/sleep"), "120"]) as process, \
         employee.popen(["/usr/bin/python3", "-c", CROWD], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as crowd:
        try:
            with open(f"{below}/cgroup.procs", "w") as f:
                f.write(str(process.pid))
            assert crowd.stdout.readline() == "all\n"
            assert crowd.pid > process.pid
            blocking.agent.start()
            assert process.wait(20 * SLOW) == -signal.SIGKILL
            assert crowd.poll() is None
        finally:
            process.kill()
            crowd.kill()
    remove_cgroup(below)
    row, = blocking.violations(employee)
    assert_row(row, channel="signal", layer="exec", tier="program", outcome="killed")


@pytest.mark.parametrize("address,kind", [(TELEGRAM, "tcp"), ("2001:67c:4e8:f002::61", "tcp"), (TELEGRAM, "udp"), (f"::ffff:{TELEGRAM}", "tcp")])
@pytest.mark.evasion(20, "open connection to an address", "walk")
def test_20_address_connected_before_the_agent(blocking, employee, address, kind):
    release(blocking)
    with holding(employee, address, kind=kind) as process, holding(blocking.employee(), INNOCENT) as other:
        blocking.agent.start()
        assert ended(process, time.monotonic()) in ENDED
        goes_on(other)
    row, = blocking.violations(employee)
    assert_row(row, channel="telegram", layer="connect", tier="address",
               remote=address.removeprefix("::ffff:"), port=443)
    assert row["program"] in (os.path.realpath("/usr/bin/python3"), None)  # None: it has gone meanwhile
    assert row["outcome"] in ("reset", "dropped")  # ended by the agent, or by nftables a moment before


@pytest.mark.parametrize("address,kind", [(TELEGRAM, "tcp"), ("2001:67c:4e8:f002::62", "udp")])
@pytest.mark.evasion(20, "open connection to an address", "walk")
def test_20_address_when_the_policy_turns(allowing, employee, address, kind):
    with holding(employee, address, kind=kind) as process:
        assert ended(process, turn(allowing)) in ENDED
    row, = allowing.violations(employee)
    assert_row(row, channel="telegram", layer="connect", tier="address", remote=address)


@pytest.mark.evasion(20, "open connections of a program", "walk")
def test_20_connections_of_a_program(allowing, employee):
    """Its program may run on (programs = watch), but not its connections, wherever they go."""
    with holding(employee, INNOCENT, program=messenger(employee)) as process, holding(employee, INNOCENT) as other:
        assert ended(process, turn(allowing, programs="watch")) in ENDED
        assert process.poll() is None
        goes_on(other)
    rows = allowing.violations(employee)
    assert [(r["channel"], r["layer"], r["tier"], r["outcome"]) for r in rows if r["layer"] == "connect"] == [
        ("signal", "connect", "program", "reset")]


@pytest.mark.parametrize("kind", ["tls", "mptcp"])
@pytest.mark.evasion(20, "open connection by name", "walk")
def test_20_name_when_the_policy_turns(allowing, employee, kind):
    """A channel that is known by its name only: at the shared address nobody else is disturbed."""
    with holding(employee, world.SHARED4, kind=kind, name="web.whatsapp.com") as process, \
            holding(employee, world.SHARED4, kind=kind, name="innocent.shop.example") as other:
        assert ended(process, turn(allowing)) in ENDED
        goes_on(other)
    row, = allowing.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", tier="name", remote=world.SHARED4)


@pytest.mark.evasion(20, "exempt user keeps it", "walk")
def test_20_exempt_user_keeps_the_connection(allowing, employee):
    extra = f"\n[group desk]\nuser = {employee.name}\n\n[channel telegram]\nverdict = allow\ngroup = desk\n"
    with holding(employee, TELEGRAM) as process, holding(allowing.employee(), TELEGRAM) as other:
        assert ended(other, turn(allowing, extra=extra)) in ENDED
        goes_on(process)
