# SPDX-License-Identifier: GPL-3.0-or-later
"""What an employee sees on their desktop: a real notification server on an X display and a session bus of their own."""
import json
import subprocess
import time

import pytest

import internet as net
from harness import SLOW
from internet import wait_for

NOTICE = "Not <approved> & recorded. Use Teams."


class Desktop:

    def __init__(self, station, employee):
        self.station, self.employee, self.processes = station, employee, []
        self.bus = f"unix:path={employee.home}/bus"
        display, _ = self.start("Xvfb", "-displayfd", "1", "-screen", "0", "800x300x24", "-nolisten", "tcp", stdout=subprocess.PIPE)
        self.env = net.environment(DISPLAY=f":{display}", DBUS_SESSION_BUS_ADDRESS=self.bus, HOME=str(employee.home))

    def session(self):
        """The bus starts the notification server when it is called."""
        self.start("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address", self.bus, "--print-address", stdout=subprocess.PIPE)

    def start(self, *argv, **kw):
        """Its first line, where it writes one when it is ready."""
        process = self.employee.popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, env=getattr(self, "env", None), **kw)
        self.processes.append(process)
        return process.stdout.readline().strip() if process.stdout else None, process

    def ask(self, *argv):
        return self.employee.run(argv, env=self.env)

    def notifier(self):
        """From when on it follows."""
        socket = self.station.agent.runtime / "control.sock"
        with open(self.employee.home / "notify.err", "a", encoding="utf-8") as err:
            process = self.employee.popen([self.station.programs.notify, "--socket", socket], stdin=subprocess.DEVNULL, stderr=err, env=self.env)
        self.processes.append(process)
        wait_for(lambda: f"pid={process.pid}," in self.station.internet.laptop.run(["ss", "-xpH"]).stdout, 10 * SLOW, "the notifier")
        return process

    def displayed(self):
        return int(self.ask("dunstctl", "count", "displayed").stdout)

    def shown(self):
        """(summary, body), the latest first."""
        self.ask("dunstctl", "close-all")
        rows = json.loads(self.ask("dunstctl", "history").stdout)["data"][0]
        return [(r["summary"]["data"], r["body"]["data"]) for r in rows]

    def close(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


@pytest.fixture
def desktop(blocking, employee, needs):
    needs("Xvfb", "dbus-daemon", "dunst")
    d = Desktop(blocking, employee)
    try:
        yield d
    finally:
        d.close()


def test_what_is_stopped_is_shown_at_once(blocking, employee, desktop):
    blocking.agent.policy({"teams": "allow"}, notice=NOTICE)
    employee.curl("https://discord.com/")
    wait_for(lambda: "discord" in blocking.agent.cli("notices", user=employee.name).stdout, 10 * SLOW)
    desktop.session()
    time.sleep(1.1 - time.time() % 1)  # the times of notices have seconds
    desktop.notifier()
    other = blocking.employee()
    other.curl("https://web.telegram.org/")
    assert employee.curl("https://web.whatsapp.com/")[0] == 6
    since = time.monotonic()
    wait_for(lambda: desktop.displayed() == 1, 5 * SLOW, "a notification")
    assert time.monotonic() - since < SLOW
    employee.curl("https://media.whatsapp.com/")
    employee.python('result = attempt(connect, "149.154.167.50", 443)')
    wait_for(lambda: desktop.displayed() == 2, 5 * SLOW, "another channel's")
    body = "Not &lt;approved&gt; &amp; recorded. Use Teams.\nhttps://intranet.example/channels"  # this server reads markup
    assert desktop.shown() == [("Telegram (python3)", body), ("WhatsApp (curl)", body)]


def test_it_waits_for_the_agent_and_for_a_desktop(blocking, employee, desktop):
    process = desktop.notifier()
    employee.curl("https://web.whatsapp.com/")
    err = employee.home / "notify.err"
    wait_for(lambda: err.read_text().count("nobody shows notifications") == 1, 10 * SLOW, "a complaint")
    desktop.session()
    blocking.agent.kill()
    blocking.agent.start()
    wait_for(lambda: "closed the connection" in err.read_text(), 10 * SLOW)

    employee.curl("https://discord.com/")
    wait_for(lambda: desktop.displayed() == 1, 20 * SLOW, "a notification by the next agent")
    assert process.poll() is None
    assert err.read_text().count("nobody shows notifications") == 1
