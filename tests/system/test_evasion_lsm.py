# SPDX-License-Identifier: GPL-3.0-or-later
"""EVASION 23 where BPF LSM works: what root tries against the agent is denied, and only the ways that
are meant for it remain: an order of its supervisor's, and the same executable after a kill."""
import os
import signal
import subprocess

import pytest

import harness
from harness import SLOW
from internet import wait_for
from test_evasion_defence import blocked, pin, restored, root

pytestmark = [pytest.mark.vm, pytest.mark.lsm]


@pytest.fixture(scope="module")
def station(internet):
    s = harness.Station(internet)
    yield s
    s.close()


def denied(station, script):
    r = root(station, "sh", "-c", script, check=False)
    assert r.returncode != 0 and "not permitted" in r.stderr, (script, r)


@pytest.fixture
def untouched(blocking, employee):
    """Nothing of what the test tried had an effect: nothing had to be repaired."""
    before = restored(blocking)
    yield blocking
    assert blocking.agent.alive() and restored(blocking) == before
    assert blocked(employee)


@pytest.mark.evasion(23, "in force", "lsm")
def test_23_lsm_in_force(blocking):
    assert "exec=lsm" in blocking.agent.status()["sensors"] and "defence=lsm" in blocking.agent.status()["sensors"]


@pytest.mark.parametrize("name", ["KILL", "STOP", "TERM", "INT", "ABRT", "USR1", "SEGV"])
@pytest.mark.evasion(23, "signals", "lsm")
def test_23_lsm_signals(untouched, name):
    denied(untouched, f"kill -{name} {untouched.agent.process.pid}")


@pytest.mark.evasion(23, "signals", "lsm")
def test_23_lsm_harmless_signals(untouched):
    for name in ("0", "CONT", "HUP"):
        root(untouched, "sh", "-c", f"kill -{name} {untouched.agent.process.pid}")


@pytest.mark.evasion(23, "ptrace", "lsm")
def test_23_lsm_trace(untouched):
    """ptrace(2), pidfd_getfd(2), /proc/PID/mem."""
    code = """
import ctypes, errno, os, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
def failed(result):
    return result < 0 and ctypes.get_errno() == errno.EPERM
try:
    os.open(f"/proc/{pid}/mem", os.O_RDWR)
    mem = False
except OSError as e:
    mem = e.errno in (errno.EPERM, errno.EACCES)
print(failed(libc.ptrace(16, pid, 0, 0)), failed(libc.syscall(438, os.pidfd_open(pid), 3, 0)), mem)
"""
    out = root(untouched, "/usr/bin/python3", "-c", code, str(untouched.agent.process.pid)).stdout
    assert out.split() == ["True"] * 3, out


@pytest.mark.parametrize("program", ["oc_egress", "oc_connect6"])
@pytest.mark.evasion(23, "bpf(2): detach, unpin, write", "lsm")
def test_23_lsm_detach(untouched, program):
    denied(untouched, f"bpftool link detach pinned {pin(untouched, program)}")


@pytest.mark.parametrize("name", ["oc_egress", "oc_exec_check", "oc_guard_kill", "oc_tasks", ""])
@pytest.mark.evasion(23, "bpf(2): detach, unpin, write", "lsm")
def test_23_lsm_unpin(untouched, name):
    denied(untouched, f"rm -r {pin(untouched, name)}")


@pytest.mark.evasion(23, "bpf(2): detach, unpin, write", "lsm")
def test_23_lsm_maps(untouched):
    denied(untouched, f"bpftool map update pinned {pin(untouched, 'oc_active')} key 0 0 0 0 value hex {'00 ' * 40}")
    denied(untouched, f"bpftool map update pinned {pin(untouched, 'oc_guard')} key 0 0 0 0 value hex {'00 ' * 32}")
    denied(untouched, f"bpftool map delete pinned {pin(untouched, 'oc_verdicts')} key 0 0 0 0")
    root(untouched, "bpftool", "map", "dump", "pinned", pin(untouched, "oc_active"))  # may be looked at


@pytest.mark.parametrize("script", [
    "rm {state}/policy/current.ini", "rm -r {state}/policy", "mv {state}/policy {state}/away", "rm {state}/device.key",
    "echo x >{state}/policy/serial", "echo x >>{state}/device.key", "truncate -s 0 {state}/last-run", "rm -r {state}/spool",
    "mv {state}/spool/state {state}/incoming/", "echo x >/tmp/x && mv /tmp/x {state}/policy/current.ini"])
@pytest.mark.evasion(23, "state folder", "lsm")
def test_23_lsm_state(untouched, script):
    denied(untouched, script.format(state=untouched.agent.state))


@pytest.mark.evasion(23, "others are left alone", "lsm")
def test_23_lsm_others_are_left_alone(untouched, employee):
    """Programs, links, maps and files that are not the agent's."""
    base = untouched.internet.base
    root(untouched, "sh", "-ec", f"""
cd {base}/bpf; mkdir other
bpftool map create other/map type array key 4 value 4 entries 1 name other
bpftool map update pinned other/map key 0 0 0 0 value 1 0 0 0
rm -r other
sleep 60 & kill -KILL $!
""")
    code = "import os; open('x', 'w').write('x'); os.truncate('x', 0); os.rename('x', 'y'); os.unlink('y'); os.mkdir('z'); os.rmdir('z')"
    assert employee.run(["/usr/bin/python3", "-c", code], cwd=str(employee.home)).returncode == 0


@pytest.mark.evasion(23, "another executable takes over", "lsm")
def test_23_lsm_taken_over_after_a_kill(blocking, employee):
    """Process 1 or the supervisor may end it; until it is back nobody else gets at what it left."""
    assert blocking.agent.kill(signal.SIGKILL) == -signal.SIGKILL
    denied(blocking, f"rm {pin(blocking, 'oc_egress')}")
    denied(blocking, f"bpftool link detach pinned {pin(blocking, 'oc_connect4')}")
    denied(blocking, f"rm {blocking.agent.state}/policy/current.ini")
    assert blocked(employee)
    blocking.agent.start()
    assert blocked(employee)
    denied(blocking, f"kill -KILL {blocking.agent.process.pid}")


@pytest.mark.evasion(23, "an orderly end is possible", "lsm")
def test_23_lsm_ends_with_an_order(blocking, employee):
    """What a package upgrade and `onchanneld release` rely on: told to end, the agent lets go."""
    assert blocking.agent.kill(signal.SIGTERM) == 0
    assert blocked(employee)
    other = blocking.programs.agent.with_name("onchanneld.new")  # as after an upgrade: another inode
    subprocess.run(["cp", blocking.programs.agent, other], check=True)
    os.rename(other, blocking.programs.agent)
    blocking.agent.start()
    assert blocked(employee)
    assert blocking.agent.kill(signal.SIGTERM) == 0
    root(blocking, blocking.programs.agent, "release", "--config", blocking.agent.ini)
    assert employee.curl("https://web.whatsapp.com/")[0] == 0
    blocking.agent.start()
    wait_for(lambda: blocked(employee), 5 * SLOW)
