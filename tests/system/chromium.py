# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium of an employee's, driven over its debugging pipe (DevTools protocol)."""
import base64
import itertools
import json
import os
import select
import subprocess
import time

from harness import SLOW
from internet import wait_for

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--ignore-certificate-errors",
         "--remote-debugging-pipe"]

LOADED = """new Promise((done) => document.readyState === "complete" ? done() : addEventListener("load", () => done()))"""


class Chromium:
    def __init__(self, employee, *flags):
        to_browser, self.write_fd = os.pipe()
        self.read_fd, from_browser = os.pipe()
        self.ids, self.buffer, self.answers = itertools.count(1), b"", {}
        # the browser reads from descriptor 3 and writes to 4
        script = f'exec 3<&{to_browser} 4>&{from_browser} {to_browser}<&- {from_browser}>&-; exec "$@"'
        usual = [f for f in FLAGS if f.replace("disable", "enable") not in flags]
        self.process = employee.popen(
            ["/bin/bash", "-c", script, "bash", "chromium", *usual, f"--user-data-dir={employee.home}/chromium", *flags, "about:blank"],
            pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(employee.home / "chromium.err", "w", encoding="utf-8"))
        os.close(to_browser)
        os.close(from_browser)
        self.attach()

    def attach(self):
        """To the open page; again after the browser has put an error page in its place."""
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]

    def call(self, method, session=None, timeout=60, **params):
        number = next(self.ids)
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self.write_fd, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout * SLOW
        while number not in self.answers:
            if not select.select([self.read_fd], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"chromium does not answer {method}")
            data = os.read(self.read_fd, 1 << 16)
            if not data:
                raise AssertionError(f"chromium ended with {self.process.wait()}")
            *messages, self.buffer = (self.buffer + data).split(b"\0")
            for m in map(json.loads, messages):
                if "id" in m:
                    self.answers[m["id"]] = m
        answer = self.answers.pop(number)
        assert "error" not in answer, answer
        return answer["result"]

    def page(self, method, **params):
        return self.call(method, self.session, **params)

    def navigate(self, url):
        """(error text or None, milliseconds) of opening a page."""
        for _ in range(3):
            start = time.monotonic()
            error = self.page("Page.navigate", url=url).get("errorText")
            ms = (time.monotonic() - start) * 1000
            if error != "net::ERR_NETWORK_CHANGED":  # the laptop's IPv6 addresses are still coming up
                break
        if not error:  # it is answered when the page is committed, before it was read
            self.page("Runtime.evaluate", expression=LOADED, awaitPromise=True)
        return error, ms

    def screenshot(self):
        def shot():
            self.attach()
            try:
                return base64.b64decode(self.page("Page.captureScreenshot")["data"])
            except AssertionError:  # the page that it had been attached to is going away
                return None
        return wait_for(shot, 10 * SLOW)

    def fetch(self, url):
        """(result, milliseconds by the page's own clock) of a request by a script of the open page."""
        value = self.page("Runtime.evaluate", expression=f"probe({url!r})", awaitPromise=True, returnByValue=True)
        return tuple(value["result"]["value"])

    def close(self):
        os.close(self.write_fd)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read_fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
