# SPDX-License-Identifier: GPL-3.0-or-later
"""The browsers' managed policies, in the real browsers: what a person sees, and what leaves the laptop."""
import itertools
import json
import os
import pathlib
import time

import pytest

from chromium import Chromium
from firefox import Firefox
from harness import SLOW, Station, assert_row
from internet import wait_for

CHROMIUM = "chromium/policies/managed"
OURS = f"{CHROMIUM}/zz-onchannel.json"
FIREFOX = "firefox/policies/policies.json"
EVERY_PLACE = [f"{d}/policies/managed/zz-onchannel.json" for d in ("chromium", "chromium-browser", "opt/chrome", "opt/edge", "brave")] + [FIREFOX]
DOH = "doh.nobody-knows.example"  # no catalogue has it: only the browser's policy keeps it from being asked
ports = itertools.count(2900)


class Etc:
    """The laptop's /etc."""

    def __init__(self, internet):
        self.laptop = internet.laptop

    def read(self, name):
        """The text, or None."""
        r = self.laptop.run(["cat", f"/etc/{name}"])
        return r.stdout if r.returncode == 0 else None

    def json(self, name):
        return json.loads(self.read(name) or "{}")

    def write(self, name, text):
        self.laptop.run(["sh", "-c", 'mkdir -p "$(dirname "$0")" && cat >"$0"', f"/etc/{name}"], input=text, check=True)

    def remove(self, *names):
        self.laptop.run(["rm", "-f", *(f"/etc/{n}" for n in names)], check=True)


@pytest.fixture(scope="module")
def station(internet):
    s = Station(internet, browsers=True)
    yield s
    s.close()


@pytest.fixture
def etc(blocking):
    """The files are those of the policy in force."""
    e = Etc(blocking.internet)
    wait_for(lambda: "whatsapp.com" in (e.read(OURS) or "") and "whatsapp.com" in (e.read(FIREFOX) or ""), 10 * SLOW, "browser policies")
    return e


@pytest.fixture
def chromium(employee, needs):
    needs("chromium")
    opened = []

    def start(*flags):
        opened.append(Chromium(employee, *flags))
        return opened[-1]
    yield start
    for b in opened:
        b.close()


@pytest.fixture
def firefox(employee, needs):
    needs("firefox-esr")
    opened = []

    def start(**prefs):
        opened.append(Firefox(employee, next(ports), **prefs))
        return opened[-1]
    yield start
    for b in opened:
        b.close()


def picture(name, data):
    """For a person to look at, when ONCHANNEL_PICTURES names a folder."""
    folder = os.environ.get("ONCHANNEL_PICTURES")
    if folder:
        pathlib.Path(folder, f"{name}.png").write_bytes(data)


BLOCKED = ["https://web.whatsapp.com/", "https://www.facebook.com/messages/t/1", "https://m.facebook.com/messages", "https://discord.com/app"]
FINE = ["https://www.facebook.com/", "https://www.facebook.com/events", "https://www.example.org/", "https://teams.microsoft.com/"]


@pytest.mark.evasion(18, "Chromium tab", "browser")
def test_chromium_page(etc, blocking, chromium):
    """Blocked by the organisation, at once and without a packet; a path alone; all else as ever."""
    b = chromium()
    start = time.monotonic()
    for url in BLOCKED:
        assert b.navigate(url)[0] == "net::ERR_BLOCKED_BY_ADMINISTRATOR", url
    picture("chromium", b.screenshot())
    for url in FINE:
        assert b.navigate(url)[0] is None, url
    assert not [r for r in blocking.internet.seen("http", since=start) if "/messages" in r["path"]]
    assert not [r for r in blocking.internet.seen("tls", since=start) if r["name"] in ("web.whatsapp.com", "discord.com")]


@pytest.mark.evasion(18, "Firefox tab", "browser")
def test_firefox_page(etc, blocking, firefox):
    b = firefox()
    start = time.monotonic()
    for url in BLOCKED:
        error = b.navigate(url)
        assert error and "blockedByPolicy" in error, (url, error)
    picture("firefox", b.screenshot())
    for url in FINE:
        assert b.navigate(url) is None, url
    assert not [r for r in blocking.internet.seen("http", since=start) if "/messages" in r["path"]]
    assert not [r for r in blocking.internet.seen("tls", since=start) if r["name"] in ("web.whatsapp.com", "discord.com")]


EMBEDDED = ["https://innocent.shop.example/embedded", "http://innocent.shop.example/embedded"]  # links of the second would be looked up ahead
LINKS = """JSON.stringify([...document.links].map(a => a.getBoundingClientRect()).map(r => [r.x + r.width / 2, r.y + r.height / 2]))"""
PARTS = """JSON.stringify({parts, basket: document.getElementById("basket").textContent, ready: document.readyState})"""


def check_embedded(station, employee, seen, start):
    """The page works; what is not evidence is there, the messengers' own parts are not; nobody is accused of more."""
    assert seen == {"parts": {"pixel": "loaded", "button": "loaded", "widget": "failed", "picture": "failed"}, "basket": "one thing",
                    "ready": "complete"}
    assert not [r for r in station.internet.seen("tls", since=start) if r["name"] in ("web.whatsapp.com", "cdn.discordapp.com", "discord.com")]
    rows = station.violations(employee)
    assert {r["channel"] for r in rows} == {"whatsapp", "discord"} and {r["layer"] for r in rows} == {"dns"}, rows


def test_chromium_page_with_parts_of_messengers(etc, blocking, employee, chromium):
    b, start = chromium(), time.monotonic()

    def evaluate(expression):
        return json.loads(b.page("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"])
    for url in EMBEDDED:
        assert b.navigate(url)[0] is None
        for x, y in evaluate(LINKS):  # the mouse passes over them
            b.page("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    seen = evaluate(PARTS)
    picture("chromium-embedded", b.screenshot())
    check_embedded(blocking, employee, seen, start)


def test_firefox_page_with_parts_of_messengers(etc, blocking, employee, firefox):
    b, start = firefox(), time.monotonic()
    for url in EMBEDDED:
        assert b.navigate(url) is None
    value = b.script(f"return {PARTS}")
    picture("firefox-embedded", b.screenshot())
    check_embedded(blocking, employee, json.loads(value), start)


def asked_doh(station, start):
    return bool(station.internet.seen("tls", since=start, name=DOH))


def doh_chromium(employee):
    """Somebody has switched secure DNS on in the settings."""
    state = {"dns_over_https": {"mode": "secure", "templates": f"https://{DOH}/dns-query"}}
    employee.run(["sh", "-c", 'mkdir -p chromium && cat >"chromium/Local State"'], input=json.dumps(state), check=True)


@pytest.mark.evasion(15, "Chromium's own DoH", "browser egress")
def test_chromium_doh(etc, blocking, employee, chromium):
    doh_chromium(employee)
    start = time.monotonic()
    assert chromium().navigate("https://www.example.org/")[0] is None, "names are asked of the machine's resolver"
    assert not asked_doh(blocking, start)
    assert blocking.internet.seen("dns", since=start, name="www.example.org")


@pytest.mark.evasion(15, "Chromium's own DoH", "browser egress")
def test_chromium_doh_where_it_is_approved(blocking, employee, chromium):
    """The other way round: what the test before would see without the policy. (With any policy at all
    Chromium takes the machine for a managed one and leaves secure DNS off.)"""
    blocking.agent.policy(unlisted="allow", bypass="allow")
    wait_for(lambda: Etc(blocking.internet).read(OURS) is None, 10 * SLOW)
    doh_chromium(employee)
    start = time.monotonic()
    chromium().navigate("https://www.example.org/")
    assert asked_doh(blocking, start)


TRR = {"network.trr.mode": 3, "network.trr.uri": f"https://{DOH}/dns-query", "network.dns.echconfig.enabled": True}


@pytest.mark.evasion(15, "Firefox's own DoH", "browser egress")
@pytest.mark.evasion(12, "switched on in Firefox", "browser egress")
def test_firefox_doh_and_ech(etc, blocking, firefox):
    start = time.monotonic()
    b = firefox(**TRR)
    assert b.navigate("https://www.example.org/") is None
    assert not asked_doh(blocking, start)
    assert b.pref("network.trr.mode") == (5, True)
    assert b.pref("network.dns.echconfig.enabled") == (False, True)
    assert b.pref("network.dns.http3_echconfig.enabled") == (False, True)


@pytest.mark.evasion(15, "Firefox's own DoH", "browser egress")
def test_firefox_doh_where_it_is_approved(blocking, firefox):
    blocking.agent.policy({"encrypted-dns": "allow"})
    e = Etc(blocking.internet)
    wait_for(lambda: "DNSOverHTTPS" not in e.json(FIREFOX)["policies"], 10 * SLOW)
    start = time.monotonic()
    b = firefox(**TRR)
    b.navigate("https://www.example.org/")
    assert asked_doh(blocking, start)
    assert b.pref("network.trr.mode") == (3, False)


@pytest.mark.evasion(12, "switched on in Chromium", "browser egress")
def test_chromium_ech(etc, blocking, chromium):
    """With ECH on every hello carries the extension, if only to keep others in practice."""
    start = time.monotonic()
    assert chromium().navigate("https://ech.example.org/")[0] is None
    hello, *_ = blocking.internet.seen("tls", since=start, name="ech.example.org")
    assert hello["ech"] is False


@pytest.mark.evasion(12, "switched on in Chromium", "browser egress")
def test_chromium_ech_where_nothing_is_blocked(blocking, chromium):
    blocking.agent.policy(unlisted="allow", bypass="allow")
    wait_for(lambda: Etc(blocking.internet).read(OURS) is None, 10 * SLOW)
    start = time.monotonic()
    assert chromium().navigate("https://ech.example.org/")[0] is None
    hello, *_ = blocking.internet.seen("tls", since=start, name="ech.example.org")
    assert hello["ech"] is True


def test_administrators_own_policy(etc, blocking, chromium, firefox):
    """Both hold in both browsers, whatever the administrator's file is called, and theirs comes back as it was."""
    first, theirs = '{"URLBlocklist": ["games.example"]}', '{ "policies": {"WebsiteFilter": {"Block": ["*://games.example/*"]}}}\n'
    etc.write(f"{CHROMIUM}/corp.json", first)
    etc.write(FIREFOX, theirs)
    wait_for(lambda: all("games.example" in etc.read(f) and "whatsapp.com" in etc.read(f) for f in (OURS, FIREFOX)), 10 * SLOW, "the merged files")
    assert etc.read(f"{FIREFOX}.administrator") == theirs
    c, f = chromium(), firefox()
    for url in ("https://games.example/", "https://web.whatsapp.com/"):
        assert c.navigate(url)[0] == "net::ERR_BLOCKED_BY_ADMINISTRATOR", url
        assert "blockedByPolicy" in f.navigate(url), url
    assert c.navigate("https://www.example.org/")[0] is None and f.navigate("https://www.example.org/") is None
    blocking.agent.policy(unlisted="allow", bypass="allow")
    wait_for(lambda: etc.read(OURS) is None and etc.read(FIREFOX) == theirs, 10 * SLOW, "theirs alone")
    assert etc.read(f"{CHROMIUM}/corp.json") == first and etc.read(f"{FIREFOX}.administrator") is None
    etc.remove(f"{CHROMIUM}/corp.json", FIREFOX)


@pytest.mark.parametrize("name", [OURS, FIREFOX])
@pytest.mark.parametrize("how", ["edited", "removed", "folder"])
@pytest.mark.evasion(23, "a browser's policy edited, removed", "restore")
def test_drift(etc, blocking, name, how):
    """Whoever edits or removes our file finds it restored, and it is on record."""
    before, restored = etc.read(name), blocking.agent.status()["browsers"]["restored"]
    if how == "edited":
        etc.laptop.run(["sed", "-i", "s/whatsapp/nothing/", f"/etc/{name}"], check=True)
    elif how == "removed":
        etc.remove(name)
    else:
        etc.laptop.run(["sh", "-c", 'mv "$0" "$0.away" && rm -r "$0.away"', str(pathlib.Path("/etc", name).parent)], check=True)
    wait_for(lambda: etc.read(name) == before, 10 * SLOW, "our file again")
    wait_for(lambda: blocking.agent.status()["browsers"]["restored"] > restored, 10 * SLOW)


@pytest.mark.evasion(23, "a browser's policy edited, removed", "restore")
def test_drift_is_reported(etc, blocking):
    """Last of its minute: one record, however often somebody tries."""
    etc.remove(OURS)
    wait_for(lambda: etc.read(OURS), 10 * SLOW)
    blocking.fence()
    rows = blocking.collector.violations(**{"class": "tamper", "layer": "browser"})
    assert rows
    assert_row(rows[0], layer="browser", outcome="denied", **{"class": "tamper"})
    status, record = blocking.collector.call(f"/api/v1/violations/{rows[0]['device']}/{rows[0]['seq']}")
    assert status == 200 and "/etc/" in json.dumps(record)


def test_status_and_coverage(etc, blocking):
    browsers = blocking.agent.status()["browsers"]
    assert browsers["managed"] and browsers["files"] == 6 and browsers["patterns"] > 100 and browsers["problem"] is None
    assert "6 policy files" in blocking.agent.cli("status").stdout
    blocking.agent.policy()
    spool = blocking.agent.state / "spool"
    wait_for(lambda: any(b'"browsers":"files=6 patterns=' in s.read_bytes() for s in spool.glob("*.seg")), 10 * SLOW, "a coverage record")


def test_exempt_person_leaves_the_channel_to_the_other_layers(etc, blocking):
    blocking.agent.policy({"whatsapp": "allow\ngroup = desk"}, "[group desk]\nuser = anna\n")
    wait_for(lambda: "whatsapp" not in etc.read(OURS), 10 * SLOW)
    assert "discord.com" in etc.json(OURS)["URLBlocklist"]


def test_not_managed(etc, blocking):
    """Switched off in agent.ini the agent takes away what it wrote."""
    agent = blocking.agent
    agent.kill(15)
    agent.browsers = False
    try:
        agent.write_ini()
        agent.start()
        assert not [p for p in EVERY_PLACE if etc.read(p)]
        assert agent.status()["browsers"]["managed"] is False and "not managed" in agent.cli("status").stdout
    finally:
        agent.kill(15)
        agent.browsers = True
        agent.write_ini()
        agent.start()


def test_monitor_mode_changes_no_browser(etc, blocking):
    blocking.agent.policy(mode="monitor")
    wait_for(lambda: not [p for p in EVERY_PLACE if etc.read(p)], 10 * SLOW)


def test_release_takes_ours_only(etc, blocking):
    agent, theirs = blocking.agent, '{"policies": {"DisableTelemetry": true}}'
    etc.write(FIREFOX, theirs)
    etc.write(f"{CHROMIUM}/corp.json", "{}")
    wait_for(lambda: "whatsapp.com" in etc.read(FIREFOX), 10 * SLOW)
    agent.kill(15)
    assert etc.read(OURS), "ending the agent opens no gate"
    r = etc.laptop.run([str(agent.programs.agent), "release", "--config", str(agent.ini)])
    try:
        assert r.returncode == 0, r.stderr
        assert etc.read(FIREFOX) == theirs and etc.read(f"{CHROMIUM}/corp.json") == "{}"
        assert [p for p in EVERY_PLACE if etc.read(p)] == [FIREFOX]
        assert etc.laptop.run(["ls", "/etc/brave", "/etc/opt/edge"]).returncode != 0, "empty folders go as well"
    finally:
        etc.remove(FIREFOX, f"{CHROMIUM}/corp.json")
        agent.start()
    wait_for(lambda: all(etc.read(p) for p in EVERY_PLACE), 10 * SLOW)
