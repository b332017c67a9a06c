# SPDX-License-Identifier: GPL-3.0-or-later
"""Exemptions beside the policy: signed files that let named people through for a while, in every layer, with the network
cut; revocations; break-glass tokens; requests."""
import datetime
import json
import os
import shutil

import pytest

from harness import FAST_MS, SLOW, assert_row
from internet import wait_for
from test_exemption import LAYERS, SHARED, attempts


@pytest.fixture(scope="module", autouse=True)
def exemption_key(station):
    desk = station.desk
    if not (desk.folder / "keys/exemption.pub").exists():
        desk.cli("key", "new", "exemption")
        shutil.move(desk.folder / "exemption.pub", desk.folder / "keys")
        station.agent.cli("policy", "install", desk.folder / "policy.ini")
        answer = station.agent.request("reload")
        assert answer["ok"], answer


def grant(station, name, *args, key="exemption.key", lasting="1h"):
    desk = station.desk
    desk.cli("exemption", "grant", name, "--key", key, "--for", lasting, "--reason", "CHG-4711", "--approver", "Dora Chief", *args)
    return desk.folder / name


def drop(agent, path):
    """By hand or by configuration management: signature first, each by rename."""
    folder = agent.state / "incoming/exemptions"
    for suffix in (".minisig", ""):
        shutil.copy(f"{path}{suffix}", folder / ".new")
        os.rename(folder / ".new", folder / f"{path.name}{suffix}")


def held(agent, id):
    return next((e for e in agent.status()["exemptions"] if e["id"] == id), None)


def in_force(agent, id):
    return wait_for(lambda: (held(agent, id) or {}).get("state") == "in force", 10 * SLOW, f"{id} in force")


def gone(agent, id):
    return wait_for(lambda: held(agent, id) is None, 30 * SLOW, f"{id} over")


def coverage(station, word):
    """Details of coverage records at the collector that hold this word."""
    station.fence()
    rows = station.collector.sql("SELECT body FROM record WHERE kind = 'coverage'")
    details = [json.loads(bytes(b) if isinstance(b, bytes) else b)["unmapped"]["onchannel"]["coverage"] for b, in rows]
    return [d for d in details if word in (d.get("detail") or "")]


def test_named_user_in_every_layer_with_the_network_cut(blocking, employee):
    """Two at once; only this person; each use is recorded with the exemption's id; over on time."""
    agent, other = blocking.agent, blocking.employee()
    ids = {"EX-1": ["signal", "whatsapp"], "EX-2": ["telegram"]}
    agent.uplink.terminate()
    agent.uplink.wait(20)
    for id, channels in ids.items():
        drop(agent, grant(blocking, f"{id}.ini", "--channel", ",".join(channels), "--user", employee.name, "--device", "ws-03*",
                          "--id", id, lasting="1h"))
    for id in ids:
        in_force(agent, id)
    assert attempts(employee) == dict.fromkeys(LAYERS, True)
    assert attempts(other) == dict.fromkeys(LAYERS, False)
    why = agent.json("why", "web.whatsapp.com", "--user", employee.name)
    assert (why["verdict"], why["decided_by"]) == ("allow", "exemption EX-1")
    short = grant(blocking, "short.ini", "--channel", "discord", "--user", employee.name, "--id", "EX-3", "--from", stamp(-3600 + 8),
                  lasting="1h")
    drop(agent, short)
    in_force(agent, "EX-3")
    assert employee.curl("https://discord.com/")[0] == 0
    gone(agent, "EX-3")
    assert employee.curl("https://discord.com/")[0] == 6
    agent.start_uplink()
    rows = {r["layer"]: r for r in blocking.violations(employee) if r["class"] == "exemption-use" and r["channel"] != "discord"}
    assert set(rows) == set(LAYERS)
    for layer, row in rows.items():
        assert_row(row, channel=LAYERS[layer], verdict="allow", outcome="allowed", uid=employee.uid)
        record = record_of(blocking, row)
        assert record["unmapped"]["onchannel"]["exemption"] == ("EX-2" if row["channel"] == "telegram" else "EX-1")
    assert {r["class"] for r in blocking.violations(other)} == {"use"}
    begun = coverage(blocking, "EX-3")
    assert [("began" in d["detail"], "ended" in d["detail"]) for d in begun] == [(True, False), (False, True)]
    assert [d["exemptions"] for d in begun] == [3, 2]


def stamp(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def record_of(station, row):
    status, answer = station.collector.call(f"/api/v1/violations/{row['device']}/{row['seq']}")
    assert status == 200
    return answer["record"]


def test_revoked(blocking, employee):
    """By a signed file; the same exemption does not come back, from whatever place."""
    agent = blocking.agent
    path = grant(blocking, "again.ini", "--channel", "whatsapp", "--user", employee.name, "--id", "EX-10")
    agent.cli("exemption", "install", path, check=True)
    in_force(agent, "EX-10")
    assert employee.curl("https://web.whatsapp.com/")[0] == 0
    blocking.desk.cli("exemption", "revoke", "stop.ini", "--key", "exemption.key", "--revokes", "EX-10", "--reason", "left",
                      "--approver", "Dora")
    drop(agent, blocking.desk.folder / "stop.ini")
    gone(agent, "EX-10")
    assert employee.curl("https://web.whatsapp.com/")[0] == 6
    r = agent.cli("exemption", "install", path)
    assert r.returncode == 1 and "has ended or was revoked" in r.stderr
    by_policy = grant(blocking, "policy-ends.ini", "--channel", "whatsapp", "--user", employee.name, "--id", "EX-11")
    agent.cli("exemption", "install", by_policy, check=True)
    in_force(agent, "EX-11")
    agent.policy(extra="\n[trust]\nrevoke_exemption = EX-11\n")
    gone(agent, "EX-11")
    assert employee.curl("https://web.whatsapp.com/")[0] == 6


def test_no_restart_and_no_clock_prolongs(blocking, employee):
    """What is left is on disk; SIGKILL and a new start give nothing back."""
    agent = blocking.agent
    agent.cli("exemption", "install", grant(blocking, "long.ini", "--channel", "whatsapp", "--user", employee.name, "--id", "EX-20"), check=True)
    in_force(agent, "EX-20")
    left = held(agent, "EX-20")["left"]
    agent.kill()
    ledger = (agent.state / "exemptions/ledger").read_text()
    assert "[EX-20]\nstate = 1" in ledger
    agent.start()
    assert 0 < held(agent, "EX-20")["left"] <= left
    assert employee.curl("https://web.whatsapp.com/")[0] == 0
    agent.policy(extra="\n[trust]\nrevoke_exemption = EX-20\n")
    gone(agent, "EX-20")
    agent.kill()
    agent.start()
    assert held(agent, "EX-20") is None and employee.curl("https://web.whatsapp.com/")[0] == 6


def test_what_is_not_taken(blocking, employee):
    """Each with its reason; nobody gets through."""
    agent, desk = blocking.agent, blocking.desk
    who = ("--channel", "whatsapp", "--user", employee.name)

    def refused(path, word):
        r = agent.cli("exemption", "install", path)
        assert r.returncode == 1 and word in r.stderr, r.stderr
    refused(grant(blocking, "by-policy.ini", *who, "--id", "EX-30", key="policy.key"), "no exemption key but a policy key")
    refused(grant(blocking, "elsewhere.ini", *who, "--id", "EX-31", "--device", "pc-*"), "is for another device")
    edited = grant(blocking, "edited.ini", *who, "--id", "EX-32")
    edited.write_text(edited.read_text().replace(employee.name, "mallory"))
    refused(edited, "is wrong")
    swapped = grant(blocking, "swapped.ini", *who, "--id", "EX-33")
    shutil.copy(f"{grant(blocking, 'other.ini', *who, '--id', 'EX-34')}.minisig", f"{swapped}.minisig")
    refused(swapped, "is wrong")
    assert desk.cli("exemption", "grant", "x.ini", "--key", "exemption.key", "--for", "400d", "--reason", "r", "--approver", "a", *who,
                    check=False).returncode == 1
    assert employee.curl("https://web.whatsapp.com/")[0] == 6
    reasons = [r["reason"] for r in agent.status()["exemptions_refused"]]
    assert any("is wrong" in r for r in reasons) and any("no exemption key" in r for r in reasons)


def test_break_glass(blocking, employee):
    """A token as one line, brought by the employee; monitor while it lasts; over by itself, and for ever; on no other device."""
    agent, desk = blocking.agent, blocking.desk
    device = agent.status()["device"]
    out = desk.cli("break-glass", "make", "bg.ini", "--key", "policy.key", "--device", device, "--from", stamp(-3600 + 12), "--for", "1h",
                   "--reason", "stranded abroad", "--approver", "Dora", "--id", "BG-1").stdout
    token = out.split()[-1]
    assert token.startswith("onchannel:")
    r = agent.cli("break-glass", "use", "-", user=employee.name, input=token + "\n")
    assert r.returncode == 0 and "BG-1: in force" in r.stdout, r.stderr
    status = agent.status()
    assert (status["break_glass"], status["policy"]["mode"]) == ("BG-1", "monitor")
    assert employee.curl("https://web.whatsapp.com/", *SHARED)[0] == 0
    gone(agent, "BG-1")
    wait_for(lambda: agent.status()["policy"]["mode"] == "enforce", 10 * SLOW, "enforcing again")
    status, ms, text = employee.curl("https://web.whatsapp.com/", *SHARED)
    assert status != 0 and ms < FAST_MS
    r = agent.cli("break-glass", "use", desk.folder / "bg.ini")
    assert r.returncode == 1 and "has ended" in r.stderr
    desk.cli("break-glass", "make", "theirs.ini", "--key", "policy.key", "--device", "0" * 32, "--for", "1h", "--reason", "r", "--approver", "a")
    assert "another device" in agent.cli("break-glass", "use", desk.folder / "theirs.ini").stderr
    records = [d for d in coverage(blocking, "BG-1") if d["event"] != "refused"]
    assert [(d["event"], d["mode"], d.get("break_glass")) for d in records] == [("break-glass", "monitor", "BG-1"), ("break-glass", "enforce", None)]
    opened, = [r for r in blocking.collector.violations(layer="agent", **{"class": "exemption-use"})]
    detail = record_of(blocking, opened)["unmapped"]["onchannel"]["detail"]
    assert "stranded abroad" in detail and "; the collector was reached last at 20" in detail and "and is not now" not in detail, detail


def test_request(blocking, employee):
    """It reaches the collector as a record of its own kind, with the person and their words."""
    agent = blocking.agent
    r = agent.cli("request", "whatsapp", "--reason", "client in Brazil", "--for", "2d", user=employee.name)
    assert r.returncode == 0, r.stderr
    assert "wait a little" in agent.cli("request", "whatsapp", "--reason", "again", user=employee.name).stderr
    assert "no channel" in agent.cli("request", "carrier-pigeon", "--reason", "x", user=blocking.employee().name).stderr
    blocking.fence()
    (body,), = [r for r in blocking.collector.sql("SELECT body FROM record WHERE kind = 'request'") if employee.name in str(r)]
    record = json.loads(body)
    extra = record["unmapped"]["onchannel"]
    assert (extra["channel"], extra["reason"], extra["hours"]) == ("whatsapp", "client in Brazil", 48)
    assert record["user"]["uid"] == str(employee.uid) and record["class_uid"] == 3005
