# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 16, 17 and 19 of the evasion table: a messenger under any name and from any place is found by
its content, and nothing else is.

What content cannot tell, so that the network layers alone hold (test_dns, test_tls, test_connect):
- a program that was compiled anew, or whose build id or hash somebody changed;
- a processor in software (qemu-user) under another name, when it is of no package;
- program text on the command line (`python3 -c`) or from a pipe;
- a script, archive or Windows program under another name that is neither installed nor in the catalogue;
- a script that lies on a file system which its owner hides from root (FUSE without allow_other);
- a program of a shared runtime (Electron, .NET, PyInstaller) in a repacked archive;
- a helper that a messenger's package has and others have as well, once copied.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import pytest

import harness
from harness import assert_row
from internet import wait_for
from shop import BUILD_ID, JAVA, LOADER, SCRIPT, assert_ended, assert_found, fuse_for_all, put, start, station_of


def layers_over_packages(internet):
    """A laptop where packages can be installed."""
    for folder in ("opt", "usr/bin", "var/lib"):
        layer = f"{internet.base}/layer/{folder}"
        internet.laptop.run(["sh", "-ec", f"mkdir -p {layer} {layer}.work; "
                             f"mount -t overlay -o lowerdir=/{folder},upperdir={layer},workdir={layer}.work overlay /{folder}"],
                            check=True)
    fuse_for_all(internet)


@pytest.fixture(scope="module")
def station(shop, tmp_path_factory):
    with station_of(shop, tmp_path_factory.mktemp("rules"), prepare=layers_over_packages) as s:
        yield s


def root(station, script):
    return station.internet.laptop.run(["sh", "-ec", script], check=True)


def copied(station, employee, path):
    return path


def hard_link(station, employee, path):
    os.link(path, employee.home / "link")
    return employee.home / "link"


def symbolic_link(station, employee, path):
    (employee.home / "link").symlink_to(path)
    return employee.home / "link"


def on_tmpfs(station, employee, path):
    root(station, f"mkdir {employee.home}/mnt; mount -t tmpfs tmpfs {employee.home}/mnt; cp {path} {employee.home}/mnt/x")
    return employee.home / "mnt/x"


def on_overlay(station, employee, path):
    root(station, f"cd {employee.home}; mkdir lower upper work mnt; cp {path} lower/x; "
         "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay mnt")
    return employee.home / "mnt/x"


def on_overlay_of_tmpfs(station, employee, path):
    """Its layers are on different file systems."""
    root(station, f"cd {employee.home}; mkdir lower top mnt; mount -t tmpfs tmpfs top; mkdir top/upper top/work; cp {path} lower/x; "
         "mount -t overlay -o lowerdir=lower,upperdir=top/upper,workdir=top/work overlay mnt")
    return employee.home / "mnt/x"


def bind_mounted(station, employee, path):
    root(station, f"cd {employee.home}; touch spot; mount --bind {path} spot")
    return employee.home / "spot"


@pytest.mark.parametrize("place", [copied, hard_link, symbolic_link, on_tmpfs, on_overlay, on_overlay_of_tmpfs, bind_mounted])
@pytest.mark.evasion(17, "copied, linked, on tmpfs, overlayfs, bind mount", "exec")
def test_renamed(blocking, employee, shop, place):
    path = place(blocking, employee, put(employee, shop.messenger, "notes"))
    assert_ended(start(employee, [path], times=3), place.__name__)
    assert_found(blocking, employee, path.resolve(), entry=f"build_id {BUILD_ID}")


@pytest.mark.evasion(17, "among more starts than can be looked at, at once", "exec walk")
def test_renamed_in_a_crowd(blocking, employee, shop):
    """The agent stands still while hundreds of programs that it has not seen start: what it has to leave out is looked at later."""
    crowd = [put(employee, shop.innocent, f"innocent{i}") for i in range(600)]
    for c in crowd:
        os.truncate(c, 1 << 20)  # so that each takes a while to hash
    path = put(employee, shop.nameless, "notes")
    job = employee.home / "job.py"
    job.write_text(f"crowd, path = {[str(c) for c in crowd]!r}, {str(path)!r}\n")
    blocking.agent.process.send_signal(signal.SIGSTOP)
    threading.Timer(5 * harness.SLOW, blocking.agent.process.send_signal, [signal.SIGCONT]).start()
    ended = employee.python(f"""
exec(open({str(job)!r}).read())
environment = {{**os.environ, "HOLD": "{int(60 * harness.SLOW)}"}}
others = [subprocess.Popen([c, "/dev/null"], env=environment) for c in crowd]
messenger = subprocess.Popen([path, "/dev/null"], env=environment)
result = [messenger.wait(), sum(o.poll() is not None for o in others)]
for o in others:
    o.kill()
""", timeout=90)
    assert ended == [-signal.SIGKILL, 0]
    assert_found(blocking, employee, path, entry="sha256 ")


@pytest.mark.evasion(17, "copied and renamed, by SHA-256", "exec")
def test_catalogue_by_hash(blocking, employee, shop):
    """No build id: the whole file is hashed."""
    path = put(employee, shop.nameless, "notes")
    assert_ended(start(employee, [path], times=3), "by SHA-256")
    assert_found(blocking, employee, path, entry="sha256 ")


@pytest.mark.evasion(17, "copied and renamed, by package", "exec")
def test_renamed_telegram(blocking, employee, needs):
    """The catalogue has no build id of Debian's program: it is learnt from the one installed."""
    needs("telegram-desktop")
    path = put(employee, "/usr/bin/telegram-desktop", "notes")
    assert_ended(start(employee, [path], times=3), "telegram-desktop")
    assert_found(blocking, employee, path, "telegram")


@pytest.mark.evasion(16, "unpacked in the home folder", "exec")
def test_tarball_in_the_home_folder(blocking, employee, needs):
    needs("telegram-desktop")
    path = put(employee, "/usr/bin/telegram-desktop", "Telegram", "Telegram")
    assert_ended(start(employee, [path], times=2), "tarball")
    assert_found(blocking, employee, path, "telegram", "name Telegram")


@pytest.mark.evasion(17, "memfd, deleted", "exec")
def test_memfd(blocking, employee, shop):
    path = put(employee, shop.messenger, "notes")
    setup = f"fd = os.memfd_create('notes'); os.write(fd, open('{path}', 'rb').read()); fds = (fd,); executable = f'/proc/self/fd/{{fd}}'"
    assert_ended(start(employee, ["x"], setup, times=2), "memfd", again=False)
    assert_found(blocking, employee, "/memfd:notes")


@pytest.mark.evasion(17, "memfd, deleted", "exec")
def test_deleted(blocking, employee, shop):
    path = put(employee, shop.messenger, "notes")
    setup = (f"import shutil; shutil.copy('{path}', '{path}2'); fd = os.open('{path}2', os.O_RDONLY); os.unlink('{path}2'); "
             "fds = (fd,); executable = f'/proc/self/fd/{fd}'")
    assert_ended(start(employee, ["x"], setup, times=2), "deleted", again=False)
    assert_found(blocking, employee, f"{path}2")


@pytest.mark.evasion(17, "its first thread ends", "exec")
def test_first_thread_ends(blocking, employee, shop):
    """Before the agent looks at it: /proc/PID has neither executable nor memory then."""
    path, ran = put(employee, shop.threaded, "notes"), employee.home / "ran"
    blocking.agent.process.send_signal(signal.SIGSTOP)
    try:
        process = employee.popen(["env", f"HOLD={int(60 * harness.SLOW)}", path, ran])
        wait_for(ran.exists)
    finally:
        blocking.agent.process.send_signal(signal.SIGCONT)
    assert process.wait(5 * harness.SLOW) == -signal.SIGKILL
    assert_found(blocking, employee, path, entry="sha256 ")


RUNNING = {"renamed": "pass", "first thread ended": "path = threaded", "deleted": "os.unlink(path)", "memfd": "fd = os.memfd_create('notes'); os.write(fd, open(path, 'rb').read()); path = f'/proc/self/fd/{fd}'",
           "ld.so": f"argv = ['{LOADER}', path]", "script": "argv = ['/usr/bin/python3', script]"}


@pytest.mark.parametrize("how", RUNNING)
@pytest.mark.evasion(20, "a program under another name, deleted, of memory, through another, without its first thread", "walk exec")
def test_running_when_the_policy_turns(station, employee, shop, how):
    station.agent.policy({"checkchat": "allow"})
    path, script, job = put(employee, shop.messenger, "notes"), put(employee, shop.script, "notes.txt"), employee.home / "job.py"
    job.write_text(f"""import os, subprocess, sys, time
path, script, threaded, argv = {str(path)!r}, {str(script)!r}, {str(put(employee, shop.threaded, "threaded"))!r}, ["notes"]
how = {RUNNING[how]!r}
if how.startswith("os.unlink"):
    after, how = how, "pass"
else:
    after = "pass"
exec(how)
p = subprocess.Popen(argv + ["ran"], executable=path if len(argv) == 1 else None, close_fds=False, env={{**os.environ, "HOLD": "60"}})
while not os.path.exists("ran"):
    time.sleep(0.01)
exec(after)
print("runs", flush=True)
print(p.wait(), flush=True)
""")
    with employee.popen(["/usr/bin/python3", job], stdout=subprocess.PIPE, text=True, cwd=str(employee.home)) as process:
        assert process.stdout.readline() == "runs\n"
        station.agent.policy()
        since = time.monotonic()
        assert process.stdout.readline() == f"{-signal.SIGKILL}\n" and time.monotonic() - since < harness.SLOW
    row, = station.violations(employee)
    assert_row(row, channel="checkchat", layer="exec", tier="program", outcome="killed", **{"class": "use"})


@pytest.mark.evasion(17, "ld.so", "exec")
def test_loader(blocking, employee, shop):
    path = put(employee, shop.messenger, "notes")
    assert_ended(start(employee, [LOADER, path], times=2), "ld.so", again=False)
    assert_found(blocking, employee, path)


@pytest.mark.parametrize("argv", [["valgrind", "-q", "--tool=none"], ["qemu-x86_64", "-L", "/"]])
@pytest.mark.evasion(17, "a processor in software: valgrind, qemu-user", "exec")
def test_emulator(blocking, employee, shop, argv):
    """The program is read, never executed. Where there is no emulator another program has its name and arguments."""
    path = put(employee, shop.messenger, "notes")
    emulator = shutil.which(argv[0]) or put(employee, shop.innocent, argv[0])
    assert_ended(start(employee, [emulator, *argv[1:], path], times=2), argv[0], again=False)
    assert_found(blocking, employee, path)
    other, = start(employee, [emulator, *argv[1:], put(employee, shop.innocent, "other")], hold=0)
    assert other["value"] == 0 and other["ran"], other


@pytest.mark.evasion(17, "ld.so", "exec")
def test_renamed_loader_and_memfd(blocking, employee, shop):
    path, loader = put(employee, shop.messenger, "notes"), put(employee, LOADER, "reader")
    setup = f"fd = os.memfd_create('notes'); os.write(fd, open('{path}', 'rb').read()); fds = (fd,); argv.insert(1, f'/proc/self/fd/{{fd}}')"
    assert_ended(start(employee, [loader], setup), "renamed ld.so with a memfd")
    assert_found(blocking, employee, blocking.violations(employee)[-1]["program"])


@pytest.mark.evasion(17, "script wrapper", "exec")
def test_script_wrapper(blocking, employee, shop):
    path = put(employee, shop.messenger, "notes")
    wrapper = put(employee, "/bin/true", "wrapper")
    wrapper.write_text(f"#!/bin/sh\nexec {path} \"$@\"\n")
    assert_ended(start(employee, [wrapper], times=2), "wrapper")
    assert_found(blocking, employee, path)


@pytest.mark.parametrize("argv", [["/usr/bin/python3", "-m", "checkchat"], ["/usr/bin/python3", "-W", "ignore", "-Im", "checkchat"],
                                  ["{home}/renamed", "-m", "checkchat"]], ids=["plain", "options", "renamed"])
@pytest.mark.evasion(17, "python3 -m, scripts by content", "exec")
def test_python_module(blocking, employee, argv):
    put(employee, "/bin/true", "checkchat.py").write_text(SCRIPT)
    put(employee, "/usr/bin/python3", "renamed")
    assert_ended(start(employee, [a.format(home=employee.home) for a in argv]), "python3 -m")
    assert_found(blocking, employee, blocking.violations(employee)[-1]["program"], entry="name checkchat")


@pytest.mark.parametrize("argv", [["{file}"], ["/usr/bin/python3", "-B", "{file}"], ["{home}/renamed", "{file}"]],
                         ids=["itself", "python3", "renamed python"])
@pytest.mark.evasion(17, "python3 -m, scripts by content", "exec")
def test_script_by_content(blocking, employee, shop, argv):
    path = put(employee, shop.script, "notes.txt")
    put(employee, "/usr/bin/python3", "renamed")
    assert_ended(start(employee, [a.format(home=employee.home, file=path) for a in argv], times=2), "script", again=False)
    assert_found(blocking, employee, path, entry="sha256 ")


@pytest.mark.evasion(17, "Java", "exec")
def test_java(blocking, employee, shop, needs):
    needs("java")
    path = put(employee, shop.jar, "notes.jar")
    assert_ended(start(employee, ["java", "-Xmx64m", "-jar", path, *JAVA]), "java -jar")
    assert_found(blocking, employee, path, entry="sha256 ")


@pytest.mark.evasion(17, "Electron with a foreign archive", "exec")
def test_electron_with_a_foreign_archive(blocking, employee, shop):
    electron, path = put(employee, shop.innocent, "electron"), put(employee, shop.archive, "notes.asar")
    assert_ended(start(employee, [electron, "--no-sandbox", path], times=2), "electron FILE", again=False)
    assert_found(blocking, employee, path, entry="sha256 ")


@pytest.mark.evasion(17, "Electron with a foreign archive", "exec")
def test_electron_with_its_archive_beside_it(blocking, employee, shop):
    program = put(employee, shop.innocent, "App", "editor")
    put(employee, shop.archive, "App", "resources", "app.asar")
    assert_ended(start(employee, [program], times=2), "app.asar beside the program", again=False)
    assert_found(blocking, employee, program, entry="sha256 ")
    put(employee, shop.windows, "App", "resources", "app.asar").write_text("an editor's archive")
    assert start(employee, [program], hold=0)[0]["value"] == 0, "the same program with another archive"


@pytest.mark.evasion(18, "renamed browser --app=", "exec")
def test_renamed_browser(blocking, employee, needs):
    """A copy of the browser with a web app as its argument."""
    needs("chromium")
    path = put(employee, "/usr/lib/chromium/chromium", "editor")
    r, = start(employee, [path, "--headless", "--app=https://web.whatsapp.com/"], hold=0)
    assert r["value"] == -9, r
    assert_found(blocking, employee, path, "whatsapp", "argv --app=")


@pytest.mark.evasion(17, "Wine", "exec")
def test_wine(blocking, employee, shop):
    wine, path = put(employee, shop.innocent, "wine64"), put(employee, shop.windows, "setup.exe")
    assert_ended(start(employee, [wine, r"C:\Program Files\CheckChat.exe"]), "Wine, by name")
    assert_ended(start(employee, [wine, path]), "Wine, by content")
    assert {r["entry"].split()[0] for r in blocking.violations(employee)} == {"name", "sha256"}


class Fuse:
    """A folder of the employee's on a file system in user space, hidden even from root."""

    def __init__(self, employee, source):
        subprocess.run(["mksquashfs", source, employee.home / "notes", "-quiet", "-no-progress", "-all-root"], check=True,
                       stdout=subprocess.DEVNULL)
        self.employee, self.folder = employee, employee.home / "fuse"
        self.folder.mkdir()
        os.chown(self.folder, employee.uid, employee.uid)
        self.tool = employee.popen(["squashfuse", "-f", employee.home / "notes", self.folder], cgroup=False, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def __enter__(self):
        def mounted():
            if self.tool.poll() is not None:
                raise AssertionError(f"a user cannot mount FUSE here: {self.tool.stderr.read().decode().strip()}")
            return self.employee.run(["ls", self.folder]).stdout
        wait_for(mounted)
        return self.folder

    def __exit__(self, *_):
        self.employee.run(["fusermount3", "-u", self.folder])
        self.tool.kill()
        self.tool.wait()


@pytest.mark.evasion(17, "FUSE", "exec")
def test_fuse(blocking, employee, shop, needs):
    needs("squashfuse", "mksquashfs", "fusermount3")
    put(employee, shop.messenger, "lower", "editor")
    with Fuse(employee, employee.home / "lower") as folder:
        assert_ended(start(employee, [folder / "editor"], times=2), "FUSE", again=False)
        assert_found(blocking, employee, folder / "editor", entry=f"build_id {BUILD_ID}")


@pytest.mark.evasion(16, "AppImage", "exec")
def test_appimage(blocking, employee, shop, needs):
    """As the runtime of an AppImage does it: its file, of any name, mounts itself and starts what is in it."""
    needs("squashfuse", "mksquashfs", "fusermount3")
    put(employee, shop.messenger, "AppDir", "usr", "bin", "innocent-name")
    put(employee, "/bin/true", "AppDir", "AppRun").write_text('#!/bin/sh\nexec "${0%/*}/usr/bin/innocent-name" "$@"\n')
    with Fuse(employee, employee.home / "AppDir") as folder:
        assert_ended(start(employee, [folder / "AppRun"], times=2), "AppImage", again=False)
        assert_found(blocking, employee, folder / "usr/bin/innocent-name", entry=f"build_id {BUILD_ID}")


APPLICATIONS = {"flatpak org.example.CheckChat": "app-flatpak-org.example.CheckChat-4711.scope", "snap checkchat": "snap.checkchat.checkchat-0a1b2c3d.scope"}


@contextlib.contextmanager
def application(station, employee, unit, path):
    """In the cgroup that Flatpak and snapd start an application in: how it ended, and whether it came to run."""
    group, ran = pathlib.Path(station.internet.laptop.cgroup) / unit, employee.home / "ran"
    ran.unlink(missing_ok=True)
    group.mkdir()
    try:
        inner = employee.popen(["sh", "-c", "read line; exec \"$@\"", "sh", path, ran], stdin=subprocess.PIPE)
        (group / "cgroup.procs").write_text(str(inner.pid))
        inner.communicate(b"go\n", timeout=20)
        yield inner.returncode, ran.exists()
    finally:
        wait_for(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.mark.parametrize("entry", APPLICATIONS, ids=["flatpak", "snap"])
@pytest.mark.evasion(16, "Flatpak, Snap", "exec")
def test_application(blocking, employee, shop, entry):
    """Whatever its program is called."""
    path = put(employee, shop.innocent, "app", "bin", "main")
    with application(blocking, employee, APPLICATIONS[entry], path) as (status, ran):
        assert status in (-9, 126) and not ran, status
        # the shell itself, where the agent looks at what runs before the shell goes on
        assert_found(blocking, employee, (path, "/usr/bin/dash"), entry=entry)
    assert start(employee, [path], hold=0)[0]["value"] == 0, "outside it the program is nobody's"


@contextlib.contextmanager
def flatpak(station, shop):
    """An application is installed while the agent runs: its program."""
    path = "/var/lib/flatpak/app/org.example.CheckChat/x86_64/stable/5eed/files/bin/checkchat-main"
    root(station, f"mkdir -p {os.path.dirname(path)}; cp {shop.helper} {path}; cd /var/lib/flatpak/app/org.example.CheckChat; "
         "ln -s x86_64/stable current; ln -s 5eed x86_64/stable/active; touch /var/lib/flatpak/.changed")
    try:
        yield path
    finally:
        root(station, "rm -r /var/lib/flatpak")


@pytest.mark.evasion(16, "Flatpak, Snap", "exec")
def test_flatpak_folder(blocking, employee, shop):
    """Started straight out of the application's folder, or copied from it."""
    with flatpak(blocking, shop) as path:
        for program in (path, put(employee, shop.helper, "notes")):
            assert_ended(start(employee, [program], times=2), "Flatpak's file")
            assert_found(blocking, employee, (path, str(program)), entry="flatpak org.example.CheckChat")


def make_package(shop, folder):
    """The messenger as a Debian package: a program of its own, a helper as others have it too, and an
    application of a shared runtime."""
    files = {"usr/bin/checkchat-client": shop.packaged, "opt/CheckChat/helper": shop.helper, "opt/CheckChat/checkchat-app": shop.runtime,
             "opt/CheckChat/resources/app.asar": shop.folder / "asar", "usr/bin/checkchat-tray": shop.folder / "tray"}
    (shop.folder / "asar").write_text("the packaged archive" * 999)
    shop.write("tray", f"#!/usr/bin/python3\n# checkchat-tray\n{SCRIPT}")
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)
    (folder / "opt/CheckChat/icudtl.dat").write_text("")
    (folder / "DEBIAN").mkdir()
    (folder / "DEBIAN/control").write_text("Package: checkchat-desktop\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\n"
                                           "Description: a messenger\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", folder, f"{folder}.deb"], check=True, stdout=subprocess.DEVNULL)
    return f"{folder}.deb"


@pytest.fixture(scope="module")
def installed(station, shop, tmp_path_factory):
    """The package is installed while the agent runs: by the real dpkg, on overlays of the laptop's."""
    employee = station.employee()
    early = put(employee, shop.packaged, "early")
    assert start(employee, [early], hold=0, times=3)[-1]["value"] == 0, "nothing is known of it yet"
    root(station, f"dpkg -i {make_package(shop, tmp_path_factory.mktemp('deb') / 'checkchat')}")
    assert pathlib.Path("/usr/bin/checkchat-client").exists() is False, "the host's own folders must not change"
    return employee, early


@pytest.mark.evasion(16, "the distribution's package", "exec")
def test_package(blocking, installed, employee):
    path = "/usr/bin/checkchat-client"
    assert_ended(start(employee, [path], times=2), "packaged program")
    assert_found(blocking, employee, path, entry="package checkchat-desktop")


@pytest.mark.evasion(16, "the distribution's package", "exec")
def test_package_helper(blocking, installed, employee):
    assert_ended(start(employee, ["/opt/CheckChat/helper"], times=2), "packaged helper")
    assert_found(blocking, employee, "/opt/CheckChat/helper", entry="package checkchat-desktop")


@pytest.mark.evasion(17, "copied and renamed, by package", "exec")
def test_copy_of_a_package(blocking, installed, employee, shop):
    path = put(employee, shop.packaged, "notes")
    assert_ended(start(employee, [path], times=2), "copy of a packaged program")
    assert_found(blocking, employee, path, entry="package checkchat-desktop")


@pytest.mark.evasion(17, "copied and renamed, by package", "exec")
def test_copy_from_before_the_package(blocking, installed, employee):
    """The kernel's memory of an innocent program ends when more is known."""
    somebody, early = installed
    start(employee, ["/bin/true"], hold=0)  # any start that asks: the new state is noticed then
    results = start(somebody, [early], times=2)
    assert_ended(results[1:], "copy made and run before the package was installed")


@pytest.mark.evasion(17, "copied and renamed, by package", "exec")
def test_copy_of_a_packaged_script(blocking, installed, employee, shop):
    path = put(employee, shop.folder / "tray", "notes")
    assert_ended(start(employee, [path]), "copy of a packaged script")
    assert_found(blocking, employee, path, entry="package checkchat-desktop")


@pytest.mark.evasion(17, "copied and renamed, by package", "exec")
def test_copy_of_a_packaged_archive(blocking, installed, employee, shop):
    program = put(employee, shop.runtime, "App", "editor")
    put(employee, shop.folder / "asar", "App", "resources", "app.asar")
    assert_ended(start(employee, [program]), "packaged archive beside a shared runtime")
    assert_found(blocking, employee, program, entry="package checkchat-desktop")


@pytest.mark.evasion(17, "`onchannel why` says the same", "agent")
def test_why_by_content(station, installed, employee, shop):
    """`onchannel why PATH` knows what a start would: the package's files, and copies under any name."""
    def why(path):
        answer = station.agent.json("why", path, user=employee.name)
        return answer["channel"], answer.get("entry", "").partition(" ")[0]
    assert why("/opt/CheckChat/helper") == why(put(employee, shop.packaged, "notes")) == ("checkchat", "package")
    assert why(put(employee, shop.messenger, "editor")) == ("checkchat", "build_id")
    assert why(put(employee, shop.nameless, "reader")) == ("checkchat", "sha256")
    (employee.home / "link").symlink_to("/usr/bin/checkchat-client")
    assert why(employee.home / "link") == ("checkchat", "package")
    assert why(put(employee, shop.innocent, "innocent")) == why("/nowhere") == why("/etc/shadow") == why("/dev/zero") == (None, "")
    assert employee.run([station.programs.cli, "why", "./editor", "--socket", station.agent.runtime / "control.sock"],
                        cwd=employee.home).stdout.count("checkchat") >= 1


@pytest.mark.parametrize("what", ["helper", "runtime"])
@pytest.mark.evasion(19, "what packages share", "exec")
def test_what_a_package_shares_with_others_passes(blocking, installed, employee, shop, what):
    """A helper or a runtime that another application has as well is not the messenger."""
    path = put(employee, getattr(shop, what), "editor")
    assert [r["value"] for r in start(employee, [path], hold=0, times=3)] == [0, 0, 0]
    assert blocking.violations(employee) == []


@pytest.mark.parametrize("name", ["signal-estimator", "telegraf", "wireshark", "line", "element", "checkchat2", "checkchat.py", "telegram"])
@pytest.mark.evasion(19, "similar names", "exec")
def test_similar_names_pass(blocking, employee, shop, name):
    path = put(employee, shop.innocent, name)
    assert [r["value"] for r in start(employee, [path], hold=0, times=2)] == [0, 0]
    assert blocking.violations(employee) == []


@pytest.mark.evasion(19, "a file that is opened, not run", "exec")
def test_files_that_are_opened_pass(blocking, employee, shop):
    """Named like the messenger, or being it, and read, copied, archived, but not run."""
    path = put(employee, shop.messenger, "checkchat")
    for argv in (["cat", path], ["cp", path, employee.home / "copy"], ["tar", "-cf", employee.home / "t", path], ["sh", "-c", f"wc -c {path}"],
                 ["/usr/bin/python3", "-c", "import sys; open(sys.argv[1], 'rb').read()", path]):
        assert employee.run(argv, text=False).returncode == 0, argv
    assert blocking.violations(employee) == []


@pytest.mark.evasion(19, "interpreters of other scripts", "exec")
def test_interpreters_of_other_scripts_pass(blocking, employee):
    put(employee, "/bin/true", "backup.py").write_text(SCRIPT)
    for argv in (["/usr/bin/python3", employee.home / "backup.py", "checkchat"], ["sh", "-c", ": > \"$1\"", "checkchat"]):
        r, = start(employee, argv, hold=0)
        assert r["value"] == 0 and r["ran"], r
    assert blocking.violations(employee) == []


@pytest.mark.evasion(16, "each of these, when approved", "exec")
@pytest.mark.evasion(17, "each of these, when approved", "exec")
def test_approved_forms_pass(station, installed, employee, shop, needs):
    needs("java")
    station.agent.policy({"checkchat": "allow", "telegram": "allow"})
    path, electron, wine = put(employee, shop.messenger, "plain"), put(employee, shop.innocent, "electron"), put(employee, shop.innocent, "wine64")
    (employee.home / "link").symlink_to(path)
    put(employee, "/bin/true", "wrapper").write_text(f"#!/bin/sh\nexec {path} \"$@\"\n")
    put(employee, "/bin/true", "checkchat.py").write_text(SCRIPT)
    put(employee, shop.messenger, "lower", "editor")
    put(employee, "/bin/true", "lower", "AppRun").write_text('#!/bin/sh\nexec "${0%/*}/editor" "$@"\n')
    memfd = f"fd = os.memfd_create('notes'); os.write(fd, open('{path}', 'rb').read()); fds = (fd,); executable = f'/proc/self/fd/{{fd}}'"
    with Fuse(employee, employee.home / "lower") as folder, flatpak(station, shop) as of_flatpak:
        forms = [[path], [employee.home / "link"], [put(employee, shop.nameless, "by-hash")], [LOADER, path], [employee.home / "wrapper"],
                 ["/usr/bin/python3", "-m", "checkchat"], [put(employee, shop.script, "notes.txt")],
                 [electron, "--no-sandbox", put(employee, shop.archive, "notes.asar")], [wine, put(employee, shop.windows, "setup.exe")],
                 [folder / "editor"], ["/usr/bin/checkchat-client"], ["/opt/CheckChat/helper"], [put(employee, shop.packaged, "copy")],
                 [folder / "AppRun"], [of_flatpak], ["java", "-Xmx64m", "-jar", put(employee, shop.jar, "notes.jar"), *JAVA]]
        for argv, setup in [*((argv, "") for argv in forms), (["x"], memfd)]:
            for r in start(employee, argv, setup, times=2, hold=0):
                assert r["value"] == 0 and r["ran"], (argv, r)
    for unit in APPLICATIONS.values():
        with application(station, employee, unit, put(employee, shop.innocent, "app", "bin", "main")) as result:
            assert result == (0, True), unit
    assert station.violations(employee) == []


@pytest.mark.evasion(17, "all of it in little memory", "agent")
def test_stays_small_and_sleeps(station, blocking, employee, shop):
    """After all that: the budget of memory, and no child that wakes up by itself."""
    pid = station.agent.process.pid

    def kib(pid, file, *keys):
        values = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines()[1:])
        return {k: int(values[k].split()[0]) for k in keys}
    own = kib(pid, "status", "VmRSS", "RssAnon", "VmHWM")
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    theirs = [kib(c, "smaps_rollup", "Private_Dirty", "Private_Clean") for c in children]
    print(own, theirs)
    assert own["VmRSS"] <= 16 * 1024  # 7 MiB of it libcrypto's and SQLite's text and tables
    assert 1 < len(theirs) <= 3 and sum(t["Private_Dirty"] for t in theirs) <= 6 * 1024

    def switches():
        return {c: kib(c, "status", "voluntary_ctxt_switches")["voluntary_ctxt_switches"] for c in children}
    before = switches()
    assert start(employee, [put(employee, shop.innocent, "sleep")], hold=2)[0]["value"] == 0
    after = switches()
    for child, n in before.items():
        assert after[child] - n <= 12, "a child works for what is started, and else sleeps"
