# SPDX-License-Identifier: GPL-3.0-or-later
"""`./dev run` as a person meets it: what it prints, and that nothing of it is left afterwards."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

import harness
from harness import SLOW, TREE
from internet import PREFIX, cgroup2_root, wait_for

DEMO = TREE / "tests/demo.sh"
STATE = pathlib.Path("/var/lib/onchannel-dev")
LAPTOP = """id -un
echo in $PWD
curl -sS https://web.whatsapp.com
onchannel why discord.com
until grep -q whatsapp ../../demo/notices.log; do :; done
"""


def test_sandbox():
    """A shell of an employee's on the laptop of a fake internet, whose commands are stopped and told of."""
    r = subprocess.run([sys.executable, TREE / "tests/system/internet.py", "--run", DEMO, "--shell"], input=LAPTOP, text=True,
                       capture_output=True, timeout=60 * SLOW, env={**os.environ, "ONCHANNEL_BUILD": str(harness.BUILD)}, check=False)
    text = r.stdout + r.stderr
    assert r.returncode == 0, text
    assert "\nanna\n" in text and "Could not resolve host: web.whatsapp.com" in text and "channel    Discord" in text
    assert "whatsapp" in next(line for line in text.splitlines() if "dropped" in line), text
    assert "this machine is as it was" in text
    base = pathlib.Path(next(line for line in text.splitlines() if line.startswith("in /"))[3:]).parents[1]
    assert base.name.startswith(PREFIX) and not base.exists() and not os.path.exists(f"{cgroup2_root()}/{base.name}")


class Demo:
    """demo.sh on the machine itself, in a session of its own as a terminal would start it."""

    def __init__(self, log):
        self.log = log
        with open(log, "w") as out:
            self.process = subprocess.Popen([DEMO], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                            env={**os.environ, "ONCHANNEL_BUILD": str(harness.BUILD)})
        wait_for(lambda: self.says("Ctrl-C undoes everything"), 60 * SLOW, f"the demo, which says {log.read_text()}")

    def says(self, word):
        assert self.process.poll() is None, self.log.read_text()
        return re.search(word, self.log.read_text())

    def stops(self):
        """Somebody in another terminal is stopped at once, and this one tells of it."""
        start = time.monotonic()
        r = subprocess.run(["curl", "-sS", "https://web.whatsapp.com"], capture_output=True, text=True, check=False)
        assert r.returncode == 6 and time.monotonic() - start < SLOW, r.stderr
        wait_for(lambda: self.says(r"whatsapp +dropped +/usr/bin/curl"), 10 * SLOW, f"the violation: {self.log.read_text()}")


def assert_as_it_was():
    assert not STATE.exists()
    assert "onchannel" not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    # the kernel lets go of programs some time after their last link
    wait_for(lambda: "oc_" not in subprocess.run(["bpftool", "prog"], capture_output=True, text=True, check=True).stdout, 5 * SLOW, "no program")
    assert str(STATE) not in pathlib.Path("/proc/mounts").read_text()
    for p in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"onchannel" not in p.read_bytes().split(b"\0")[0], p
        except FileNotFoundError:
            pass


@pytest.mark.skipif("ONCHANNEL_VM" not in os.environ, reason="it attaches to the machine's own root cgroup: only in tests/vm")
def test_on_this_machine(tmp_path):
    pathlib.Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    demo = Demo(tmp_path / "first")
    demo.stops()
    second = subprocess.run([DEMO], env={**os.environ, "ONCHANNEL_BUILD": str(harness.BUILD)}, capture_output=True, text=True, check=False)
    assert second.returncode == 1 and "another './dev run' is on" in second.stderr

    demo.process.kill()  # kill -9: enforcement goes on
    demo.process.wait()
    assert subprocess.run(["curl", "-sS", "https://web.whatsapp.com"], capture_output=True, check=False).returncode == 6
    demo = Demo(tmp_path / "second")
    demo.stops()
    os.killpg(demo.process.pid, signal.SIGINT)  # Ctrl-C
    assert demo.process.wait(60 * SLOW) == 130, demo.log.read_text()
    assert "this machine is as it was" in demo.log.read_text()
    assert_as_it_was()
