# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, and what the programs say when the machine lacks something."""
import json
import re
import shutil
import sys

import pytest

import internet as net
from harness import TREE, policy_text

sys.path.insert(0, str(TREE / "tests/support"))
from device import Device  # noqa: E402

COMMANDS = ["status", "why", "notices", "my-data", "catalogue", "policy", "key", "enrol", "evidence"]


def test_help_explains_itself(station):
    cli = station.desk.cli
    text = cli("--help").stdout
    for command in COMMANDS:
        line, = [x for x in text.splitlines() if re.match(rf" *{command} ", x)]
        assert len(line.split()) > 3, line
        assert command in cli(command, "--help").stdout
    assert "Exit status" in text
    assert cli("--version").stdout.startswith("onchannel ")


@pytest.mark.parametrize("args", [[], ["nonsense"], ["why"], ["status", "--nonsense"], ["policy"], ["policy", "nonsense"], ["key", "new"],
                                  ["enrol"], ["catalogue", "build"]])
def test_wrong_usage(station, args):
    r = station.desk.cli(*args, check=False)
    assert r.returncode == 2 and r.stderr and not r.stdout


def test_no_agent(station):
    r = station.desk.cli("status", "--socket", "/nonexistent/control.sock", check=False)
    assert r.returncode == 3 and "agent is not running" in r.stderr


@pytest.mark.parametrize("user", [None, "anna"])
def test_status(blocking, user):
    text = blocking.agent.cli("status", user=user, check=True).stdout
    assert str(blocking.serial) in text and "Example Bank plc" in text and "enforce" in text
    status = blocking.agent.json("status", user=user)
    assert status["policy"]["serial"] == blocking.serial
    assert re.match(r"exec=(lsm|signal)", status["sensors"])


@pytest.mark.parametrize("subject,channel,verdict,file", [
    ("web.whatsapp.com", "whatsapp", "block", "whatsapp.ini"), ("149.154.167.50", "telegram", "block", "telegram.ini"),
    ("2001:67c:4e8::1", "telegram", "block", "telegram.ini"), ("signal-desktop", "signal", "block", "signal.ini"),
    ("/usr/bin/telegram-desktop", "telegram", "block", "telegram.ini"), ("teams.microsoft.com", "teams", "allow", "teams.ini"),
    ("dns.google", "encrypted-dns", "block", "encrypted-dns.ini"), ("www.example.org", None, "allow", None)])
def test_why(blocking, subject, channel, verdict, file):
    why = blocking.agent.json("why", subject)
    assert (why["channel"], why["verdict"], why.get("file")) == (channel, verdict, file)
    if channel:
        line = (TREE / "rules/channels" / file).read_text().splitlines()[why["line"] - 1]
        assert why["entry"].split()[1] in line, "file and line are those of the entry"
        lines = policy_text({"teams": "allow", "slack": "allow"}).splitlines()
        by = "[channel teams]" if channel == "teams" else "bypass" if channel == "encrypted-dns" else "unlisted"
        assert why["decided_by"] == by and lines[why["decided_line"] - 1].startswith(by)
    text = blocking.agent.cli("why", subject, user="anna", check=True).stdout
    assert verdict in text and (file is None or f"{file}:{why['line']}" in text)


def test_notices_and_my_data_are_ones_own(blocking, employee):
    other = blocking.employee()
    employee.curl("https://web.whatsapp.com/")
    blocking.violations(employee)
    mine = blocking.agent.cli("notices", user=employee.name, check=True).stdout
    assert "whatsapp" in mine and "This channel is not approved" in mine
    assert "whatsapp" not in blocking.agent.cli("notices", user=other.name, check=True).stdout
    assert "whatsapp" in blocking.agent.cli("notices", check=True).stdout, "root sees all"
    assert "whatsapp" in blocking.agent.cli("my-data", user=employee.name, check=True).stdout
    data = blocking.agent.cli("my-data", user=other.name, check=True).stdout
    assert employee.name not in data and "whatsapp" not in data.lower()


def test_socket_is_guarded(blocking, employee):
    """Employees may ask, not command; whatever is sent is answered in one line or refused."""
    code = """
def ask(line):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(sys.argv[1])
    try:
        s.sendall(line)
        return s.makefile().readline()
    except OSError as e:
        return type(e).__name__
result = [ask(b) for b in (b'{"verb":"reload"}\\n', b'{"verb":"why","subject":"x.com","user":"root"}\\n', b'nonsense\\n', b'[]\\n', b'{"verb":7}\\n',
                           b'{"verb":"destroy"}\\n', b'{"verb":"why"}\\n', b'x' * 5000 + b'\\n', b'\\0\\xff\\n', b'{"verb":"status"}\\n')]
"""
    answers = employee.python(code, str(blocking.agent.runtime / "control.sock"))
    *refused, status = answers
    for a in refused:
        assert not a or (json.loads(a)["ok"] is False and json.loads(a)["error"]), a
    assert json.loads(status)["ok"] is True
    blocking.agent.alive()


def test_catalogue_check(station, tmp_path):
    station.desk.cli("catalogue", "check", TREE / "rules/channels")
    bad = tmp_path / "bad.ini"
    bad.write_text("[channel]\nid = bad\nname = Bad\ncategory = messenger\nhomepage = https://bad.example\nsource = https://bad.example\nchecked = 2026-11-21\n\n[names]\nsuffix = facebook.com\n")
    r = station.desk.cli("catalogue", "check", bad, check=False)
    assert r.returncode == 1 and re.search(r"bad\.ini:10:.*facebook\.com", r.stdout), r.stdout
    bad.write_text(bad.read_text().replace("suffix = facebook.com", "suffix = ok.example\nsuffix = ok.example"))
    r = station.desk.cli("catalogue", "check", bad, check=False)
    assert r.returncode == 1 and "bad.ini:11:" in r.stderr


def test_catalogue_build_is_reproducible(station):
    a, b = (station.desk.build_catalogue(TREE / "rules/channels", f"{n}.ini").read_bytes() for n in "ab")
    assert a == b and b"[file]\nname = whatsapp.ini" in a


# ---- what is missing on a machine ----

def start_without(station, setup, wrap=()):
    """What onchanneld says on a laptop on which `setup` has taken something away."""
    script = f'set -e\n{setup}\nexec "$@"'
    argv = ["unshare", "-m", "sh", "-c", script, "sh", *wrap, str(station.programs.agent), "--config", str(station.agent.ini)]
    r = station.internet.laptop.run(argv, timeout=60)
    assert r.returncode == 1, (r.returncode, r.stdout, r.stderr)
    return (r.stdout + r.stderr).lower()


@pytest.fixture
def stopped(station):
    station.agent.kill(15)
    yield station
    station.agent.start()


def test_no_root(stopped):
    r = stopped.internet.laptop.run([str(stopped.programs.agent), "--config", str(stopped.agent.ini)], user="anna", timeout=60)
    assert r.returncode == 1 and "root" in r.stderr.lower(), r.stderr


def test_no_cgroup2(stopped):
    stopped.agent.write_ini(cgroup="")
    ini = stopped.agent.ini
    ini.write_text(re.sub(r"(?m)^cgroup = .*\n", "", ini.read_text()))
    try:
        text = start_without(stopped, f"mount --make-rprivate /\numount {net.cgroup2_root()}")
    finally:
        stopped.agent.write_ini()
    assert "cgroup v2" in text and "systemd.unified_cgroup_hierarchy" in text


def test_no_btf(stopped):
    text = start_without(stopped, "mount --make-rprivate /\nmount -t tmpfs none /sys/kernel/btf")
    assert "btf" in text and "config_debug_info_btf" in text


def test_no_nftables(stopped):
    """As in a container that was not given the network's administration."""
    text = start_without(stopped, "", ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])
    assert "cap_net_admin" in text or "nftables" in text or "nf_tables" in text


def test_kernel_too_old(stopped):
    text = start_without(stopped, "", ["setarch", "--uname-2.6"])
    assert re.search(r"2\.6\.\d+.*6\.1", text), text


def test_bad_configuration(stopped):
    ini = stopped.agent.ini
    good = ini.read_text()
    try:
        for text, word in ((good + "colour = blue\n", "colour"), (good.replace("heartbeat = 3600", "heartbeat = soon"), "heartbeat"),
                           ("nonsense\n", "agent.ini:1")):
            ini.write_text(text)
            r = stopped.internet.laptop.run([str(stopped.programs.agent), "--config", str(ini), "--check"])
            assert r.returncode == 1 and word in r.stderr and "agent.ini:" in r.stderr, r.stderr
    finally:
        ini.write_text(good)
    assert stopped.internet.laptop.run([str(stopped.programs.agent), "--config", str(ini), "--check"]).returncode == 0


def test_evidence_verify(blocking, employee, tmp_path):
    """The spool of a device verifies offline; with one byte of a record changed it does not."""
    employee.curl("https://web.whatsapp.com/")
    blocking.violations(employee)
    spool = blocking.agent.state / "spool"
    r = blocking.desk.cli("evidence", "verify", spool, "--json")
    assert json.loads(r.stdout)["ok"] is True
    shutil.copytree(blocking.agent.state, tmp_path / "state", ignore=shutil.ignore_patterns("*.sock"))
    last = sorted((tmp_path / "state/spool").glob("*.seg"))[-1]
    data = bytearray(last.read_bytes())
    data[data.index(b'"channel":"whatsapp"') + 14] ^= 1
    last.write_bytes(data)
    r = blocking.desk.cli("evidence", "verify", tmp_path / "state/spool", check=False)
    assert r.returncode == 1 and r.stdout + r.stderr


def test_evidence_verify_of_batches(blocking, tmp_path):
    device = Device(tmp_path / "device", "", None)
    whole, _, _ = device.batch([{}, {}, {}])
    file = tmp_path / "batch.ndjson"
    for text, status in ((whole, 0), (whole.replace(b'"count":1', b'"count":2', 1), 1), (whole[:-50], 1)):
        file.write_bytes(text)
        r = blocking.desk.cli("evidence", "verify", file, "--device-key", device.public.hex(), check=False)
        assert r.returncode == status, r.stdout + r.stderr
    file.write_bytes(whole)
    assert blocking.desk.cli("evidence", "verify", file, "--device-key", "00" * 32, check=False).returncode == 1
