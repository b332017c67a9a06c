# SPDX-License-Identifier: GPL-3.0-or-later
"""Row 18: a messenger's page as a program of its own: web apps, wrappers, multi-messengers. What an argument
tells is told by a browser's only."""
import os
import shutil

import pytest

from harness import SLOW, assert_row
import shop

PWA = "hnpfjngllnobngcgfapefoaidbinmjnm"  # WhatsApp's, in the catalogue
APP = "--app=https://web.whatsapp.com/"


def program(employee, *name, source="/bin/sleep"):
    """A copy in the employee's home: to run it for a second is innocent."""
    path = employee.home.joinpath(*name)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, path)
    for folder in path.relative_to(employee.home).parents:
        (employee.home / folder).chmod(0o755)
    return path


def start(employee, path, *arguments, script="sleep 1; exit 0"):
    """Exit status of a shell that is called like that, with these arguments behind its script."""
    argv, name = [path, "-c", script, "x", *arguments], employee.home / "start.py"
    name.write_text(f"import subprocess, sys\nsys.exit(subprocess.run({[str(a) for a in argv]!r}).returncode & 255)\n")
    return employee.run(["/usr/bin/python3", name], timeout=20 * SLOW).returncode




@pytest.mark.evasion(18, "chromium --app=, Electron, forks of either, installed app (--app-id=)", "exec")
@pytest.mark.parametrize("name", ["chromium", "electron", "google-chrome-stable", "vivaldi-bin"])
@pytest.mark.parametrize("argument", [APP, f"--app-id={PWA}"])
def test_18_web_app(blocking, employee, name, argument):
    path = program(employee, name, source="/bin/sh")
    assert start(employee, path, "--app=https://www.example.org/") == 0
    assert blocking.violations(employee) == []
    assert start(employee, path, "--profile-directory=Default", argument) == 256 - 9
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="exec", tier="program", outcome="killed", program=str(path))


@pytest.mark.evasion(18, "chromium --app=, Electron, forks of either, installed app (--app-id=)", "exec")
def test_18_when_approved(station, employee):
    station.agent.policy({"whatsapp": "allow", "ferdium": "allow"})
    for name, arguments in (("chromium", [APP]), ("electron", [APP]), ("vivaldi-bin", [f"--app-id={PWA}"])):
        assert start(employee, program(employee, name, source="/bin/sh"), *arguments) == 0
    assert start(employee, "/bin/sh", script=f"{program(employee, 'ferdium')} 1") == 0
    assert station.violations(employee) == []


@pytest.mark.evasion(18, "chromium --app=, Electron, forks of either, installed app (--app-id=)", "exec")
def test_18_unknown_fork(blocking, employee, tmp_path):
    """Nobody knows its name; what lies beside it and how large it is give the engine away."""
    path = program(employee, "opt", "fork", "fork", source=shop.compile_program(tmp_path / "fork"))
    os.truncate(path, 40 << 20)
    path.with_name("resources.pak").touch(mode=0o644)
    for _ in range(2):
        for argument, ended in (("--app=https://www.example.org/", 0), (APP, -9)):
            r, = shop.start(employee, [path, argument], hold=2)
            assert r["value"] == ended, r
    row = blocking.violations(employee)[-1]
    assert_row(row, channel="whatsapp", layer="exec", tier="program", program=str(path))


@pytest.mark.evasion(19, "an interpreter, a loader, grep with a browser's arguments", "exec")
@pytest.mark.parametrize("name", ["python3", "sh", "java", "grep", "ld-linux-x86-64.so.2"])
def test_19_arguments_of_others_pass(blocking, employee, name):
    """`python3 x.py --app=https://web.whatsapp.com` is no web app."""
    path = program(employee, name, source="/bin/sh")
    for _ in range(2):
        assert start(employee, path, APP, f"--app-id={PWA}") == 0
    assert blocking.violations(employee) == []


@pytest.mark.evasion(19, "a messenger's name as data of an interpreter", "exec")
def test_19_data_of_interpreters_passes(blocking, employee):
    """Whoever works on such a file, or has a script do so, does not run it."""
    tool, chat = employee.home / "tool.py", employee.home / "zeronet.py"
    for path in (tool, chat):
        path.write_text("import sys\n")
    for argv in (["/bin/sh", "-c", f": {chat}"], ["/usr/bin/python3", "-c", "pass", chat], ["/usr/bin/python3", tool, chat],
                 ["/usr/bin/python3", "-m", "py_compile", chat], ["/usr/bin/python3", "-u", tool, chat], ["/usr/bin/python3", "-Ic", "pass", "org.asamk.signal.Main"],
                 ["/bin/grep", "-c", "sys", chat], ["/bin/sh", "-c", "true x/localtunnel/bin/lt.js"]):
        assert employee.run(argv).returncode == 0, argv
    assert blocking.violations(employee) == []
    assert employee.run(["/usr/bin/python3", "-B", chat]).returncode == -9
    row, = blocking.violations(employee)
    assert_row(row, channel="zeronet", layer="exec")


@pytest.mark.evasion(18, "multi-messengers: Ferdium, Franz, Rambox, Station", "exec")
@pytest.mark.parametrize("name,channel", [(("ferdium",), "ferdium"), (("rambox",), "rambox")])
def test_18_multi_messenger(blocking, employee, name, channel):
    path = program(employee, *name)
    assert start(employee, "/bin/sh", script=f"{path} 1") == 128 + 9
    row, = blocking.violations(employee)
    assert_row(row, channel=channel, layer="exec", tier="program", program=str(path))


@pytest.mark.evasion(18, "multi-messengers: Ferdium, Franz, Rambox, Station", "exec")
@pytest.mark.parametrize("path,channel", [("/opt/Franz/franz", "franz"), ("/opt/Ferdium/ferdium-bin", "ferdium")])
def test_18_multi_messenger_where_it_is_installed(blocking, employee, path, channel):
    """Known by its folder, not by a name that others may have."""
    folder = os.path.dirname(path)
    blocking.internet.laptop.run(["sh", "-ec", "test -d $0/opt || { mkdir -p $0/opt $0/opt.work; "
                                  "mount -t overlay -o lowerdir=/opt,upperdir=$0/opt,workdir=$0/opt.work overlay /opt; }; "
                                  "mkdir -p $1; cp /bin/sleep $2", blocking.internet.base, folder, path], check=True)
    assert start(employee, "/bin/sh", script=f"{path} 1") == 128 + 9
    row, = blocking.violations(employee)
    assert_row(row, channel=channel, layer="exec", tier="program", program=path)


@pytest.mark.evasion(18, "a wrapped page (nativefier) under another name: by its network", "egress")
def test_18_wrapped_page(blocking, employee, needs):
    """No argument tells: the page's address is inside. The real engine under a name of its own."""
    needs("chromium")
    engine = employee.home / "Notes"
    engine.mkdir(mode=0o755)
    for entry in os.listdir("/usr/lib/chromium"):
        (engine / entry).symlink_to(f"/usr/lib/chromium/{entry}")
    (engine / "chromium").unlink()
    path = program(employee, "Notes", "notes", source="/usr/lib/chromium/chromium")
    page = employee.home / "notes.html"
    page.write_text('<meta http-equiv="refresh" content="0; url=https://web.whatsapp.com/">')
    page.chmod(0o644)
    r = employee.run([path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
                      "--ignore-certificate-errors", f"--user-data-dir={employee.home}/data", "--virtual-time-budget=5000", "--dump-dom",
                      f"file://{page}"], timeout=60 * SLOW)
    assert "this is web.whatsapp.com" not in r.stdout
    assert not blocking.internet.seen("tls", name="web.whatsapp.com")
    row = blocking.violations(employee)[-1]
    assert_row(row, channel="whatsapp", layer="dns", tier="name", program=str(path))
