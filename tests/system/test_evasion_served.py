# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 17 and 20: a messenger on a file system that its user serves, who says of it what they like, or nothing at all."""
import pathlib
import signal
import subprocess
import time

import pytest

from harness import SLOW
from internet import wait_for
from shop import LOADER, assert_ended, assert_found, fuse_for_all, put, start, station_of

SERVED = pathlib.Path(__file__).with_name("served.py")
OVERLAY = "mkdir upper work o; mount -t overlay -o lowerdir=mnt,upperdir=upper,workdir=work,userxattr overlay o || exit 9; "
# the lower file gets a second name when the overlay has its inode: stat(2) says another number than the kernel has
ANOTHER_NUMBER = """
mkdir lower upper work o; cp notes lower/x; mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr overlay o || exit 9
chmod 700 o/x; stat -c %i o/x >before; ln lower/x lower/y; test $(stat -c %i o/x) != $(cat before) || exit 9; HOLD=60 o/x ran
"""


@pytest.fixture(scope="module")
def station(shop, tmp_path_factory):
    with station_of(shop, tmp_path_factory.mktemp("rules"), prepare=fuse_for_all) as s:
        yield s


def served(employee, file, script):
    """The arguments that run this script beside a file system with this file at mnt/x."""
    for path in (SERVED, file):
        if not (employee.home / path.name).exists():
            put(employee, path, path.name)
    (employee.home / "mnt").mkdir(exist_ok=True)
    return ["unshare", "-Urm", "/usr/bin/python3", SERVED.name, "mnt", file.name, "sh", "-c", script]


WAYS = {
    "another number": ("notes", ANOTHER_NUMBER),
    "loader": (LOADER, "HOLD=60 mnt/x $PWD/notes ran"),
    "interpreter": ("/usr/bin/python3", "HOLD=60 mnt/x script ran"),
    "other layout of memory": ("notes", "HOLD=60 setarch -L mnt/x ran"),
    "read late": ("notes", f"touch slow; (sleep 1; rm slow) & HOLD=60 {LOADER} mnt/x ran"),
    "strangers get no answer": ("notes", OVERLAY + "touch proud; HOLD=60 o/x ran"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.evasion(17, "on a file system that its user serves, which tells strangers what it likes", "exec")
def test_17_served(blocking, employee, shop, needs, way):
    needs("unshare", "setarch")
    what, script = WAYS[way]
    put(employee, shop.messenger, "notes")
    put(employee, shop.script, "script")
    file = employee.home / "notes" if what == "notes" else put(employee, what, "file")
    r = employee.run(served(employee, file, script), timeout=60 * SLOW)
    assert r.returncode == 137, r
    rows = blocking.violations(employee)
    assert rows and {(row["channel"], row["layer"], row["outcome"]) for row in rows} == {("checkchat", "exec", "killed")}, rows


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.evasion(20, "the agent waits for a file system that does not answer", "agent")
def test_20_nobody_else_waits(blocking, employee, shop, needs):
    """More programs than it has patience for stand where nobody answers: others are looked at as before, it can be killed,
    another one takes over."""
    needs("unshare")
    agent, other, third = blocking.agent, blocking.employee(), blocking.employee()
    path, late = put(other, shop.messenger, "notes"), put(third, shop.nameless, "notes")
    script = OVERLAY + "touch proud; for i in $(seq 20); do HOLD=600 o/x ran$i & done; touch go; wait"
    crowd = employee.popen(served(employee, put(employee, shop.innocent, "innocent"), script), stdin=subprocess.DEVNULL)
    try:
        wait_for((employee.home / "ran20").exists, 30 * SLOW, "the crowd")
        since = time.monotonic()
        assert agent.status()["ok"] and time.monotonic() - since < SLOW
        assert_ended(start(other, [path], times=2), "beside a file system that does not answer")
        assert start(third, [put(third, shop.innocent, "innocent")], hold=0)[0]["value"] == 0
        first = agent.process.pid
        wait_for(lambda: len(children(first)) > 2, 30 * SLOW, "a child that waits")
        agent.kill(signal.SIGKILL)
        agent.start()
        assert_ended(start(third, [late], times=2), "of the next agent")
        assert agent.status()["ok"]
    finally:
        crowd.kill()
        crowd.wait()
    assert_found(blocking, other, path)
    assert_found(blocking, third, late)
    assert blocking.violations(employee) == []
    wait_for(lambda: len(children(agent.process.pid)) <= 3, 30 * SLOW, "those that waited have ended")
