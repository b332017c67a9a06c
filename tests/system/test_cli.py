# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, and what the programs say when the machine lacks something."""
import json
import re
import shutil
import subprocess
import sys

import pytest

import internet as net
from harness import TREE, policy_text
from internet import wait_for

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


@pytest.mark.parametrize("subject,verdict,by", [("whatsapp", "block", "unlisted"), ("MICROSOFT teams", "allow", "[channel teams]")])
def test_why_a_channel(blocking, subject, verdict, by):
    """As notices and my-data call it, or as people do."""
    why = blocking.agent.json("why", subject)
    assert (why["verdict"], why["decided_by"]) == (verdict, by) and "entry" not in why and why["help"]
    text = blocking.agent.cli("why", subject, user="anna", check=True).stdout
    assert verdict in text and f"that is the channel's name, {why['file']}" in text
    assert "no channel" in blocking.agent.cli("why", "onchannel-canary").stdout


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


def test_catalogue_build_is_reproducible(station, tmp_path):
    """Byte for byte, in whatever order the folder lists its files and whatever the locale."""
    names = sorted(p.name for p in (TREE / "rules/channels").glob("*.ini"))
    built = []
    for i, (order, locale) in enumerate(((names, "C"), (names[::-1], "C.UTF-8"), (names[1::2] + names[::2], "tr_TR.UTF-8"))):
        folder = tmp_path / str(i)
        folder.mkdir()
        for name in order:
            shutil.copy(TREE / "rules/channels" / name, folder)
        args = ["catalogue", "build", "-o", tmp_path / f"{i}.ini", "--version", "1", "--serial", "1", folder]
        subprocess.run([station.programs.cli, *args], env={"LC_ALL": locale, "TZ": "Asia/Tokyo"}, check=True, capture_output=True)
        built.append((tmp_path / f"{i}.ini").read_bytes())
    assert built[0] == built[1] == built[2] and b"[file]\nname = whatsapp.ini" in built[0]


def test_catalogue_show_summary(station):
    cli = station.desk.cli
    rows = [line.split() for line in cli("catalogue", "show", TREE / "rules/channels", "--summary").stdout.splitlines()]
    assert rows[0] == ["category", "channels", "program", "name", "address", "web", "port"]
    assert rows[-1][0] == "total" and int(rows[-1][1]) == len(list((TREE / "rules/channels").glob("*.ini")))
    assert [sum(int(r[i]) for r in rows[1:-1]) for i in range(1, 7)] == [int(x) for x in rows[-1][1:]]
    summary = json.loads(cli("catalogue", "show", station.desk.catalogue, "--summary", "--json").stdout)
    assert summary["total"]["name"] == int(rows[-1][3]) and summary["version"] == "test"


@pytest.mark.parametrize("text,channel,value", [
    ("web.WhatsApp.com", "whatsapp", "whatsapp.com"), ("149.154.167.50", "telegram", "149.154.160.0/20"),
    ("signal-desktop", "signal", "signal-desktop"), ("Discord", "discord", "discord.com")])
def test_catalogue_search(station, text, channel, value):
    found = json.loads(station.desk.cli("catalogue", "search", text, "--catalogue", TREE / "rules/channels", "--json").stdout)["found"]
    row, = [f for f in found if f["channel"] == channel]
    assert value in [e["value"] for e in row["entries"]]
    shown = station.desk.cli("catalogue", "search", text, "--catalogue", station.desk.catalogue).stdout
    assert f"({channel}, " in shown and value in shown


def test_catalogue_search_without_result(station):
    r = station.desk.cli("catalogue", "search", "no such thing", "--catalogue", TREE / "rules/channels", check=False)
    assert r.returncode == 1 and not r.stdout and "no such thing" in r.stderr


def test_worked_example(station, tmp_path):
    """What rules/README.md shows is what the program says."""
    readme = (TREE / "rules/README.md").read_text()
    text, = re.findall(r"```ini\n(.*?)```", readme, re.DOTALL)
    file = tmp_path / "example-talk.ini"
    file.write_text(text)
    assert station.desk.cli("catalogue", "check", file).stdout == "1 channels, 0 errors, 0 warnings\n"
    file.write_text(text.replace("[programs]\n", "[programs]\nname     = talk\n"))
    r = station.desk.cli("catalogue", "check", file, check=False)
    error, = re.findall(r"^error: .*", readme, re.MULTILINE)
    assert error in r.stdout.splitlines() or r.stdout.startswith(error), r.stdout
    folder, policy = tmp_path / "channels", tmp_path / "policy.ini"
    shutil.copytree(TREE / "rules/channels", folder)
    (folder / "example-talk.ini").write_text(text)
    policy.write_text(policy_text())
    said = station.desk.cli("catalogue", "diff", station.desk.catalogue, folder, "--policy", policy).stdout.splitlines()
    shown = re.findall(r"^(?:[+=] |\d+ channels and).*", readme, re.MULTILINE)
    assert len(shown) == 4 and set(shown) <= set(said), said


@pytest.fixture
def two_catalogues(tmp_path):
    """Channels, and the same with one added, one gone, a name added, one gone and one moved."""
    def channel(folder, name, *suffixes):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.ini").write_text(
            f"[channel]\nid = {name}\nname = {name.title()}\ncategory = messenger\nhomepage = https://x.example\n"
            "source = https://x.example\nchecked = 2026-11-21\n\n[names]\n" + "".join(f"suffix = {s}\n" for s in suffixes))
    channel("a", "kept", "kept.example", "old.example", "moved.example")
    channel("a", "gone", "gone.example")
    channel("a", "approved", "approved.example")
    channel("b", "kept", "kept.example", "new.example")
    channel("b", "come", "come.example")
    channel("b", "approved", "approved.example", "moved.example")
    return tmp_path / "a", tmp_path / "b"


def test_catalogue_diff(station, two_catalogues, tmp_path):
    cli = station.desk.cli
    text = cli("catalogue", "diff", *two_catalogues).stdout
    assert [line.split(" (")[0].split() for line in text.splitlines()[:6]] == [
        ["-", "channel", "gone"], ["+", "channel", "come"], ["-", "gone", "suffix", "gone.example"],
        ["-", "kept", "suffix", "old.example"], [">", "approved", "suffix", "moved.example"], ["+", "come", "suffix", "come.example"]]
    policy = tmp_path / "policy.ini"
    policy.write_text(policy_text({"approved": "allow", "kept": "allow\ngroup = desk"}, "[group desk]\nuser = anna\n"))
    verdicts = json.loads(cli("catalogue", "diff", *two_catalogues, "--policy", policy, "--json").stdout)["verdicts"]
    assert {(v["subject"], v["user"], v["before"], v["after"]) for v in verdicts} == {
        ("gone", None, "block", "allow"), ("come", None, "allow", "block"), ("old.example", None, "block", "allow"),
        ("new.example", None, "allow", "block"), ("moved.example", None, "block", "allow")}
    anna = json.loads(cli("catalogue", "diff", *two_catalogues, "--policy", policy, "--user", "anna", "--json").stdout)["verdicts"]
    assert {v["subject"] for v in anna} == {"gone", "come"}
    shown = cli("catalogue", "diff", *two_catalogues, "--policy", policy).stdout
    assert re.search(r"= suffix +moved\.example +block -> allow +for everyone", shown)
    assert cli("catalogue", "diff", two_catalogues[0], two_catalogues[0]).stdout == "0 channels and 0 entries differ\n"


# ---- an organisation's own channels ----

OWN = """[channel]
id = bank-chat
name = Bank Chat
category = workplace
homepage = https://chat.bank.example
source = https://chat.bank.example
checked = 2026-11-21

[names]
suffix = chat.bank.example
"""


def test_own_channels(blocking, employee, tmp_path):
    """They are signed with the policy, blocked or approved as any channel, and gone with the next policy without them."""
    agent, desk = blocking.agent, blocking.desk
    own = tmp_path / "own"
    own.mkdir()
    (own / "bank-chat.ini").write_text(OWN)
    plain, bundle = tmp_path / "plain.ini", tmp_path / "policy.ini"

    def install(verdict):
        agent.serial += 1
        plain.write_text(policy_text({"bank-chat": verdict}, serial=agent.serial))
        desk.cli("policy", "sign", plain, "--key", "policy.key", "--channels", own, "-o", bundle, "--catalogue", desk.catalogue)
        agent.cli("policy", "install", bundle, check=True)
        wait_for(lambda: agent.status()["policy"]["serial"] == agent.serial, 10)
    install("block")
    assert agent.status()["policy"]["own_channels"] == 1
    assert employee.curl("https://x.chat.bank.example/")[0] == 6
    assert employee.curl("https://www.bank.example/")[0] == 0
    row, = blocking.violations(employee)
    assert row["channel"] == "bank-chat" and row["channel_name"] == "Bank Chat"
    why = agent.json("why", "chat.bank.example")
    assert (why["file"], why["line"]) == ("policy/bank-chat.ini", 10)
    install("allow")
    assert employee.curl("https://x.chat.bank.example/")[0] == 0
    agent.kill(15)
    agent.start()
    assert agent.json("why", "chat.bank.example")["verdict"] == "allow"
    agent.policy()
    assert agent.json("why", "chat.bank.example")["channel"] is None


@pytest.mark.parametrize("old,new,reason", [
    ("chat.bank.example\n", "facebook.com\n", "serves more than"),
    ("chat.bank.example\n", "whatsapp.com\n", "channel 'whatsapp' too|'whatsapp' too|in channel"),
    ("bank-chat", "whatsapp", "the catalogue has a channel 'whatsapp'"),
    ("suffix", "prefx", "unknown key 'prefx'")])
def test_own_channels_are_checked(station, tmp_path, old, new, reason):
    """As those of the catalogue are, and none may redefine one of them."""
    own = tmp_path / "own"
    own.mkdir()
    text = OWN.replace(old, new)
    (own / f"{re.search('id = (.*)', text)[1]}.ini").write_text(text)
    plain, bundle = tmp_path / "plain.ini", tmp_path / "policy.ini"
    plain.write_text(policy_text())
    r = station.desk.cli("policy", "sign", plain, "--key", "policy.key", "--channels", own, "-o", bundle, "--catalogue",
                         station.desk.catalogue, check=False)
    assert r.returncode == 1 and re.search(reason, r.stdout + r.stderr), r.stdout + r.stderr
    assert not bundle.exists() and not bundle.with_name("policy.ini.minisig").exists()


def test_agent_refuses_what_redefines(blocking, tmp_path):
    """Also when nobody compared it with the catalogue before signing."""
    agent, before = blocking.agent, blocking.agent.status()["policy"]["serial"]
    own = tmp_path / "own"
    own.mkdir()
    (own / "whatsapp.ini").write_text(OWN.replace("bank-chat", "whatsapp"))
    plain, bundle = tmp_path / "plain.ini", tmp_path / "policy.ini"
    plain.write_text(policy_text(serial=before + 1))
    blocking.desk.cli("policy", "sign", plain, "--key", "policy.key", "--channels", own, "-o", bundle)
    r = agent.cli("policy", "install", bundle)
    assert r.returncode == 1 and "the catalogue has a channel 'whatsapp'" in r.stderr
    assert agent.status()["policy"]["serial"] == before


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
