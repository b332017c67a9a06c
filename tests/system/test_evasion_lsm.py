# SPDX-License-Identifier: GPL-3.0-or-later
"""EVASION 23 where BPF LSM works: what root tries against the agent is denied, and only the ways that
are meant for it remain: an order of its supervisor's, and the same executable after a kill."""
import json
import os
import re
import signal
import subprocess

import pytest

from harness import SLOW
from internet import wait_for
from test_evasion_defence import blocked, pin, restored, root

pytestmark = pytest.mark.lsm


EPERM = "not permitted|permission denied|must be superuser|mount point is not a directory"  # the last ones: mount(8), umount(8)


def denied(station, script):
    r = root(station, "sh", "-c", script, check=False)
    assert r.returncode != 0 and re.search(EPERM, r.stderr), (script, r)


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


@pytest.mark.evasion(23, "signals", "lsm")
def test_23_lsm_signals(untouched):
    for name in ("KILL", "STOP", "TERM", "INT", "ABRT", "USR1", "SEGV"):
        denied(untouched, f"kill -{name} {untouched.agent.process.pid}")
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


@pytest.mark.evasion(23, "bpf(2): detach, unpin, write", "lsm")
def test_23_lsm_programs(untouched):
    for program in ("oc_egress", "oc_connect6"):
        denied(untouched, f"bpftool link detach pinned {pin(untouched, program)}")
    for name in ("oc_egress", "oc_exec_check", "oc_guard_kill", "oc_tasks", ""):
        denied(untouched, f"rm -r {pin(untouched, name)}")


@pytest.mark.evasion(23, "bpf(2): detach, unpin, write", "lsm")
def test_23_lsm_maps(untouched):
    for name in ("oc_active", "oc_guard"):
        size = json.loads(root(untouched, "bpftool", "-j", "map", "show", "pinned", pin(untouched, name)).stdout)["bytes_value"]
        denied(untouched, f"bpftool map update pinned {pin(untouched, name)} key 0 0 0 0 value hex {'00 ' * size}")
    denied(untouched, f"bpftool map delete pinned {pin(untouched, 'oc_verdicts')} key 0 0 0 0")
    root(untouched, "bpftool", "map", "dump", "pinned", pin(untouched, "oc_active"))  # may be looked at


STATE = """
rm {state}/policy/current.ini
rm -r {state}/policy
mv {state}/policy {state}/away
rm {state}/device.key
echo x >{state}/policy/serial
echo x >>{state}/device.key
truncate -s 0 {state}/last-run
rm -r {state}/spool
mv {state}/spool/state {state}/incoming/
echo x >/tmp/x && mv /tmp/x {state}/policy/current.ini
chmod 666 {state}/device.key
chmod 0 {state}/spool
chown 4242 {state}/policy
touch -d yesterday {state}/last-run
touch {state}/policy/next.ini
mkdir {state}/spool/x
mkfifo {state}/spool/x
ln -s /dev/null {state}/spool/x
ln {state}/device.key {home}/key
echo x >{home}/x && ln {home}/x {state}/policy/next.ini
python3 -c 'import fcntl, os; fcntl.ioctl(os.open("{state}/spool", 0), 0x40086602, b"\x10" + bytes(7))'
"""


@pytest.mark.evasion(23, "state folder", "lsm")
def test_23_lsm_state(untouched):
    for script in STATE.strip().splitlines():
        denied(untouched, script.format(state=untouched.agent.state, home=untouched.internet.base))


MOUNTS = """
mount -t tmpfs none {state}
mount -t tmpfs none {state}/policy
mount --bind /dev/null {state}/policy/current.ini
mount -t tmpfs none {base}
mount -t tmpfs none {base}/bpf
mount -o remount,ro {base}/bpf
mount --make-shared {base}/bpf
umount {base}/bpf
umount -l {base}/bpf
mount -o remount,ro,bind /
"""


@pytest.mark.evasion(23, "mounts over and under its folders", "lsm")
def test_23_lsm_mounts(untouched, employee):
    base = untouched.internet.base
    for script in MOUNTS.strip().splitlines():
        denied(untouched, script.format(state=untouched.agent.state, base=base))
    r = subprocess.run(["mount", "-t", "tmpfs", "none", base], capture_output=True, text=True, check=False)
    assert r.returncode and "permission denied" in r.stderr, "in the namespace of the agent's parent"
    root(untouched, "sh", "-ec", f"""
mkdir {base}/m; mount -t tmpfs none {base}/m; mount -o remount,rw {base}/m; umount {base}/m
mount --bind / {base}/m; umount {base}/m
unshare -m sh -ec 'mount --make-rslave /; mount -t tmpfs none {base}/home; mount -o remount,ro,bind /; umount {base}/bpf; mount -t tmpfs none {base}'
rmdir {base}/m
""")


@pytest.mark.evasion(23, "cgroup files, limits, /proc", "lsm")
def test_23_lsm_throttle(untouched):
    pid, cgroup = untouched.agent.process.pid, untouched.internet.laptop.cgroup
    for folder in (cgroup, os.path.dirname(cgroup)):
        for file in ("cgroup.kill", "cgroup.freeze"):
            denied(untouched, f"echo 1 >{folder}/{file}")
    denied(untouched, f"prlimit --pid {pid} --nofile=3:3")
    for proc in (f"/proc/{pid}", *(f"/proc/{pid}/task/{t}" for t in os.listdir(f"/proc/{pid}/task"))):
        denied(untouched, f"echo 1000 >{proc}/oom_score_adj")
    root(untouched, "sh", "-ec", f"""
mkdir {cgroup}/other; sleep 60 & echo $! >{cgroup}/other/cgroup.procs
echo 1000 >/proc/$!/oom_score_adj; prlimit --pid $! --nofile=3:3; echo 1 >{cgroup}/other/cgroup.kill; wait $! || test $? = 137
rmdir {cgroup}/other
""")


@pytest.mark.evasion(23, "bpf(2): detach, unpin, write", "lsm")
def test_23_lsm_foreign_program(untouched):
    """A program of somebody else's that uses a map of ours would write it."""
    code = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\\0"))
    fd = libc.syscall(321, command, buffer, 128)
    return fd if fd >= 0 else -ctypes.get_errno()
def load(map_fd):
    code = struct.pack("=BBhi", 0x18, 0x11, 0, map_fd) + struct.pack("=BBhi", 0, 0, 0, 0)  # r1 = map
    code += struct.pack("=BBhi", 0xb7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)  # return 0
    code, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    return bpf(5, struct.pack("=IIQQ", 1, 4, ctypes.addressof(code), ctypes.addressof(licence)))
path = ctypes.create_string_buffer(sys.argv[1].encode())
theirs = bpf(0, struct.pack("=IIII", 2, 4, 4, 1))
print(load(bpf(7, struct.pack("=QI", ctypes.addressof(path), 0))), load(theirs) > 0)
"""
    assert root(untouched, "/usr/bin/python3", "-c", code, pin(untouched, "oc_guard")).stdout.split() == ["-1", "True"]
    root(untouched, "bpftool", "prog")  # those of ours may be looked at


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
