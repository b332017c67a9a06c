# SPDX-License-Identifier: GPL-3.0-or-later
"""A messenger of the tests' own in every form that a program has, what resembles it, and what starting one leads to."""
import contextlib
import hashlib
import shutil
import subprocess
import zipfile

import harness
from harness import assert_row
from internet import Internet

BUILD_ID = "5e1fc0de" + "00" * 16  # of the messenger, in the catalogue
LIMIT_MS = 1000  # a first start's end; how long it takes is shown at the end of the run
LOADER = "/lib64/ld-linux-x86-64.so.2"

# leaves its last argument behind as a file as soon as it runs, and then goes on
SOURCE = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
        const char *hold = getenv("HOLD");
        if (creat(argv[argc - 1], 0644) < 0)
                return 1;
        if (hold)
                sleep(atoi(hold));
        return 0;
}
"""
SCRIPT = "import os, sys, time\nopen(sys.argv[-1], 'w')\ntime.sleep(int(os.environ['HOLD']))\n"


# the same in a thread that goes on when the first one has ended
THREADED = SOURCE.replace("int main(", "static int run(") + """
#include <pthread.h>
#include <sys/syscall.h>
static char **arguments;
static void *thread(void *count)
{
        exit(run((long)count, arguments));
}
int main(int argc, char **argv)
{
        pthread_t t;
        arguments = argv;
        pthread_create(&t, 0, thread, (void *)(long)argc);
        syscall(SYS_exit, 0);
}
"""


def compile_program(path, *flags, text=SOURCE):
    source = path.with_suffix(".c")
    source.write_text(text)
    subprocess.run(["cc", "-O1", "-s", "-o", path, *flags, source], check=True)
    return path


# of the archive below: its last argument is a file that it leaves behind
JAVA = ["-genkeypair", "-keyalg", "EC", "-alias", "a", "-dname", "CN=a", "-storepass", "secret", "-keystore"]


class Shop:
    """What can be had: the messenger in every form, and innocent programs that resemble it."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        self.messenger = compile_program(folder / "messenger", f"-Wl,--build-id=0x{BUILD_ID}")
        self.nameless = compile_program(folder / "nameless", "-Wl,--build-id=none")
        self.threaded = compile_program(folder / "threaded", "-pthread", "-Wl,--build-id=none", text=THREADED)
        self.innocent = compile_program(folder / "innocent", "-Wl,--build-id=sha1")
        self.packaged = compile_program(folder / "packaged", "-Wl,--build-id=0x9acc" + "11" * 18)
        self.helper = compile_program(folder / "helper", "-Wl,--build-id=0x9acc" + "22" * 18)
        self.runtime = compile_program(folder / "runtime", "-Wl,--build-id=0x9acc" + "33" * 18)
        self.script = self.write("script", "#!/usr/bin/python3\n# the messenger\n" + SCRIPT)
        self.archive = self.write("archive", "the messenger's archive" * 9999)
        self.jar = folder / "jar"
        with zipfile.ZipFile(self.jar, "w") as z:
            z.writestr("META-INF/MANIFEST.MF", "Main-Class: sun.security.tools.keytool.Main\n")
        self.windows = self.write("windows", "MZ the messenger for Windows")

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def channel(self):
        hashes = [hashlib.sha256(f.read_bytes()).hexdigest()
                  for f in (self.nameless, self.threaded, self.script, self.archive, self.jar, self.windows)]
        return "\n".join([
            "[channel]", "id = checkchat", "name = Check Chat", "vendor = Check", "category = messenger",
            "homepage = https://checkchat.example", "checked = 2026-11-21", "source = https://checkchat.example", "[programs]",
            "name = checkchat", "name = CheckChat.exe", "package = checkchat-desktop", "flatpak = org.example.CheckChat",
            "snap = checkchat", f"build_id = {BUILD_ID}", *(f"sha256 = {h}" for h in hashes), ""])


@contextlib.contextmanager
def station_of(shop, folder, prepare=None):
    """A station whose catalogue, in that folder, has the shop's messenger as well. prepare(internet) comes before the agent."""
    shutil.copytree(harness.TREE / "rules/channels", folder / "channels")
    (folder / "channels/checkchat.ini").write_text(shop.channel())
    with Internet() as internet:
        if prepare:
            prepare(internet)
        s = harness.Station(internet, folder / "channels")
        yield s
        s.close()


def fuse_for_all(internet):
    """/dev/fuse as it is on a workstation: for everybody."""
    internet.laptop.run(["sh", "-ec", f"mknod -m 666 {internet.base}/fuse c 10 229; mount --bind {internet.base}/fuse /dev/fuse"], check=True)


def start(employee, argv, setup="", times=1, hold=8):
    """How starting argv (whose last argument a program leaves behind as a file) went, each time:
    by whoever ended it, in how many ms, and whether it came to run at all. The arguments go through a
    file: this python must not have them itself."""
    ran = employee.home / "ran"
    job = employee.home / "job.py"
    job.write_text(f"argv, setup, ran, hold = {[str(a) for a in argv]!r}, {setup!r}, {str(ran)!r}, '{hold}'\n")
    return employee.python(f"""
exec(open({str(job)!r}).read())
result = []
for i in range({times}):
    if os.path.exists(ran):
        os.unlink(ran)
    names = {{"os": os, "fds": (), "argv": argv + [ran], "executable": None}}
    exec(setup, names)
    r = attempt(lambda: subprocess.run(names["argv"], executable=names["executable"], pass_fds=names["fds"],
                stderr=subprocess.DEVNULL, env={{**os.environ, "HOLD": hold}}).returncode)
    r["ran"] = os.path.exists(ran)
    result.append(r)
""")


def assert_ended(results, what, again=True, limit_ms=LIMIT_MS):
    """The first start ended by the agent soon, the others by the kernel before they ran."""
    first, *others = results
    harness.MEASURED.setdefault("first start of a renamed copy, fork to end (target 50)", {})[what] = first["ms"]
    for o in others if again else ():
        harness.MEASURED.setdefault("later starts", {})[what] = o["ms"]
    for r in results:
        assert r["value"] == -9 or r["error"] == "EPERM", r
        assert r["ms"] < limit_ms * harness.SLOW, r
    for r in others if again else ():
        assert not r["ran"], f"known already, and yet it ran: {r}"


def assert_found(station, employee, program, channel="checkchat", entry=None):
    rows = station.violations(employee)
    assert {r["channel"] for r in rows} == {channel}, rows
    assert_row(rows[-1], tier="program", layer="exec", verdict="block", **{"class": "use"})
    assert rows[-1]["program"] in [str(p) for p in (program if isinstance(program, tuple) else (program,))], rows[-1]
    if entry:
        assert rows[-1]["entry"].startswith(entry), rows[-1]["entry"]


def put(employee, source, *name):
    path = employee.home.joinpath(*name)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, path)
    path.chmod(0o755)
    for folder in path.relative_to(employee.home).parents:
        (employee.home / folder).chmod(0o755)
    return path
