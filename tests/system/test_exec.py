# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are started. What must be seen: layer exec, tier program."""
import os
import shutil

import pytest

from harness import FAST_MS, assert_row

# start(argv): how a program fared that leaves the file argv[-1] behind when it gets as far as that
START = """
def start(*argv):
    return subprocess.run(argv, stderr=subprocess.DEVNULL).returncode
result = attempt(start, *sys.argv[1:])
result["ran"] = os.path.exists(sys.argv[-1])
"""


def install(employee, name, program="/usr/bin/touch"):
    """A program of that name in the employee's own folder."""
    path = employee.home / "bin" / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(program, path)
    path.chmod(0o755)
    path.parent.chmod(0o755)
    return str(path)


def started(employee, *argv):
    return employee.python(START, *argv, str(employee.home / "ran"))


def assert_denied(r):
    assert r["error"] == "EPERM" or r["value"] == -9, r  # BPF LSM: execve fails; else killed before its first instruction
    assert not r["ran"] and r["ms"] < FAST_MS, r


@pytest.mark.parametrize("name,channel", [("signal-desktop", "signal"), ("telegram-desktop", "telegram"), ("Discord", "discord")])
@pytest.mark.evasion(16, "unpacked in the home folder", "exec")
def test_program_by_name(blocking, employee, name, channel):
    path = install(employee, name)
    assert_denied(started(employee, path))
    row, = blocking.violations(employee)
    assert_row(row, channel=channel, tier="program", layer="exec", verdict="block", user=employee.name, uid=employee.uid,
               program=path, policy_serial=blocking.serial, **{"class": "use"})
    assert row["outcome"] == ("denied" if os.environ.get("ONCHANNEL_LSM") else "killed")
    assert row["entry"].startswith(("name ", "path "))


@pytest.mark.evasion(16, "unpacked in the home folder", "exec")
def test_again_and_again(blocking, employee):
    path = install(employee, "signal-desktop")
    for _ in range(5):
        assert_denied(started(employee, path))
    assert [r["channel"] for r in blocking.violations(employee)] == ["signal"]


@pytest.mark.parametrize("name", ["signal-estimator", "telegraf", "discord.py", "signal-desktop.sh", "mysignal-desktop", "touch"])
@pytest.mark.evasion(19, "similar names", "exec")
def test_similar_names_pass(blocking, employee, name):
    r = started(employee, install(employee, name))
    assert r["value"] == 0 and r["ran"], r
    assert blocking.violations(employee) == []


@pytest.mark.evasion(19, "a file that is opened, not run", "exec")
def test_file_that_is_opened_passes(blocking, employee):
    """A file named like a messenger is no messenger until it is run."""
    path = install(employee, "signal-desktop")
    assert employee.run(["cat", path], text=False).returncode == 0
    assert employee.run(["ls", "-l", path]).returncode == 0
    assert blocking.violations(employee) == []


@pytest.mark.evasion(17, "symbolic link, relative path", "exec")
def test_relative_path_and_symlink(blocking, employee):
    path = install(employee, "signal-desktop")
    assert_denied(employee.python("os.chdir(os.path.dirname(sys.argv[1]))\n" + START.replace("*sys.argv[1:]", "'./signal-desktop', sys.argv[2]"),
                                  path, str(employee.home / "ran")))
    link = employee.home / "innocent"
    link.symlink_to(path)
    assert_denied(started(employee, str(link)))
    assert {r["channel"] for r in blocking.violations(employee)} == {"signal"}


@pytest.mark.evasion(18, "chromium --app=", "exec")
def test_web_app(blocking, employee):
    """chromium --app=https://web.whatsapp.com: an innocent program with a telling argument."""
    path = install(employee, "chromium", "/bin/sh")

    def run(url, file):  # the arguments stand in the code: python must not have them itself
        code = START.replace("*sys.argv[1:]", "sys.argv[1], '-c', sys.argv[2], '--app=' + sys.argv[3], sys.argv[4]")
        return employee.python(code, path, 'sleep 1; echo > "$1"', url, str(employee.home / file))
    assert run("https://www.example.org/", "fine")["ran"]
    r = run("https://web.whatsapp.com/", "ran")
    assert r["value"] == -9 or r["error"] == "EPERM", r
    assert not r["ran"] and r["ms"] < FAST_MS, r
    row, = blocking.violations(employee)
    assert_row(row, channel="whatsapp", layer="exec", tier="program", program=path)
    assert row["entry"].startswith("argv ")
    record = blocking.collector.call(f"/api/v1/violations/{row['device']}/{row['seq']}")[1]["record"]
    assert "--app" not in str(record).replace(row["entry"], ""), "arguments are nobody's business: only the entry is recorded"


def test_approved_pass_unrecorded(allowing, employee):
    r = started(employee, install(employee, "signal-desktop"))
    assert r["value"] == 0 and r["ran"], r
    assert allowing.violations(employee) == []


def test_policy_may_leave_programs_alone(station, employee):
    station.agent.policy(programs="watch")
    r = started(employee, install(employee, "signal-desktop"))
    assert r["value"] == 0 and r["ran"], r
    row, = station.violations(employee)
    assert_row(row, channel="signal", layer="exec", outcome="passed")


def test_exempt_user(station, employee):
    other = station.employee()
    station.agent.policy(extra=f"\n[group desk]\nuser = {employee.name}\n\n[channel signal]\nverdict = allow\ngroup = desk\n")
    assert started(employee, install(employee, "signal-desktop"))["ran"]
    assert_denied(started(other, install(other, "signal-desktop")))
    assert len(station.violations(other)) == 1


def test_policy_turns_and_turns_back(station, employee):
    """What the kernel remembers about a program is no older than the policy."""
    path = install(employee, "signal-desktop")
    for verdict in ("block", "allow", "block"):
        station.agent.policy({"signal": verdict})
        r = started(employee, path)
        assert r["ran"] == (verdict == "allow"), (verdict, r)
        if verdict == "allow":
            (employee.home / "ran").unlink()


@pytest.mark.evasion(17, "copied over another program", "exec")
def test_name_that_is_reused(blocking, employee):
    """A program that takes the place of another is judged anew, by its own name."""
    innocent = install(employee, "editor")
    assert started(employee, innocent)["ran"]
    (employee.home / "ran").unlink()
    os.rename(innocent, employee.home / "bin" / "signal-desktop")
    assert_denied(started(employee, str(employee.home / "bin" / "signal-desktop")))


def test_outside_the_cgroup_is_not_ours(blocking, employee):
    """An agent that is attached to one cgroup leaves the rest of the machine alone."""
    path = install(employee, "signal-desktop")
    r = employee.run([path, str(employee.home / "ran")], cgroup=False)
    assert r.returncode == 0 and (employee.home / "ran").exists()
    assert blocking.violations(employee) == []


def test_network_of_a_messenger_left_running(station, employee):
    """With programs = watch the process's own connections still belong to its channel."""
    station.agent.policy(programs="watch")
    path = install(employee, "signal-desktop", "/usr/bin/curl")
    r = employee.run([path, "-sS", "--max-time", "10", "https://203.0.113.80/"])
    assert r.returncode == 7, r.stderr  # CURLE_COULDNT_CONNECT
    rows = station.violations(employee)
    assert {(r["layer"], r["tier"]) for r in rows} == {("exec", "program"), ("connect", "program")}


# There is no such layout of a process' memory: the kernel refuses it itself when it comes to look.
CHOOSE_EXE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def choose_exe():
    if libc.prctl(35, 14, ctypes.create_string_buffer(104), 104, 0):  # PR_SET_MM, PR_SET_MM_MAP
        raise OSError(ctypes.get_errno(), "")
result = [attempt(choose_exe)["error"], libc.unshare(0x10000000), attempt(choose_exe)["error"]]  # CLONE_NEWUSER
"""


@pytest.mark.lsm
@pytest.mark.evasion(17, "another program behind /proc/PID/exe (PR_SET_MM_MAP)", "prctl")
def test_what_runs_is_not_chosen(blocking, employee):
    """Where the kernel lets programs follow its functions. Others, who may not choose it anyway, are left alone."""
    assert employee.python(CHOOSE_EXE) == ["EINVAL", 0, "EPERM"]
