# SPDX-License-Identifier: GPL-3.0-or-later
"""EVASION 24: policies and catalogues that must not come into force. test_policy.py has each fault of a
policy; here are the files that are more than a wrong line."""
import os
import shutil
import time

import pytest

from harness import SLOW, policy_text
from internet import wait_for

ROLES = {"policy": "policy.ini", "catalogue": "catalogue.ini"}


def deliver(agent, role, path):
    """As the uplink does: signature first, each by rename."""
    incoming = agent.state / "incoming"
    for suffix in (".minisig", ""):
        name = ROLES[role] + suffix
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copy(source, incoming / f"new.{name}")
            os.rename(incoming / f"new.{name}", incoming / name)


def refused(agent, role, word):
    def reason():
        r = agent.status()[role].get("refused")
        return r and word in r["reason"] and r
    return wait_for(reason, 10 * SLOW, f"a refusal that says {word!r}")


@pytest.fixture
def in_force(blocking, employee):
    """What was in force stays in force, and the incoming folder is left clean."""
    before = blocking.agent.status()
    yield blocking
    now = blocking.agent.status()
    assert (now["policy"]["hash"], now["catalogue"]["hash"]) == (before["policy"]["hash"], before["catalogue"]["hash"])
    assert employee.curl("https://web.whatsapp.com/")[0] == 6
    for f in (blocking.agent.state / "incoming").iterdir():
        if f.is_file():
            f.unlink()


def catalogue(station, key, name, serial=7):
    station.desk.cli("catalogue", "build", "-o", name, "--version", "evil", "--serial", serial, "--key", key, station.desk.channels)
    return station.desk.folder / name


@pytest.mark.evasion(24, "catalogue by the policy key", "agent")
def test_24_catalogue_signed_by_the_policy_key(in_force):
    deliver(in_force.agent, "catalogue", catalogue(in_force, "policy.key", "by-policy-key.ini"))
    refused(in_force.agent, "catalogue", "key")


@pytest.mark.parametrize("change,word", [(lambda b: b.replace(b"whatsapp.com", b"example.com.", 1), "signature"),
                                         (lambda b: b[:len(b) // 2], "signature"), (lambda b: b"", "signature")],
                         ids=["edited", "truncated", "empty"])
@pytest.mark.evasion(24, "catalogue edited, truncated, empty", "agent")
def test_24_damaged_catalogue(in_force, change, word):
    path = catalogue(in_force, "catalogue.key", "damaged.ini", 8)
    path.write_bytes(change(path.read_bytes()))
    deliver(in_force.agent, "catalogue", path)
    refused(in_force.agent, "catalogue", word)


@pytest.mark.parametrize("role", list(ROLES))
@pytest.mark.evasion(24, "file of 1 GiB", "agent")
def test_24_file_of_a_gibibyte(in_force, role):
    """Refused by its size, before a byte of it is read."""
    agent, path = in_force.agent, in_force.desk.folder / f"huge-{role}.ini"
    with open(path, "wb") as f:
        f.truncate(1 << 30)
    start = time.monotonic()
    os.rename(path, agent.state / "incoming" / ROLES[role])
    refused(agent, role, "larger than")
    assert time.monotonic() - start < 2 * SLOW
    with open(f"/proc/{agent.process.pid}/status") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))
    assert peak < 200 << 10, f"{peak} KiB"


@pytest.mark.evasion(24, "another organisation's policy", "agent")
def test_24_policy_of_another_organisation(in_force):
    """Whole, valid, newer, signed, but by somebody else's key."""
    other = in_force.desk.folder / "other"
    other.mkdir()
    in_force.desk.cli("key", "new", other / "theirs")
    path = in_force.desk.folder / "theirs.ini"
    path.write_text(policy_text({"whatsapp": "allow"}, organisation="Other Bank", serial=in_force.serial + 50))
    in_force.desk.cli("policy", "sign", path, "--key", next(other.glob("*.key")))
    deliver(in_force.agent, "policy", path)
    refused(in_force.agent, "policy", "key")
