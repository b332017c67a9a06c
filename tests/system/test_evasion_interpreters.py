# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 17 and 19: which of an interpreter's arguments it runs. Where a test has no such interpreter, an innocent program
has its name and arguments: what it would run is told by those alone."""
import os
import pathlib
import signal

import pytest

from harness import SLOW
from internet import wait_for
from shop import LOADER, put, station_of
from test_evasion_escape import build

PYTHON = "/usr/bin/python3"
THREAD = """
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>
static char **arguments;
static void *run(void *p)
{
        prctl(PR_SET_NAME, "kworker/0:0");
        execv(arguments[1], arguments + 2);
        _exit(9);
}
int main(int argc, char **argv)
{
        pthread_t t;
        arguments = argv;
        pthread_create(&t, 0, run, 0);
        pause();
}
"""
INTO = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
        struct clone_args a = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = open(argv[1], O_PATH)};
        int status = 0;
        pid_t p = syscall(SYS_clone3, &a, sizeof(a));
        if (p == 0) {
                execv(argv[2], argv + 2);
                _exit(9);
        }
        return p > 0 && waitpid(p, &status, 0) == p && WIFSIGNALED(status) ? 128 + WTERMSIG(status) : 1;
}
"""
SWAPPED = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv)
{
        int fd = open(argv[1], O_RDONLY);
        rename(argv[2], argv[1]);
        fexecve(fd, argv + 3, environ);
        return 9;
}
"""


@pytest.fixture(scope="module")
def station(shop, tmp_path_factory):
    with station_of(shop, tmp_path_factory.mktemp("rules")) as s:
        yield s


# FILE is a copy of the messenger's script, MODULE its name without ".py", OTHER anything else that is there
RUN = {
    "python": [[PYTHON, "--check-hash-based-pycs", "default", "FILE"], [PYTHON, "-BW", "ignore", "FILE"],
               [PYTHON, "-IXdev", "FILE"], [PYTHON, "-OWignore", "-X", "OTHER", "--", "FILE"], [PYTHON, "-m", "MODULE"], [PYTHON, "-m", "app.part"],
               [PYTHON, "FOLDER"], [LOADER, PYTHON, "FILE"], [LOADER, "PYTHON", "-B", "FILE"], ["LD", PYTHON, "-B", "FILE"]],
    "shells": [["bash", "-O", "extglob", "FILE"], ["bash", "+x", "FILE"], ["bash", "+O", "OTHER", "FILE"], ["bash", "-xm", "notes.py"], ["bash", "--rcfile", "FILE", "-i"],
               ["bash", "-eo", "OTHER", "-", "FILE"], ["bash", "--init-file", "OTHER", "FILE"], ["zsh", "-o", "shwordsplit", "FILE"],
               ["zsh", "--emulate", "sh", "FILE"], ["busybox", "sh", "FILE"], ["busybox", "ash", "-x", "FILE"], ["fish", "-o", "OTHER", "FILE"]],
    "java": [["java", "-jar", "-Xmx64m", "FILE"], ["java", "-cp", "OTHER", "-jar", "FILE"], ["java", "-cp", "OTHER:FILE", "org.example.Main"],
             ["java", "--class-path=FILE", "org.example.Main"], ["java", "--source", "17", "FILE"], ["java", "-javaagent:FILE=x", "org.example.Main"]],
    "node": [["node", "--require", "FILE", "OTHER"], ["node", "-r", "OTHER", "FILE"], ["node", "--title", "x", "FILE"], ["node", "--import=FILE", "OTHER"],
             ["node", "notes"], ["deno", "run", "-A", "--config", "OTHER", "FILE"], ["deno", "run", "--unheard-of", "value", "FILE"]],
    "others": [["ruby", "-C", ".", "FILE"], ["ruby", "-EUTF-8", "--enable", "OTHER", "FILE"], ["ruby", "-r", "FILE", "OTHER"], ["php", "-c", "OTHER", "FILE"],
               ["php", "-S", "localhost:80", "FILE"], ["lua5.4", "-l", "OTHER", "FILE"], ["guile", "-L", ".", "-s", "FILE"], ["perl", "-wTI", "OTHER", "FILE"],
               ["tclsh", "-encoding", "utf-8", "FILE"], ["gjs", "-m", "notes.py"], ["dotnet", "exec", "--depsfile", "OTHER", "FILE"],
               ["mono", "--config", "OTHER", "FILE"], ["qemu-x86_64", "-perfmap", "FILE"], ["valgrind", "-d", "FILE"], ["wine64", "Z:WINDOWS"], ["wine64", "app\\part.py"]],
}
BY_HANDLE = [[PYTHON, "-", "ran"], [PYTHON, "-u", "/dev/fd/0", "ran"], [PYTHON, "/proc/PID/fd/0", "ran"], ["bash", "-s", "ran"], ["perl", "-wI", "ran"]]
# on the other side: a tool that is given the messenger's file, or only checks it
PASS = [[PYTHON, "OTHER", "FILE"], [PYTHON, "-u", "OTHER", "FILE"], [PYTHON, "-W", "ignore", "-X", "dev", "OTHER", "FILE"], [PYTHON, "-c", "pass", "FILE"],
        [PYTHON, "-Bm", "py_compile", "FILE"], [PYTHON, "-m", "tokenize", "FILE"], ["/bin/bash", "-n", "OTHER", "FILE"], ["/bin/bash", "-ec", "wc -c \"$0\"", "FILE"],
        ["/usr/bin/perl", "-ne", "1", "FILE"], ["/usr/bin/perl", "-w", "OTHER.pl", "FILE"], ["java", "-jar", "OTHER", "FILE"], ["java", "-cp", "OTHER", "Main", "FILE"],
        ["java", "-Xmx1g", "OTHER", "FILE"], ["node", "--trace-warnings", "OTHER", "FILE"], ["node", "--check", "FILE"], ["php", "-l", "FILE"],
        ["ruby", "-w", "OTHER", "FILE"], ["deno", "run", "--unheard-of", "OTHER", "FILE"], ["mono", "--debug", "OTHER", "FILE"], ["busybox", "sha256sum", "FILE"],
        ["qemu-x86_64", "-strace", "/bin/cat", "FILE"], ["valgrind", "-q", "/bin/cat", "FILE"], [LOADER, "/bin/cat", "FILE"], [LOADER, PYTHON, "OTHER", "FILE"],
        [LOADER, "--verify", "MESSENGER"], ["/usr/bin/ldd", "MESSENGER"], ["/usr/bin/tar", "-cf", "/dev/null", "FILE"], ["/usr/bin/sha256sum", "FILE"], ["electron", "OTHER", "FILE"]]


def argv_of(employee, shop, argv):
    """The same with the names of what this person has."""
    home = employee.home
    names = {"FILE": home / "notes.py", "OTHER": home / "other.py", "FOLDER": home / "app", "WINDOWS": str(home / "notes.py").replace("/", "\\"),
             "MESSENGER": home / "messenger", "PYTHON": home / "snake", "MODULE": "notes"}
    if not argv[0].startswith("/"):
        put(employee, LOADER if argv[0] == "LD" else shop.innocent, argv[0].lower())
    for name, path in names.items():
        argv = [a.replace(name, str(path)) if not a.startswith("/") else a for a in argv]
    return [argv[0] if argv[0].startswith("/") else str(home / argv[0].lower()), *argv[1:]]


@pytest.fixture
def desk(employee, shop):
    """A folder with the messenger's script under other names, and something else."""
    for name in (("notes.py",), ("notes.js",), ("app", "__main__.py"), ("app", "part.py")):
        put(employee, shop.script, *name)
    put(employee, "/bin/true", "other.py").write_text("")
    put(employee, "/bin/true", "other.py.pl").write_text("1;\n")
    put(employee, shop.messenger, "messenger")
    put(employee, PYTHON, "snake")
    return employee


def results(employee, shop, forms, stdin="/dev/null"):
    """How each ended: they start in the person's folder; a program leaves its last argument behind."""
    job = employee.home / "job.py"
    job.write_text(f"forms = {[argv_of(employee, shop, f) for f in forms]!r}\n")
    code = f"""
exec(open({str(job)!r}).read())
os.chdir({str(employee.home)!r})
environment = {{**os.environ, "HOLD": "{int(8 * SLOW)}", "PYTHONPYCACHEPREFIX": "/dev/null"}}
def run(argv):
    with open({str(stdin)!r}) as stdin:
        pid = os.fork()
        if pid == 0:
            os.dup2(stdin.fileno(), 0)
            os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
            os.dup2(1, 2)
            os.execvpe(argv[0], [a.replace("PID", str(os.getpid())) for a in argv] + ADD, environment)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
result = [attempt(run, argv) for argv in forms]
"""
    return lambda *add: list(zip(forms, employee.python(code.replace("ADD", repr([str(a) for a in add])), timeout=60 + 9 * len(forms))))


@pytest.mark.parametrize("family", RUN)
@pytest.mark.evasion(17, "behind options of an interpreter or a loader: with a value, bundled, a module, a folder, a class path", "exec")
def test_17_options(blocking, desk, shop, family):
    through = [(argv, r) for argv, r in results(desk, shop, RUN[family])("ran") if r["value"] != -signal.SIGKILL]
    assert not through
    rows = blocking.violations(desk)
    assert {(row["channel"], row["entry"].split()[0]) for row in rows} == {("checkchat", "sha256")}, rows
    assert {row["program"].rpartition("/")[2] for row in rows} <= {"notes.py", "notes.js", "__main__.py", "part.py"}, rows


@pytest.mark.evasion(17, "a script by standard input, by /proc/PID/fd", "exec")
def test_17_by_handle(blocking, desk, shop):
    forms = results(desk, shop, BY_HANDLE, stdin=desk.home / "notes.py")()
    assert not [(argv, r) for argv, r in forms if r["value"] != -signal.SIGKILL]
    assert len(blocking.violations(desk)) >= 1


@pytest.mark.evasion(19, "a messenger's file as an argument of a tool, whatever options stand before", "exec")
def test_19_arguments_of_tools(blocking, desk, shop):
    (desk.home / "other.py.pl").chmod(0o755)
    ended = [(argv, r) for argv, r in results(desk, shop, PASS)() if r["value"] is None or r["value"] < 0]
    assert not ended
    assert blocking.violations(desk) == []


LAZY = "unshare -Urm sh -c 'mkdir mnt; mount -t tmpfs tmpfs mnt; cp messenger mnt/x; cp notes.py mnt/y; cd mnt; umount -l .; WHAT {home}/ran'"
BINFMT = ("unshare -Urm sh -c 'mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || exit 9; cp notes.py x.note; cp messenger m; "
          "printf \":note:E::note::WHAT\" >/proc/sys/fs/binfmt_misc/register || exit 9; rm m; ./x.note ran'")
OUTSIDE = """mkdir -p new/usr new/lib new/lib64
unshare -Urm sh -c 'for i in usr lib lib64; do mount --bind /$i new/$i; done; exec {python} -c "
import os
os.chroot(\\"new\\")
os.execv(\\"{python}\\", [\\"python3\\", \\"notes.py\\", \\"ran\\"])"'"""
ODD = {
    "in a cgroup chosen at clone": "./into {group} ./messenger ran",
    "by another thread, called as the kernel's": "./thread ./messenger kworker/0:0 ran",
    "a file with another one's name by now": "cp other.py o; cp messenger m; ./swapped m o x ran",
    "a script with another one's name by now": "cp other.py o; cp notes.py m; ./swapped m o x ran",
    "on a file system unmounted by now": LAZY.replace("WHAT", "./x"),
    "a script there": LAZY.replace("WHAT", "./y"),
    "a script there, by its interpreter": LAZY.replace("WHAT", "{python} y"),
    "a script outside of its root": OUTSIDE,
    "a format that keeps its interpreter open": BINFMT.replace("WHAT", "$PWD/m:F"),
    "a format of an interpreter": BINFMT.replace("WHAT", "{python}:OP"),
    "a link to a descriptor": "exec 3<notes.py; ln -s /proc/self/fd/3 link; {python} link ran",
    "a link to the folder of descriptors": "exec 3<notes.py; ln -s /dev/fd folder; {python} folder/3 ran",
    "a script with a name of Windows'": "cp notes.py 'a\\\\b.py'; {python} 'a\\\\b.py' ran",
    "a command of busybox's within itself": "./busybox busybox sh notes.py ran",
    "traced": "strace -o /dev/null ./messenger ran",
}


@pytest.mark.evasion(17, "clone3 into a cgroup, by a second thread, renamed or unmounted meanwhile, outside of its root, links to descriptors", "exec")
def test_17_odd_starts(blocking, desk, shop, needs):
    needs("strace", "unshare")
    for name, source in (("thread", THREAD), ("into", INTO), ("swapped", SWAPPED)):
        build(desk, name, source, "-pthread")
    put(desk, shop.innocent, "busybox")
    group = pathlib.Path(blocking.internet.laptop.cgroup) / "below"
    group.mkdir()
    for f in (group, group / "cgroup.procs", group.parent / "cgroup.procs"):
        os.chown(f, desk.uid, -1)
    try:
        for what, script in ODD.items():
            (desk.home / "job.sh").write_text(script.format(home=desk.home, python=PYTHON, group=group))
            r = desk.run(["env", f"HOLD={int(8 * SLOW)}", "sh", "job.sh"], cwd=desk.home, timeout=60 * SLOW)
            assert r.returncode == 128 + signal.SIGKILL, (what, r)
    finally:
        os.chown(group.parent / "cgroup.procs", 0, -1)
        wait_for(lambda: not (group / "cgroup.procs").read_text(), what="the cgroup to be empty")
        group.rmdir()
    rows = blocking.violations(desk)
    assert {row["channel"] for row in rows} == {"checkchat"} and len(rows) >= 10, rows
