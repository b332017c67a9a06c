# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 17, 20 and 21: ways to run a messenger that are no plain start of it, or to let somebody else talk for it."""
import json
import os
import shutil
import subprocess
import time

import pytest

import world
from harness import FAST_MS, PRELUDE, SLOW, assert_row
from internet import wait_for
from shop import LIMIT_MS, assert_ended, put, start, station_of
from test_evasion_tls import CLIENT

ADDRESS = "203.0.113.80"  # nobody's
TELEGRAM = "149.154.167.66"


@pytest.fixture(scope="module")
def station(shop, tmp_path_factory):
    with station_of(shop, tmp_path_factory.mktemp("rules")) as s:
        yield s


def build(employee, name, source, *flags):
    """A program of the employee's own."""
    path = employee.home / name
    subprocess.run(["cc", "-O1", "-xc", "-", "-o", path, *flags], input=source, text=True, check=True)
    path.chmod(0o755)
    employee.home.chmod(0o755)
    return path


OVERLAY = """
mkdir lower upper work mnt
cp innocent lower/x
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay mnt
"""
BTRFS = """
truncate -s 200M image; mkfs.btrfs -q image; mkdir mnt; mount -o loop image mnt
btrfs -q subvolume create mnt/a; btrfs -q subvolume create mnt/b; chown OWNER mnt/a mnt/b
"""
STICK = """
truncate -s 20M image; mkfs.ext4 -q image; mkdir mnt; mount -o loop,nosuid,nodev image mnt; cp innocent mnt/x; sync
chown OWNER image mnt/x
"""
SAME = """test "$(stat -c '%i %z' mnt/a/x)" = "$(stat -c '%i %z' mnt/b/x)" """
ANOTHER_CONTENT = """
import os, sys
old, new, image = (open(p, "rb").read() for p in ("innocent", "messenger", "image"))
with open("image", "r+b") as f:
    f.seek(image.index(old[:4096]))
    f.write(new)
    os.fsync(f.fileno())
fd = os.open("mnt/x", os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
sys.exit(os.read(fd, 1 << 20)[:len(new)] != new)
"""


def changed_overlay(employee, run):
    """In a mount namespace of one's own; the lower file is written while the overlay knows its old times."""
    script = OVERLAY + "for i in 1 2; do HOLD=0 mnt/x first; sleep 4; done; cat messenger >lower/x; HOLD=60 mnt/x second; HOLD=60 mnt/x second"
    return employee.run(["unshare", "-Urm", "sh", "-c", script], timeout=60 * SLOW)


def other_subvolume(employee, run):
    """Two files of equal numbers and times."""
    run(BTRFS)
    script = (f"cp innocent mnt/a/x; cp messenger mnt/b/x; for i in $(seq 300); do chmod 755 mnt/a/x mnt/b/x; {SAME} && break; done; {SAME} || exit 9; "
              "for i in 1 2; do sleep 4; HOLD=0 mnt/a/x first; done; HOLD=60 mnt/b/x second; HOLD=60 mnt/b/x second")
    return employee.run(["sh", "-c", script], timeout=60 * SLOW)


def changed_stick(employee, run):
    """What a desktop mounts for somebody: they write to the image below it."""
    run(STICK)
    (employee.home / "change.py").write_text(ANOTHER_CONTENT)
    script = "for i in 1 2; do sleep 4; HOLD=0 mnt/x first; done; python3 change.py || exit 9; HOLD=60 mnt/x second; HOLD=60 mnt/x second"
    return employee.run(["sh", "-c", script], timeout=60 * SLOW)


@pytest.mark.parametrize("how", [changed_overlay, other_subvolume, changed_stick])
@pytest.mark.evasion(17, "another content under the identity of an innocent file: overlay, btrfs, a stick's image", "exec")
def test_17_same_identity(blocking, employee, shop, needs, how):
    needs("mkfs.btrfs", "mkfs.ext4", "unshare")
    put(employee, shop.innocent, "innocent")
    put(employee, shop.messenger, "messenger")

    def run(script):
        blocking.internet.laptop.run(["sh", "-ec", f"cd {employee.home}; {script.replace('OWNER', str(employee.uid))}"], check=True)
    r = how(employee, run)
    assert (employee.home / "first").exists() and r.returncode == 137, r
    rows = blocking.violations(employee)
    assert rows and {(row["channel"], row["layer"], row["outcome"]) for row in rows} == {("checkchat", "exec", "killed")}, rows


EXECVEAT = """
import ctypes
def execveat(fd):
    pid = os.fork()
    if pid == 0:
        argv, env = (ctypes.c_char_p * 3)(b"x", b"ran", None), (ctypes.c_char_p * 2)(b"HOLD=60", None)
        ctypes.CDLL(None).syscall(322, fd, b"", argv, env, 0x1000)
        os._exit(99)
    return -(os.waitpid(pid, 0)[1] & 127)
os.chdir(os.environ["HOME"])
"""
BINFMT = """
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || exit 9
printf ':note:E::note::%s:' "$PWD/notes" >/proc/sys/fs/binfmt_misc/register || exit 9
HOLD=60 ./letter.note ran
"""


@pytest.mark.evasion(17, "execveat, chains of scripts, a set-uid helper, a format of one's own (binfmt_misc)", "exec")
def test_17_ways_to_execute(blocking, employee, shop):
    """Each by the content of what runs in the end, in the name of the person."""
    path = put(employee, shop.messenger, "notes")
    for code in ("os.open('notes', os.O_PATH)", "os.open('notes', os.O_RDONLY)"):
        r = employee.python(EXECVEAT + f"result = attempt(execveat, {code})")
        assert r["value"] == -9 and r["ms"] < LIMIT_MS * SLOW, r
    for name, interpreter in (("one", path), ("two", employee.home / "one"), ("three", employee.home / "two")):
        put(employee, "/bin/true", name).write_text(f"#!{interpreter}\n")
    assert_ended(start(employee, [employee.home / "three"], times=2), "a chain of scripts", again=False)
    helper = put(employee, "/usr/bin/env", "helper")
    os.chmod(helper, 0o4755)
    assert_ended(start(employee, [helper, path], times=2), "set-uid helper", again=False)
    put(employee, shop.innocent, "letter.note")
    r = employee.run(["unshare", "-Urm", "sh", "-c", BINFMT], timeout=30 * SLOW)
    assert r.returncode == 137, r  # Linux 6.7: a user namespace has formats of its own
    rows = blocking.violations(employee)
    assert {row["channel"] for row in rows} == {"checkchat"}, rows
    assert {row["program"] for row in rows} >= {str(path)}, rows


DEEP = """
content = open("notes", "rb").read()
for i in range(25):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
with open("notes", "wb") as f:
    f.write(content)
os.chmod("notes", 0o755)
result = [attempt(lambda: subprocess.run(["./notes", "ran"], env={**os.environ, "HOLD": "60"}).returncode) for i in range(2)]
"""
NAMES = [b"no\xfftes", b"new\nline", b"esc\x1b[31mape", b"n" * 255, b"notes (deleted)", b'q"uote\\', "\u202enotes".encode()]


@pytest.mark.evasion(17, "deeper than any path reaches; under names of any bytes", "exec")
def test_17_paths(blocking, employee, shop):
    """Each has its record and its notice."""
    put(employee, shop.messenger, "notes")
    for r in employee.python("os.chdir(os.environ['HOME'])" + DEEP, timeout=60):
        assert r["value"] == -9 or r["error"] == "EPERM", r
    for name in NAMES:
        path = os.fsencode(employee.home) + b"/" + name
        shutil.copy(shop.messenger, path)
        r = employee.run(["env", "HOLD=60", os.fsdecode(path), employee.home / "ran"])
        assert r.returncode in (-9, 126), r
    names = {row["program"].rpartition("/")[2] for row in blocking.violations(employee)}
    assert names == {"notes", r"no\xfftes", r"new\x0aline", r"esc\x1b[31mape", "n" * 255, "notes (deleted)", 'q"uote\\', r"\xe2\x80\xaenotes"}
    notices = blocking.agent.cli("notices", "--json", user=employee.name, check=True).stdout.splitlines()
    assert {json.loads(n)["program"].rpartition("/")[2] for n in notices} == names


# With KEEP of them alive at a time.
FLOOD = """
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
        char *a[] = {argv[1], "x", NULL}, *e[] = {NULL};
        int n = atoi(argv[2]);
        pid_t kept[n];
        for (unsigned i = 0;; i++) {
                if (i >= n) {
                        kill(kept[i % n], SIGKILL);
                        waitpid(kept[i % n], NULL, 0);
                }
                kept[i % n] = vfork();
                if (kept[i % n] == 0) {
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        execve(argv[1], a, e);
                        _exit(1);
                }
        }
}
"""
NOTHING = 'void _start(void) { for (;;) asm volatile("syscall" :: "a"(34)); }'


# Of starts that are over nothing is asked. Where others than the kernel knows live on, some find the ring full, and the walk ends them.
@pytest.mark.parametrize("kept", [1, 100])
@pytest.mark.evasion(17, "in a flood of starts (vfork and exec)", "exec")
def test_17_flood_of_starts(blocking, employee, shop, kept):
    """Of a program about which the agent is asked each time: an interpreter by its name."""
    flood, nothing = build(employee, "flood", FLOOD), build(employee, "perl", NOTHING, "-static", "-nostdlib")
    before = blocking.agent.status()["counters"]["facts"]
    floods = [employee.popen([flood, nothing, str(kept)], stdin=subprocess.DEVNULL) for _ in range(3)]
    try:
        wait_for(lambda: blocking.agent.status()["counters"]["facts"] > before + 3000, 20 * SLOW, "the flood")
        for program in (shop.messenger, shop.nameless):
            assert_ended(start(employee, [put(employee, program, program.name)], times=3, hold=60),
                         f"{program.name} in a flood, {3 * kept} alive", again=kept == 1, limit_ms=LIMIT_MS * (1 if kept == 1 else 5))
        assert start(employee, [put(employee, shop.innocent, "innocent")], hold=0)[0]["value"] == 0
    finally:
        for f in floods:
            f.kill()
            f.wait()
    assert {r["program"] for r in blocking.violations(employee)} == {str(employee.home / p) for p in ("messenger", "nameless")}


CROWD = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static int sleeper(void *p)
{
        for (;;)
                pause();
}
static int talk(void)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443), .sin_addr.s_addr = inet_addr("203.0.113.80")};
        return connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&to, sizeof(to)) == 0 ? 0 : errno;
}
int main(int argc, char **argv)
{
        int n = 0, status = 0;
        while (n < atoi(argv[1]) && clone(sleeper, (char *)malloc(4096) + 4096, CLONE_VM | CLONE_FILES | CLONE_FS, NULL) > 0)
                n++;
        for (int i = 0; i < atoi(argv[2]); i++) {
                pid_t p = vfork();
                if (p == 0)
                        _exit(0);
                waitpid(p, NULL, 0);
        }
        if (fork() == 0)
                _exit(talk());
        wait(&status);
        printf("%d %d\\n", n, WEXITSTATUS(status));
        fflush(stdout);
        pause();
}
"""


def population(station):
    with open(f"{station.internet.laptop.cgroup}/cgroup.procs") as f:
        return sum(1 for _ in f)


@pytest.mark.evasion(20, "a messenger's children, more than are counted on", "connect")
def test_20_crowd_of_children(station, employee):
    """Programs are let run and watched, their network is blocked: 20,000 that live, 20,000 that are gone at once."""
    station.agent.policy(programs="watch")
    crowd = build(employee, "signal-desktop", CROWD)
    lost = station.agent.status()["counters"]["lost"]
    process = employee.popen([crowd, "20000", "20000"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "20000 111\n"  # ECONNREFUSED
        other = put(employee, "/usr/bin/curl", "bin", "signal-desktop")
        assert employee.run([other, "-sS", "--max-time", "10", f"https://{ADDRESS}/"]).returncode == 7
        assert employee.curl(f"https://{ADDRESS}/")[0] == 0, "others are not touched"
        assert station.agent.status()["counters"]["lost"] == lost
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    rows = station.violations(employee)
    assert {(r["layer"], r["channel"], r["tier"]) for r in rows} == {("exec", "signal", "program"), ("connect", "signal", "program")}, rows
    assert population(station) > 20000
    station.agent.policy()  # the agent answers while it ends them
    wait_for(lambda: population(station) < 1000, 120 * SLOW, "all of them to end")


# In a process of its own, which has no name of a messenger: look-up, address, hello.
INSIDE = """
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
static __attribute__((constructor)) void inside(void)
{
        struct addrinfo *a;
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443), .sin_addr.s_addr = inet_addr("149.154.167.66")};
        int r = getaddrinfo("web.whatsapp.com", "443", NULL, &a);
        int c = connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&to, sizeof(to));
        fprintf(stderr, "%d %d\\n", r != 0, c < 0 ? errno : 0);
}
"""
# A process that sleeps is made to connect, by its own system calls; then it goes on.
INJECT = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
static long call(pid_t p, struct user_regs_struct before, long n, long a, long b, long c)
{
        before.rip -= 2; /* the system call in which it sleeps, once more */
        before.orig_rax = -1;
        before.rax = n, before.rdi = a, before.rsi = b, before.rdx = c;
        ptrace(PTRACE_SETREGS, p, 0, &before);
        ptrace(PTRACE_SINGLESTEP, p, 0, 0);
        waitpid(p, NULL, 0);
        ptrace(PTRACE_GETREGS, p, 0, &before);
        return before.rax;
}
int main(int argc, char **argv)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443), .sin_addr.s_addr = inet_addr("149.154.167.66")};
        struct user_regs_struct regs;
        pid_t p = fork();
        if (p == 0) {
                execl(argv[1], argv[1], "60", NULL);
                _exit(1);
        }
        sleep(1);
        ptrace(PTRACE_SEIZE, p, 0, 0);
        ptrace(PTRACE_INTERRUPT, p, 0, 0);
        waitpid(p, NULL, 0);
        ptrace(PTRACE_GETREGS, p, 0, &regs);
        struct iovec here = {&to, sizeof(to)}, there = {(void *)(regs.rsp - 1024), sizeof(to)};
        if (process_vm_writev(p, &here, 1, &there, 1, 0) != sizeof(to))
                return 1;
        long s = call(p, regs, SYS_socket, AF_INET, SOCK_STREAM, 0);
        printf("%ld %ld\\n", s, call(p, regs, SYS_connect, s, (long)there.iov_base, sizeof(to)));
        kill(p, 9);
        return 0;
}
"""


@pytest.mark.evasion(17, "code put into an innocent program: LD_PRELOAD, ptrace, process_vm_writev", "egress connect")
def test_17_code_inside_others(blocking, employee):
    """Its start is the innocent program's; what it does on the network is stopped."""
    inside = build(employee, "inside.so", INSIDE, "-shared", "-fPIC")
    since = time.monotonic()
    r = employee.run(["env", f"LD_PRELOAD={inside}", "/usr/bin/true"])
    assert (r.returncode, r.stderr) == (0, "1 111\n"), r
    r = employee.run([build(employee, "inject", INJECT), "/usr/bin/sleep"])
    handle, result = r.stdout.split()
    assert int(handle) >= 0 and result == "-111", r
    assert not blocking.internet.seen("tcp", since=since, address=TELEGRAM)
    rows = {(row["layer"], row["channel"], row["program"]) for row in blocking.violations(employee)}
    assert rows == {("dns", "whatsapp", "/usr/bin/true"), ("connect", "telegram", "/usr/bin/true"), ("connect", "telegram", "/usr/bin/sleep")}, rows


HANDED = CLIENT + """
path, how = sys.argv[1], sys.argv[2]
libc = __import__("ctypes").CDLL(None)
mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
mine.connect(path)
if how == "SCM_RIGHTS":
    fd = socket.recv_fds(mine, 1, 1)[1][0]
else:
    pid, number = map(int, mine.recv(100).split())
    fd = libc.syscall(438, os.pidfd_open(pid), number, 0)
def hello():
    with socket.socket(fileno=fd) as s:
        s.settimeout(10)
        return context.wrap_socket(s, server_hostname="web.whatsapp.com").version()
print(json.dumps(attempt(hello)))
"""
GIVER = PRELUDE + """
path, how, address = sys.argv[1:]
libc = __import__("ctypes").CDLL(None)
libc.prctl(0x59616d61, -1, 0, 0, 0)  # PR_SET_PTRACER, PR_SET_PTRACER_ANY: for pidfd_getfd
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
listener.listen()
s = socket.create_connection((address, 443), 10)
print("open", flush=True)
other = listener.accept()[0]
if how == "SCM_RIGHTS":
    socket.send_fds(other, [b"x"], [s.fileno()])
    s.close()
else:
    other.send(f"{os.getpid()} {s.fileno()}".encode())
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["SCM_RIGHTS", "pidfd_getfd"])
@pytest.mark.evasion(21, "a socket made in one cgroup and used in another", "egress")
def test_21_socket_from_elsewhere(blocking, employee, how):
    """Who talks stands outside of what is watched; the socket was made inside, and is its maker's."""
    path, since = employee.home / "socket", time.monotonic()
    giver = employee.popen(["/usr/bin/python3", "-c", GIVER, path, how, world.SHARED4], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert giver.stdout.readline() == "open\n"
        r = employee.run(["/usr/bin/python3", "-c", PRELUDE + HANDED, path, how], cgroup=False)
        assert r.returncode == 0, r.stderr
        r = json.loads(r.stdout)
        assert r["error"] and r["ms"] < 5 * FAST_MS, r
    finally:
        giver.kill()
        giver.wait()
        giver.stdout.close()
    assert not blocking.internet.seen("tls", since=since, name="web.whatsapp.com")
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="tls", tier="name", uid=employee.uid, outcome="reset")
