# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new policy changes in the kernel, and what it leaves alone."""
import json
import subprocess
import time

from harness import SLOW, TREE
from internet import wait_for


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


ADDRESSES = ["149.154.167.61", "2001:67c:4e8:f002::d"]  # Telegram's, without a name
PROBE = """
import os, socket, sys
families = {address: socket.AF_INET6 if ":" in address else socket.AF_INET for address in sys.argv[1:]}
udp = {address: socket.socket(family, socket.SOCK_DGRAM) for address, family in families.items()}
os.set_blocking(0, False)
sent = connected = 0
def goes_on():
    try:
        return os.read(0, 1) != b""
    except BlockingIOError:
        return True
while True:
    for address, family in families.items():
        try:
            udp[address].sendto(b"x" * 77, (address, 443))
        except OSError:
            pass
        with socket.socket(family) as tcp:
            tcp.settimeout(2)
            connected += tcp.connect_ex((address, 443)) == 0
        sent += 2
    if not goes_on():
        break
print(sent, connected)
"""


class Prober:
    """Sends to blocked addresses from outside the watched cgroup, where nftables alone stands in the way."""

    def __init__(self, laptop):
        self.process = laptop.popen(["/usr/bin/python3", "-c", PROBE, *ADDRESSES], cgroup=False, text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.start = time.monotonic()

    def end(self):
        """(packets sent, connections made)"""
        return tuple(map(int, self.process.communicate()[0].split()))


def arrived(station, since):
    return [[row for address in ADDRESSES for row in station.internet.seen("tcp", since=since, address=address)],
            station.internet.seen("udp", since=since, size=77)]


def passes(station):
    prober = Prober(station.internet.laptop)
    assert prober.end()[1] > 0
    wait_for(lambda: all(len(rows) >= len(ADDRESSES) for rows in arrived(station, prober.start)), 5 * SLOW, "the probes")


def test_nothing_passes_meanwhile(blocking):
    """Reloads, other policies and other catalogues: at each moment either the old or the new rules hold."""
    approved, agent = {"teams": "allow", "slack": "allow"}, blocking.agent
    agent.policy({**approved, "telegram": "allow"})
    passes(blocking)
    agent.policy(approved)
    mine = blocking.desk.folder / "other-channels"
    mine.mkdir()
    for path in (TREE / "rules/channels").glob("*.ini"):
        (mine / path.name).write_text(path.read_text().replace("91.108.56.0/22", "91.108.56.0/23"))
    prober = Prober(blocking.internet.laptop)
    try:
        for i in range(100):
            if i % 10 == 0:
                agent.policy({**approved, **({"whatsapp": "allow"} if i % 20 else {})})
            if i % 20 == 5:
                blocking.desk.build_catalogue(blocking.desk.channels if i % 40 > 20 else mine, serial=4 + i)
            assert agent.request("reload")["ok"]
    finally:
        blocking.desk.build_catalogue(blocking.desk.channels, serial=200)
        assert agent.request("reload")["ok"]
        sent, connected = prober.end()
    assert sent > 100 and connected == 0
    assert arrived(blocking, prober.start) == [[], []]
    agent.policy({**approved, "telegram": "allow"})
    passes(blocking)
