# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new policy changes in the kernel, and what it leaves alone."""
import json

from harness import TREE


def slots(station, name):
    """Ids of the maps in the two slots of a map of maps; None: empty."""
    path = f"{station.internet.base}/bpf/onchannel/{name}"
    dump = station.internet.laptop.run(["bpftool", "-j", "map", "dump", "pinned", path], check=True).stdout
    return [bytes(int(b, 16) for b in e["value"]) if "error" not in e["value"] else None for e in json.loads(dump)]


def test_policy_leaves_the_names_alone(blocking, employee):
    """Another policy of the same catalogue builds verdicts only; another catalogue builds all of it."""
    names, prefixes = slots(blocking, "oc_names"), slots(blocking, "oc_prefixes")
    verdicts = slots(blocking, "oc_verdicts")
    for verdict in ("allow", "block"):
        blocking.agent.policy({"whatsapp": verdict})
        assert (employee.curl("https://web.whatsapp.com/")[0] == 0) == (verdict == "allow")
        assert slots(blocking, "oc_names") == names and slots(blocking, "oc_prefixes") == prefixes
    assert all(a != b for a, b in zip(slots(blocking, "oc_verdicts"), verdicts))

    mine = blocking.desk.folder / "channels"
    mine.mkdir()
    for path in (TREE / "rules/channels").glob("*.ini"):
        (mine / path.name).write_text(path.read_text().replace("whatsapp.com", "whatsapp.example"))
    try:
        blocking.desk.build_catalogue(mine, serial=2)
        assert blocking.agent.request("reload")["ok"]
        assert slots(blocking, "oc_names") != names and slots(blocking, "oc_prefixes") != prefixes
        assert employee.curl("https://web.whatsapp.com/")[0] == 0
    finally:
        blocking.desk.build_catalogue(blocking.desk.channels, serial=3)
        assert blocking.agent.request("reload")["ok"]
    assert employee.curl("https://web.whatsapp.com/")[0] == 6
