# SPDX-License-Identifier: GPL-3.0-or-later
"""What IT security did not sign, or signed long ago, is refused with file, line and reason; what is in force stays."""
import os
import re
import shutil
import subprocess

import pytest

import internet as net
from harness import SLOW, policy_text
from internet import wait_for


def edited(desk, serial):
    path = desk.sign(policy_text(serial=serial))
    path.write_text(path.read_text().replace("unlisted = block", "unlisted = allow"))
    return path


def old_serial(desk, serial):
    return desk.sign(policy_text({"whatsapp": "allow"}, serial=serial - 2))


def same_serial(desk, serial):
    return desk.sign(policy_text({"whatsapp": "allow"}, serial=serial - 1))


def truncated(desk, serial):
    path = desk.sign(policy_text(serial=serial))
    path.write_bytes(path.read_bytes()[:-20])
    return path


def wrong_key(desk, serial):
    if not (desk.folder / "stranger.key").exists():
        desk.cli("key", "new", "stranger")
    return desk.sign(policy_text(serial=serial), key="stranger.key")


def catalogue_key(desk, serial):
    return desk.sign(policy_text(serial=serial), key="catalogue.key")


def unsigned(desk, serial):
    path = desk.sign(policy_text(serial=serial))
    path.with_name(path.name + ".minisig").unlink()
    return path


def by_minisign(desk, text, comment):
    """Signed by the minisign program, for what `policy sign` would refuse to sign."""
    path = desk.folder / "policy.ini"
    path.write_text(text)
    subprocess.run(["minisign", "-S", "-W", "-s", desk.folder / "policy.key", "-m", path, "-t", comment], check=True, capture_output=True,
                   stdin=subprocess.DEVNULL)
    return path


def comment(serial):
    return f"onchannel policy serial={serial} expires=2099-01-01T00:00:00Z"


def long_line(desk, serial):
    return by_minisign(desk, policy_text(extra="; " + "x" * 197 + "verdict = allow\n", serial=serial), comment(serial))


def unknown_key(desk, serial):
    return by_minisign(desk, policy_text(serial=serial, colour="blue"), comment(serial))


def unknown_channel(desk, serial):
    return by_minisign(desk, policy_text({"carrier-pigeon": "allow"}, serial=serial), comment(serial))


def comment_disagrees(desk, serial):
    return by_minisign(desk, policy_text(serial=serial), comment(serial + 7))


def nul_byte(desk, serial):
    return by_minisign(desk, policy_text(serial=serial).replace("Bank", "Ba\0nk"), comment(serial))


def too_large(desk, serial):
    return by_minisign(desk, policy_text(serial=serial) + "; filler\n" * (1 << 17), comment(serial))


# maker, a word of the reason
CASES = [
    (edited, "signature"), (truncated, "signature"), (wrong_key, "key"), (catalogue_key, "key"),
    (unsigned, "minisig"), (old_serial, "serial"), (same_serial, "serial"), (long_line, "byte"),
    (unknown_key, "colour"), (unknown_channel, "carrier-pigeon"), (comment_disagrees, "comment"),
    (nul_byte, ""), (too_large, "1048576"),
]
IDS = [c[0].__name__ for c in CASES]


def line_of(path, word):
    """Number of the first line that holds the word."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if word in line:
            return number
    raise AssertionError(word)


LINES = {long_line: b"xxxx", unknown_key: b"colour", unknown_channel: b"carrier-pigeon", nul_byte: b"\0"}


def assert_reason(maker, path, word, text):
    assert path.name in text and word in text, text
    if maker in LINES:
        assert f"{path.name}:{line_of(path, LINES[maker])}:" in text, text


@pytest.mark.parametrize("maker,word", CASES, ids=IDS)
@pytest.mark.evasion(24, "each fault of a policy, by `policy install`", "agent")
def test_install_refuses(blocking, employee, needs, maker, word):
    needs("minisign")
    path = maker(blocking.desk, blocking.serial + 1)
    r = blocking.agent.cli("policy", "install", path)
    assert r.returncode not in (0, None) and r.returncode > 0
    assert_reason(maker, path, word, r.stderr)
    assert blocking.agent.status()["policy"]["serial"] == blocking.serial
    assert employee.curl("https://web.whatsapp.com/")[0] == 6


@pytest.mark.parametrize("maker,word", CASES, ids=IDS)
@pytest.mark.evasion(24, "each fault of a policy, given to the agent", "agent")
def test_agent_refuses(blocking, employee, needs, maker, word):
    """The agent trusts neither the command line nor the uplink: the same files straight into its incoming folder."""
    needs("minisign")
    agent = blocking.agent
    path = maker(blocking.desk, blocking.serial + 1)
    incoming = agent.state / "incoming"
    for name in ("policy.ini.minisig", "policy.ini"):
        (incoming / name).unlink(missing_ok=True)
        if (path.parent / name).exists():
            shutil.copy(path.parent / name, incoming / f"new.{name}")
            os.chown(incoming / f"new.{name}", net.SERVICES["onchannel"], net.SERVICES["onchannel"])
            os.rename(incoming / f"new.{name}", incoming / name)
    refused = wait_for(lambda: agent.status()["policy"].get("refused"), 5 * SLOW, "the refusal in the status")
    assert_reason(maker, path, word, f"{refused['file']}:{refused['line']}: {refused['reason']}")
    assert agent.status()["policy"]["serial"] == blocking.serial
    assert employee.curl("https://web.whatsapp.com/")[0] == 6
    plain = re.sub("'.*'", "'…'", refused["reason"])  # a record quotes nothing
    wait_for(lambda: any(plain in d for d in coverage_details(blocking, "refused")), 20 * SLOW, "the refusal in coverage")


def coverage_details(station, event):
    """What the coverage records of that kind at the collector say."""
    own = "json_extract(CAST(body AS TEXT), '$.unmapped.onchannel.coverage"
    return [d for d, in station.collector.sql(f"SELECT {own}.detail') FROM record WHERE kind = 'coverage' AND {own}.event') = ?", event)]


def test_sign_refuses_what_would_be_refused(blocking):
    path = blocking.desk.folder / "bad.ini"
    path.write_text(policy_text(colour="blue"))
    r = blocking.desk.cli("policy", "sign", path, "--key", "policy.key", check=False)
    assert r.returncode > 0
    assert f"bad.ini:{line_of(path, b'colour')}:" in r.stderr and "colour" in r.stderr


@pytest.mark.parametrize("text,line,word", [
    (policy_text().replace("mode = enforce", "mode = enforce\nmode = monitor"), 8, "mode"),
    (policy_text(expires="2026-02-30T00:00:00Z"), 6, "2026-02-30"),
    (policy_text(unlisted="perhaps"), 8, "perhaps"),
    (policy_text(extra="[channel whatsapp]\nverdict = allow\ngroup = nobody\n"), None, "nobody"),
    ("serial = 1\n", 1, ""),
], ids=["twice", "date", "value", "group", "no-section"])
def test_check_names_file_line_and_reason(blocking, text, line, word):
    path = blocking.desk.folder / "check.ini"
    path.write_text(text)
    r = blocking.desk.cli("policy", "check", path, check=False)
    assert r.returncode > 0
    assert f"check.ini:{line or ''}" in r.stderr and word in r.stderr
    path.write_text(policy_text())
    assert blocking.desk.cli("policy", "check", path).returncode == 0


def test_install_says_when_a_policy_has_expired(blocking):
    """It comes into force, for a policy that ends must open nothing; whoever installed it reads that."""
    blocking.agent.serial += 1
    path = blocking.desk.sign(policy_text(serial=blocking.agent.serial, expires="2021-01-01T00:00:00Z"))
    r = blocking.agent.cli("policy", "install", path)
    assert r.returncode == 0 and "warning: it expired at 2021-01-01T00:00:00Z" in r.stdout, r.stdout + r.stderr
    assert blocking.agent.status()["policy"]["expired"] is True and "(expired; it stays in force)" in blocking.agent.cli("status").stdout


def test_minisign_and_onchannel_are_interchangeable(blocking, needs):
    needs("minisign")
    desk = blocking.desk
    path = desk.sign(policy_text(serial=999))
    subprocess.run(["minisign", "-V", "-p", desk.folder / "keys/policy.pub", "-m", path], check=True, capture_output=True)
    blocking.agent.serial += 1
    serial = blocking.agent.serial
    path = by_minisign(desk, policy_text(serial=serial), comment(serial))
    blocking.agent.cli("policy", "install", path, check=True)
    wait_for(lambda: blocking.agent.status()["policy"]["serial"] == serial, 5 * SLOW)


def test_policy_from_the_collector(blocking, employee):
    """The long way: the collector hands it out, the uplink fetches it, the agent takes it."""
    blocking.agent.serial += 1
    serial = blocking.agent.serial
    path = blocking.desk.sign(policy_text({"whatsapp": "allow"}, serial=serial))
    shared = blocking.collector.folder / "new"
    shared.mkdir(exist_ok=True)
    for name in (path.name, path.name + ".minisig"):
        shutil.copy(path.parent / name, shared)
        os.chmod(shared / name, 0o644)
    blocking.collector.run("policy", blocking.collector.dir, shared / path.name)
    wait_for(lambda: blocking.agent.status()["policy"]["serial"] == serial, 30 * SLOW, "the policy coming through the collector")
    assert employee.curl("https://web.whatsapp.com/")[0] == 0
