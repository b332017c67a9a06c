# SPDX-License-Identifier: GPL-3.0-or-later
"""Chromium, the real one, on a messenger's web version."""
import time

import pytest

import world
from chromium import Chromium
from harness import FAST_MS, assert_row

PROBE = "https://innocent.shop.example/probe"


@pytest.fixture
def browser(employee, needs):
    needs("chromium")
    opened = []

    def start(*flags):
        opened.append(Chromium(employee, *flags))
        assert opened[-1].navigate(PROBE)[0] is None
        return opened[-1]
    yield start
    for b in opened:
        b.close()


@pytest.mark.evasion(1, "Chromium", "egress")
def test_by_name(blocking, employee, browser):
    """In a page of its own and out of another's, and again once the browser is warm."""
    b = browser()
    start = time.monotonic()
    result, ms = b.fetch("https://discord.com/")
    assert result.startswith("TypeError"), result
    assert ms < FAST_MS
    error, ms = b.navigate("https://discord.com/app")
    assert error in ("net::ERR_NAME_NOT_RESOLVED", "net::ERR_BLOCKED_BY_ADMINISTRATOR"), error
    assert ms < 5 * FAST_MS  # tearing down a page and showing the browser's own error included
    assert b.navigate("https://www.example.org/")[0] is None, "the neighbour on the same address"
    row, = blocking.violations(employee)
    assert_row(row, channel="discord", channel_name="Discord", tier="name", layer="dns", outcome="dropped", verdict="block",
               user=employee.name, uid=employee.uid, policy_serial=blocking.serial, **{"class": "use"})
    assert row["program"].endswith("/chromium"), row["program"]
    assert not blocking.internet.seen("tls", since=start, name="discord.com")


@pytest.mark.evasion(6, "Chromium, with a hello of 1.9 kB", "egress")
def test_by_shared_address(blocking, employee, browser):
    """The browser knows the address already: its hello, 1.9 kB long, gives the name away."""
    b = browser(f"--host-resolver-rules=MAP discord.com {world.SHARED4}")
    start = time.monotonic()
    result, ms = b.fetch("https://discord.com/")
    assert result.startswith("TypeError"), result
    assert ms < FAST_MS
    error, ms = b.navigate("https://discord.com/app")
    assert error in ("net::ERR_CONNECTION_RESET", "net::ERR_SSL_PROTOCOL_ERROR", "net::ERR_CONNECTION_CLOSED",
                     "net::ERR_CONNECTION_ABORTED"), error
    assert b.navigate("https://www.example.org/")[0] is None
    row, = blocking.violations(employee)
    assert_row(row, channel="discord", tier="name", layer="tls", verdict="block", user=employee.name, uid=employee.uid,
               remote=world.SHARED4, port=443, policy_serial=blocking.serial, **{"class": "use"})
    assert not blocking.internet.seen("tls", since=start, name="discord.com")


def test_approved_passes_unrecorded(allowing, employee, browser):
    b = browser()
    assert b.fetch("https://discord.com/")[0] == "ok"
    assert b.navigate("https://web.whatsapp.com/")[0] is None
    title = b.page("Runtime.evaluate", expression="document.title", returnByValue=True)
    assert title["result"]["value"] == "web.whatsapp.com"
    assert allowing.violations(employee) == []


def test_ordinary_browsing_is_unnoticed(blocking, employee, browser):
    b = browser()
    for url in ("https://www.example.org/", "https://teams.microsoft.com/", "https://example.net/", "http://plain.example/"):
        assert b.navigate(url)[0] is None, url
    assert blocking.violations(employee) == []
