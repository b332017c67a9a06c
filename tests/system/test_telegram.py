# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's telegram-desktop: as a program, and, where its program is not known, by its built-in addresses."""
import ipaddress
import re
import shutil
import subprocess
import time

import pytest

import harness
from harness import FAST_MS, assert_row
from internet import Internet, environment, wait_for

PREFIXES = [ipaddress.ip_network(p) for p in (
    "149.154.160.0/20", "91.108.0.0/16", "91.105.192.0/23", "185.76.151.0/24", "95.161.76.100/32", "2001:67c:4e8::/48",
    "2001:b28:f23c::/46", "2a0a:f280::/32")]


class Telegram:
    def __init__(self, employee):
        runtime = employee.home / "run"
        runtime.mkdir(mode=0o700)
        shutil.chown(runtime, employee.uid)
        self.process = employee.popen(["telegram-desktop"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      env=environment(QT_QPA_PLATFORM="offscreen", XDG_RUNTIME_DIR=str(runtime)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def connections(internet, since):
    """What reached the world at Telegram's addresses."""
    return [r for r in internet.seen("tcp", since=since) if any(ipaddress.ip_address(r["address"]) in p for p in PREFIXES)]


@pytest.mark.evasion(16, "the distribution's package (Telegram)", "exec")
def test_program(blocking, employee, needs):
    needs("telegram-desktop")
    r = employee.python('result = attempt(lambda: subprocess.run(["telegram-desktop"], timeout=20).returncode)')
    assert r["error"] == "EPERM" or r["value"] == -9, r
    assert r["ms"] < FAST_MS
    row, = blocking.violations(employee)
    assert_row(row, channel="telegram", channel_name="Telegram", tier="program", layer="exec", verdict="block", user=employee.name,
               uid=employee.uid, program="/usr/bin/telegram-desktop", policy_serial=blocking.serial, **{"class": "use"})


def test_approved_passes_unrecorded(allowing, employee, needs):
    needs("telegram-desktop")
    start = time.monotonic()
    with Telegram(employee) as t:
        wait_for(lambda: t.process.poll() is not None or connections(allowing.internet, start), 30, "Telegram connecting")
        assert t.process.poll() is None
    assert allowing.violations(employee) == []


@pytest.fixture(scope="module")
def without_program(tmp_path_factory):
    """A station whose catalogue knows Telegram's names and prefixes, but not its programs."""
    channels = tmp_path_factory.mktemp("rules") / "channels"
    shutil.copytree(harness.TREE / "rules/channels", channels)
    file = channels / "telegram.ini"
    text = re.sub(r"(?ms)^\[programs\].*?(?=^\[|\Z)", "", file.read_text())
    assert "telegram-desktop" not in text
    file.write_text(text)
    with Internet() as internet:
        s = harness.Station(internet, channels)
        yield s
        s.close()


@pytest.mark.evasion(13, "the real Telegram Desktop", "connect egress")
def test_addresses_without_the_program_rule(without_program, needs):
    needs("telegram-desktop")
    station, employee = without_program, without_program.employee()
    serial = station.agent.policy()
    start = time.monotonic()
    with Telegram(employee) as t:
        wait_for(lambda: t.process.poll() is not None or station.collector.violations(user=employee.name, layer="connect"), 30,
                 "a violation of Telegram's")
        assert t.process.poll() is None, "the program itself may run here"
    row, = station.violations(employee, layer="connect")
    assert_row(row, channel="telegram", tier="address", layer="connect", verdict="block", user=employee.name, uid=employee.uid,
               program="/usr/bin/telegram-desktop", policy_serial=serial, **{"class": "use"})
    assert any(ipaddress.ip_address(row["remote"]) in p for p in PREFIXES)
    assert connections(station.internet, start) == [], "something reached Telegram"
    station.download.check()
