# SPDX-License-Identifier: GPL-3.0-or-later
"""An exemption by (channel, user) holds in every layer, for that user only, and its use is recorded."""
import pytest

import world
from harness import Employee, assert_row
from test_evasion_quic import send
from test_exec import install, started

CONNECT = 'result = attempt(connect, "149.154.167.66", 443)'
SHARED = ("--resolve", f"web.whatsapp.com:443:{world.SHARED4}")
LAYERS = {"exec": "signal", "dns": "whatsapp", "connect": "telegram", "tls": "whatsapp", "quic": "whatsapp"}


def exempting(station, person, verdict="allow"):
    group = f"\n[group desk]\nuser = {person.name}\n"
    station.agent.policy(extra=group + "".join(f"\n[channel {c}]\nverdict = {verdict}\ngroup = desk\n" for c in sorted(set(LAYERS.values()))))


def attempts(person):
    """Which layers let this person through."""
    path = install(person, "signal-desktop")
    return {"exec": started(person, path)["ran"], "dns": person.curl("https://web.whatsapp.com/")[0] == 0,
            "tls": person.curl("https://web.whatsapp.com/", *SHARED)[0] == 0, "connect": person.python(CONNECT)["error"] is None,
            "quic": send(person, "v1", "web.whatsapp.com", 0.2)["error"] is None}


def test_exemption_in_every_layer(blocking, employee):
    other = blocking.employee()
    exempting(blocking, employee)
    assert attempts(employee) == dict.fromkeys(LAYERS, True)
    assert attempts(other) == dict.fromkeys(LAYERS, False)
    rows = {r["layer"]: r for r in blocking.violations(employee)}
    assert set(rows) == set(LAYERS)
    for layer, row in rows.items():
        assert_row(row, channel=LAYERS[layer], verdict="allow", outcome="allowed", uid=employee.uid, **{"class": "exemption-use"})
    rows = {r["layer"]: r for r in blocking.violations(other)}
    assert set(rows) == set(LAYERS) and {r["class"] for r in rows.values()} == {"use"}


def test_exemption_to_watch(blocking, employee):
    """Let through and recorded as what it is to everybody: use."""
    exempting(blocking, employee, "watch")
    assert attempts(employee) == dict.fromkeys(LAYERS, True)
    rows = blocking.violations(employee)
    assert {r["layer"] for r in rows} == set(LAYERS) and {(r["class"], r["verdict"], r["outcome"]) for r in rows} == {("use", "watch", "passed")}


def test_exemption_of_what_is_allowed_anyway(station, employee):
    """An approved channel needs no exemption: nothing is recorded."""
    channels = sorted(set(LAYERS.values()))
    station.agent.policy({c: "allow" for c in channels}, extra=f"\n[group desk]\nuser = {employee.name}\n")
    assert attempts(employee) == dict.fromkeys(LAYERS, True)
    assert station.violations(employee) == []


class Namespaced(Employee):
    """The same person under another uid of theirs (subuid(5)), as whoever is not root in a container of theirs."""

    def __init__(self, person):
        super().__init__(person.internet, person.name)
        ids = f"{person.name}:{1000000 + person.uid * 65536}:65536"
        self.internet.laptop.run(["sh", "-ec", f"for f in /etc/subuid /etc/subgid; do echo {ids} >>$f; done"], check=True)
        self.home.chmod(0o777)

    def run(self, argv, **kw):
        return super().run(["unshare", "--user", "--map-auto", "--map-root-user", "setpriv", "--reuid", "5", "--regid", "5", "--clear-groups", *argv], **kw)


@pytest.mark.evasion(21, "another uid of one's own (subuid), where a channel is blocked for a group", "egress connect exec")
def test_group_under_other_uids(blocking, employee, needs):
    needs("newuidmap")
    channels = sorted(set(LAYERS.values()))
    group = f"\n[group traders]\nuser = {employee.name}\n" + "".join(f"\n[channel {c}]\nverdict = block\ngroup = traders\n" for c in channels)
    blocking.agent.policy({"viber": "block"}, group, unlisted="allow")
    assert attempts(blocking.employee()) == dict.fromkeys(LAYERS, True)
    assert attempts(Namespaced(employee)) == dict.fromkeys(LAYERS, False)
    rows = {r["layer"]: r for r in blocking.violations(employee)}
    assert set(rows) == set(LAYERS)
    for layer, row in rows.items():
        assert_row(row, channel=LAYERS[layer], uid=employee.uid)


@pytest.mark.evasion(21, "another uid of one's own (subuid), where a channel is blocked for a group", "egress connect exec")
def test_exemption_under_other_uids(blocking, employee, needs):
    needs("newuidmap")
    exempting(blocking, employee)
    # nftables goes by the socket's uid
    assert attempts(Namespaced(employee)) == {**dict.fromkeys(LAYERS, True), "connect": False}
    rows = blocking.violations(employee)
    assert {r["layer"] for r in rows} == set(LAYERS) and {r["class"] for r in rows} == {"exemption-use"}
