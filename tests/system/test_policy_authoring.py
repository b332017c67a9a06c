# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy at IT security's desk: new, check, diff, test, keys. No agent, no network, no root."""
import datetime
import json
import re
import subprocess

import pytest

import harness
from harness import TREE, policy_text
from test_docs import complete

NOW = datetime.datetime.now(datetime.timezone.utc)


def stamp(**delta):
    return (NOW + datetime.timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Desk:
    def __init__(self, folder):
        self.folder = folder
        self.catalogue = folder / "catalogue.ini"
        self("catalogue", "build", "-o", self.catalogue, "--version", "test", "--serial", 1, TREE / "rules/channels")

    def __call__(self, *args, status=0):
        r = subprocess.run([harness.BUILD / "cli/onchannel", *map(str, args)], cwd=self.folder, capture_output=True,
                           text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        assert r.returncode == status, (args, r.returncode, r.stdout, r.stderr)
        return r

    def json(self, *args, status=0):
        return json.loads(self(*args, "--json", status=status).stdout)

    def policy(self, name, channels=None, extra="", **keys):
        keys = {"serial": 7, "not_before": "2026-01-01T00:00:00Z", "expires": stamp(days=90), **keys}
        (self.folder / name).write_text(policy_text(channels, extra, **keys))
        return name

    def warnings(self, *args, **keys):
        return [w["text"] for w in self.json("policy", "check", *args, **keys)["warnings"]]

    def diff(self, old, new, *args, status=1):
        return self.json("policy", "diff", old, new, "--catalogue", self.catalogue, *args, status=status)

    def changes(self, old, new, *args):
        return {(c["who"], c["channel"]): (c["old"], c["new"]) for c in self.diff(old, new, *args)["changes"]}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return Desk(tmp_path_factory.mktemp("desk"))


# ---- new ----

def test_new_passes_check(desk):
    text = desk("policy", "new", "new.ini", "--organisation", "Söhne & Co").stdout
    assert "mode monitor" in text
    check = desk.json("policy", "check", "new.ini", "--catalogue", desk.catalogue, "--strict")
    assert (check["organisation"], check["serial"], check["mode"], check["warnings"]) == ("Söhne & Co", 1, "monitor", [])
    days = (datetime.datetime.fromisoformat(check["expires"].replace("Z", "+00:00")) - NOW).days
    assert 87 <= days <= 92, check["expires"]
    lines = (desk.folder / "new.ini").read_text().splitlines()
    for key in desk.json("policy", "keys")["keys"]:
        assert any(re.match(rf";?{key['key']} +=", line) for line in lines), f"{key['key']} is not explained"
        assert any(line.startswith(f"; {key['meaning']}") for line in lines)


def test_new_with_every_comment_taken_off(desk):
    """What is offered in comments is right as well."""
    desk("policy", "new", "offer.ini")
    text = re.sub(r"(?m)^;(?=\S)", "", (desk.folder / "offer.ini").read_text())
    (desk.folder / "offer.ini").write_text(text)
    check = desk.json("policy", "check", "offer.ini", "--catalogue", desk.catalogue)
    assert check["ok"] and "[channel teams]" in text and "device " in text


def test_new_keeps_a_file(desk):
    (desk.folder / "mine.ini").write_text("mine\n")
    assert "exists" in desk("policy", "new", "mine.ini", status=1).stderr
    assert (desk.folder / "mine.ini").read_text() == "mine\n"
    desk("policy", "new", "mine.ini", "--force")
    desk("policy", "check", "mine.ini")


@pytest.mark.parametrize("name", ["a ; b", "x" * 200, "a\nunlisted = allow", "", "a\x1b[2J"])
def test_new_refuses_a_name_that_would_read_otherwise(desk, name):
    desk("policy", "new", "refused.ini", "--organisation", name, status=1)
    assert not (desk.folder / "refused.ini").exists()


# ---- check ----

@pytest.mark.parametrize("keys,warning", [
    ({}, None), ({"expires": stamp(days=13, hours=-1)}, "expires in 12 days"), ({"expires": stamp(days=-3, hours=-1)}, "expired 3 days ago"),
    ({"unlisted": "allow"}, "unlisted = allow"), ({"bypass": "allow"}, "bypass = allow"),
    ({"channels": {"teams": "allow"}}, "without 'archive'"), ({"channels": {"tor": "allow"}}, "leads around the policy"),
    ({"extra": "[group a]\nuser = x\n"}, "is not used"),
    ({"extra": "[group a]\ndevice = ws-[0\n[channel teams]\nverdict = watch\ngroup = a\n"}, "without its ']'"),
    ({"extra": "[channel teams]\nverdict = watch\nuntil = 2026-01-02T00:00:00Z\n"}, "counts as absent")])
def test_check_warns(desk, keys, warning):
    file = desk.policy("warn.ini", **keys)
    found = desk.warnings(file, "--catalogue", desk.catalogue)
    assert len(found) == (1 if warning else 0) and all(warning in w for w in found), found
    text = desk("policy", "check", file, "--catalogue", desk.catalogue).stdout
    assert (re.search(r"(?m)^warning: warn\.ini:\d+: ", text) is not None) == bool(warning) and "warn.ini: OK" in text
    desk("policy", "check", file, "--strict", "--catalogue", desk.catalogue, status=1 if warning else 0)


def test_check_strict_asks_for_monitor(desk):
    file = desk.policy("first.ini", serial=1)
    assert not desk.warnings(file)
    found = desk.json("policy", "check", file, "--strict", status=1)
    assert found["ok"] is False and "never tried in monitor" in found["warnings"][0]["text"]
    assert not desk.warnings(desk.policy("first.ini", serial=1, mode="monitor"), "--strict")


def test_check_knows_which_devices_there_are(desk):
    file = desk.policy("where.ini", extra="[group a]\ndevice = ws-03*\n[group b]\ntag = trading\n[group c]\ndevice = mac-*\n"
                       "[channel teams]\nverdict = watch\ngroup = a\n[channel slack]\nverdict = watch\ngroup = b\n"
                       "[channel zoom]\nverdict = watch\ngroup = c\n")
    (desk.folder / "devices.txt").write_text("# all of them\nws-0301\n\nlt-7\tlondon trading # a desk\r\n")
    found = desk.warnings(file, "--devices", "devices.txt")
    assert len(found) == 1 and "no device of 'devices.txt' is in group 'c'" in found[0], found
    (desk.folder / "devices.txt").write_text("# none\n")
    assert "names no device" in desk("policy", "check", file, "--devices", "devices.txt", status=1).stderr


# ---- diff ----

GROUP = """
[group desk]
device = ws-03*
user = anna
"""
WHATSAPP = "[channel whatsapp]\nverdict = allow\ngroup = desk\n"


def test_diff_of_the_same(desk):
    a, b = desk.policy("a.ini", {"teams": "allow"}), desk.policy("b.ini", {"teams": "allow"}, "; a comment\n")
    assert desk.diff(a, b, status=0) == {"ok": True, "same": True, "changes": [], "settings": [], "untried": []}
    assert desk("policy", "diff", a, b, "--catalogue", desk.catalogue).stdout == ""


def test_diff_for_everyone(desk):
    a = desk.policy("a.ini", {"teams": "allow"}, programs="block")
    b = desk.policy("b.ini", {"slack": "allow", "signal": "watch"}, serial=8, programs="block")
    assert desk.changes(a, b) == {("everyone", "teams"): ("allow", "block"), ("everyone", "slack"): ("block", "allow"),
                                  ("everyone", "signal"): ("block", "watch")}
    settings = {(s["section"], s["key"]): (s["old"], s["new"]) for s in desk.diff(a, b)["settings"]}
    assert settings == {("[policy]", "serial"): ("7", "8"), ("[channel teams]", "verdict"): ("allow", None),
                        ("[channel slack]", "verdict"): (None, "allow"), ("[channel signal]", "verdict"): (None, "watch")}
    text = desk("policy", "diff", a, b, "--catalogue", desk.catalogue, status=1).stdout
    assert text.splitlines()[0] == "everyone:" and "  now allow, so far block: slack" in text
    assert "  [policy] serial = 8, so far 7" in text


def test_diff_says_what_a_mode_does(desk):
    """One key, and hundreds of verdicts change; the text stays short."""
    a, b = desk.policy("a.ini", mode="monitor"), desk.policy("b.ini", mode="enforce")
    changes = desk.diff(a, b)["changes"]
    assert len(changes) > 200 and all((c["old"], c["new"]) == ("watch", "block") for c in changes)
    text = desk("policy", "diff", a, b, "--catalogue", desk.catalogue, status=1).stdout
    assert len(text.splitlines()) == 4 and re.search(r"and \d+ more", text)


def test_diff_of_programs_alone(desk):
    a, b = desk.policy("a.ini", programs="block"), desk.policy("b.ini", programs="watch")
    change = desk.diff(a, b)["changes"][0]
    assert (change["old"], change["new"], change["old_programs"], change["new_programs"]) == ("block", "block", "block", "watch")
    assert "now block (programs: watch), so far block:" in desk("policy", "diff", a, b, "--catalogue", desk.catalogue, status=1).stdout


def test_diff_of_a_group(desk):
    a, b = desk.policy("a.ini", extra=GROUP), desk.policy("b.ini", extra=GROUP + WHATSAPP)
    assert desk.changes(a, b) == {("members of group desk", "whatsapp"): ("block", "allow")}
    for device, user, change in (("ws-031", "anna", True), ("ws-041", "anna", False), ("ws-031", "bob", False), ("ws-031", None, False)):
        args = ["--device", device] + (["--user", user] if user else [])
        assert bool(desk.changes(a, b, *args)) == change, (device, user)


def test_diff_of_members(desk):
    a = desk.policy("a.ini", extra=GROUP + WHATSAPP)
    b = desk.policy("b.ini", extra=GROUP.replace("anna", "bob") + WHATSAPP)
    assert desk.changes(a, b) == {("who joins group desk", "whatsapp"): ("block", "allow"),
                                  ("who leaves group desk", "whatsapp"): ("allow", "block")}
    assert desk.changes(a, b, "--user", "anna", "--device", "ws-03") == {("device ws-03, user anna", "whatsapp"): ("allow", "block")}
    b = desk.policy("b.ini", extra=GROUP + "user = bob\n" + WHATSAPP)
    assert set(desk.changes(a, b)) == {("who joins group desk", "whatsapp")}
    b = desk.policy("b.ini", extra=GROUP.replace("user = anna\n", "") + WHATSAPP)
    assert set(desk.changes(a, b)) == {("who joins group desk", "whatsapp")}, "no user named: all of them"
    assert set(desk.changes(b, a)) == {("who leaves group desk", "whatsapp")}


def test_diff_says_who_keeps(desk):
    """Everyone loses the channel, the group does not."""
    a = desk.policy("a.ini", {"whatsapp": "allow"}, GROUP)
    b = desk.policy("b.ini", extra=GROUP + WHATSAPP)
    assert desk.changes(a, b) == {("everyone in no group", "whatsapp"): ("allow", "block"),
                                  ("members of group desk", "whatsapp"): ("allow", "allow")}
    assert "still allow: whatsapp" in desk("policy", "diff", a, b, "--catalogue", desk.catalogue, status=1).stdout


TAGGED = "[group floor]\ntag = trading-*\nunixgroup = traders\n[channel whatsapp]\nverdict = allow\ngroup = floor\n"


def test_diff_of_tags_and_unixgroups(desk):
    a, b = desk.policy("a.ini"), desk.policy("b.ini", extra=TAGGED)
    assert desk.changes(a, b) == {("who joins group floor", "whatsapp"): ("block", "allow")}
    for device, user, change in (("ws-1:trading-floor", "anna:staff:traders", True), ("-:trading-floor", "-:traders", True), ("ws-1", "anna:traders", False),
                                 ("ws-1:trading-floor", "anna:staff", False), ("trading-floor", "traders", False)):
        assert bool(desk.changes(a, b, "--device", device, "--user", user)) == change, (device, user)
    wider = desk.policy("c.ini", extra=TAGGED.replace("unixgroup", "user = anna\nunixgroup"))
    assert set(desk.changes(b, wider)) == {("who joins group floor", "whatsapp")}
    assert set(desk.changes(wider, b)) == {("who leaves group floor", "whatsapp")}
    other = desk.policy("c.ini", extra=TAGGED.replace("trading-*", "sales-*"))
    assert set(desk.changes(b, other)) == {("who joins group floor", "whatsapp"), ("who leaves group floor", "whatsapp")}


def test_diff_warns_of_what_was_never_watched(desk):
    """Allowed so far and blocked at once; not where it was watched in between, nor in monitor."""
    a, b = desk.policy("a.ini", {"whatsapp": "allow", "signal": "watch"}), desk.policy("b.ini")
    assert desk.diff(a, b)["untried"] == ["whatsapp"]
    assert "warning: 'whatsapp' was allowed and is blocked at once" in desk("policy", "diff", a, b, "--catalogue", desk.catalogue, status=1).stdout
    assert desk.diff(a, desk.policy("b.ini", mode="monitor"))["untried"] == []
    assert desk.diff(b, a)["untried"] == []


def test_diff_at_another_time(desk):
    a = desk.policy("a.ini")
    b = desk.policy("b.ini", extra=f"[channel whatsapp]\nverdict = allow\nuntil = {stamp(days=10)}\n")
    assert ("everyone", "whatsapp") in desk.changes(a, b)
    later = desk.diff(a, b, "--at", stamp(days=11))
    assert later["changes"] == [] and later["settings"], "the key differs nevertheless"


@pytest.mark.parametrize("args", [["missing.ini", "a.ini"], ["a.ini", "bad.ini"], ["a.ini"], ["a.ini", "unknown.ini"], ["a.ini", "a.ini", "--at", "soon"]])
def test_diff_trouble_is_two(desk, args):
    desk.policy("a.ini")
    desk.policy("unknown.ini", {"no-such-channel": "block"})
    (desk.folder / "bad.ini").write_text("[policy]\nnonsense\n")
    assert desk("policy", "diff", *args, "--catalogue", desk.catalogue, status=2).stderr


# ---- test ----

def test_the_sample_does_what_it_says(desk):
    folder = TREE / "rules/policies"
    result = desk.json("policy", "test", folder / "sample.ini", folder / "sample-expectations.txt", "--catalogue", desk.catalogue)
    lines = [x for x in (folder / "sample-expectations.txt").read_text().splitlines() if x and x[0] != ";"]
    assert result == {"ok": True, "passed": len(lines), "failed": 0, "failures": []} and len(lines) > 10


def test_expectations_of_tags_and_unixgroups(desk):
    file = desk.policy("t.ini", extra=TAGGED)
    (desk.folder / "t.txt").write_text("ws-1:trading-floor anna:traders web.whatsapp.com allow\n-:trading-floor -:traders web.whatsapp.com allow\n"
                                       "ws-1 anna:traders web.whatsapp.com block\nws-1:trading-floor anna web.whatsapp.com block\n"
                                       "ws-1:other anna:traders web.whatsapp.com block\n")
    assert "5 of 5 expectations hold" in desk("policy", "test", file, "t.txt", "--catalogue", desk.catalogue).stdout


def test_expectations(desk):
    file = desk.policy("t.ini", {"teams": "allow"}, GROUP + WHATSAPP + f"until = {stamp(days=10)}\n", programs="watch")
    good = ["ws-031 anna web.whatsapp.com allow", "ws-031 bob web.whatsapp.com block", "ws-041 anna web.whatsapp.com block",
            "- - signal-desktop watch", "- - chat.signal.org block", "- - teams.microsoft.com allow",
            "- - /usr/bin/signal-desktop watch", "ws-031 anna whatsapp-for-linux allow", "- - 149.154.167.50 block"]
    table = desk.folder / "t.txt"
    table.write_text("\n".join(good) + "\n")
    args = ["policy", "test", file, "t.txt", "--catalogue", desk.catalogue]
    assert "9 of 9 expectations hold" in desk(*args).stdout
    for i, line in enumerate(good):
        wrong = {"allow": "block", "block": "watch", "watch": "allow"}
        subject, verdict = line.rsplit(" ", 1)
        table.write_text("\n".join(good[:i] + [f"{subject} {wrong[verdict]}"] + good[i + 1:]) + "\n")
        failure, = desk.json(*args, status=1)["failures"]
        assert (failure["line"], failure["verdict"], failure["expected"]) == (i + 1, verdict, wrong[verdict])
        assert f"t.txt:{i + 1}: " in desk(*args, status=1).stdout
    table.write_text("\n".join(good))
    later = desk.json(*args, "--at", stamp(days=11), status=1)["failures"]
    assert [f["line"] for f in later] == [1, 8], "the section is over"


@pytest.mark.parametrize("text,line", [("- - x deny\n", 1), ("; nothing\n", 0), ("- - x.com allow\nx\n", 2)])
def test_a_bad_table_is_no_success(desk, text, line):
    (desk.folder / "bad.txt").write_text(text)
    answer = desk.json("policy", "test", desk.policy("t.ini"), "bad.txt", "--catalogue", desk.catalogue, status=1)
    assert (answer["ok"], answer["file"], answer["line"]) == (False, "bad.txt", line)


# ---- keys ----

def manual():
    """Section heading -> {key: the line that introduces it} of onchannel-policy(5)."""
    sections, heading = {}, None
    for line in (TREE / "man/onchannel-policy.5").read_text().splitlines():
        if line.startswith(".Sh"):
            heading = line.removeprefix(".Sh SECTION ")
        elif line.startswith(".It Cm ") and heading.startswith("["):
            names = re.match(r"\.It Cm ([a-z_ ,]+)", line)[1]
            sections.setdefault(heading, {}).update({n: line for n in re.findall(r"[a-z_]{2,}", names)})
    return sections


def test_keys_are_in_the_manual_and_no_others(desk):
    keys = desk.json("policy", "keys")["keys"]
    documented = manual()
    examples = (TREE / "man/onchannel-policy.5").read_text().split(".Sh EXAMPLES")[1]
    assert {(s, k) for s in documented for k in documented[s]} == {(k["section"], k["key"]) for k in keys}
    for k in keys:
        line = documented[k["section"]][k["key"]]
        assert ("required" in line) == k["required"] and ("repeated" in line) == k["repeated"], line
        for word in k["values"] or [f"({k['type']}"]:
            assert word in line, line
        assert k["default"] is None or f"default {k['default']}" in line, line
        assert k["meaning"].endswith(".") and re.search(rf"(?m)^{k['key']} += ", examples), k["key"]


def test_keys_are_those_that_the_parser_takes(desk):
    """Each key with its example is taken in its section and unknown in the others."""
    keys = desk.json("policy", "keys")["keys"]
    headings = {"[policy]": "[policy]", "[group NAME]": "[group client-desk]", "[channel ID]": "[channel teams]",
                "[trust]": "[trust]"}
    assert {k["section"] for k in keys} == set(headings)
    for k in keys:
        for section, heading in headings.items():
            text = ""
            for s, h in headings.items():
                lines = {x["key"]: x["example"] for x in keys if x["section"] == s and (x["required"] or x["key"] == "device")}
                if s == section:
                    lines[k["key"]] = k["example"]
                text += h + "\n" + "".join(f"{a} = {b}\n" for a, b in lines.items())
            (desk.folder / "key.ini").write_text(text)
            known = any(x["section"] == section and x["key"] == k["key"] for x in keys)
            r = desk("policy", "check", "key.ini", status=0 if known else 1)
            assert known or f"unknown key '{k['key']}'" in r.stderr


def test_keys_for_people(desk):
    text = desk("policy", "keys").stdout
    assert "unlisted  (allow, watch or block, default block)" in text and "[channel ID]" in text


# ---- help ----

@pytest.mark.parametrize("verb", ["new", "check", "diff", "test", "keys"])
def test_help_manual_and_completion(desk, verb):
    text = desk("policy", verb, "--help").stdout
    assert f"onchannel policy {verb}" in text
    page = (TREE / "man/onchannel.1").read_text()
    synopsis, description = page.split(".Sh DESCRIPTION")
    assert f".Cm policy {verb}" in synopsis and f".It Cm policy {verb}" in description
    own = [line for line in text.splitlines() if f"policy {verb} " in line]
    offered = complete("onchannel", "policy", verb, "--")
    for option in set(re.findall(r"--([a-z]+)", " ".join(own))) - {"json"}:
        assert f"Fl Fl {option}" in page and f"--{option}" in offered, option
    for args in ([], ["--nonsense"]):
        if verb != "keys" or args:
            assert desk("policy", verb, *args, status=2).stderr
