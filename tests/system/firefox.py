# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Firefox ESR of an employee's, driven over Marionette by a helper on the laptop, since
the browser listens on that namespace's loopback only."""
import base64
import json
import subprocess

from harness import SLOW

# Speaks Marionette's framing (LENGTH:[0, id, command, parameters]) for one line of JSON each.
BRIDGE = """
import json, socket, sys, time
end = time.monotonic() + float(sys.argv[2])
while True:
    try:
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.05)
f = s.makefile("rwb")
def read():
    size = b""
    while (c := f.read(1)) != b":":
        if not c:
            sys.exit("firefox has gone")
        size += c
    return json.loads(f.read(int(size)))
read()
for n, line in enumerate(sys.stdin, 1):
    command, parameters = json.loads(line)
    data = json.dumps([0, n, command, parameters]).encode()
    f.write(b"%d:%s" % (len(data), data))
    f.flush()
    _, _, error, result = read()
    print(json.dumps([error, result]), flush=True)
"""


class Firefox:
    def __init__(self, employee, port, **prefs):
        self.profile = employee.home / "firefox"
        employee.run(["mkdir", "-p", self.profile], check=True)
        prefs = {"marionette.port": port, "datareporting.policy.dataSubmissionEnabled": False, "app.update.enabled": False,
                 "browser.startup.homepage_override.mstone": "ignore", **prefs}
        employee.run(["sh", "-c", 'cat >"$0/user.js"', self.profile], check=True,
                     input="".join(f'user_pref("{k}", {json.dumps(v)});\n' for k, v in prefs.items()))
        self.process = employee.popen(["firefox-esr", "--headless", "--no-remote", "--marionette", "-remote-allow-system-access", "--profile", self.profile],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=open(employee.home / "firefox.err", "w", encoding="utf-8"))
        self.bridge = employee.popen(["/usr/bin/python3", "-c", BRIDGE, str(port), str(60 * SLOW)], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        self.call("WebDriver:NewSession", acceptInsecureCerts=True)

    def ask(self, command, **parameters):
        """(error or None, result)."""
        self.bridge.stdin.write(json.dumps([command, parameters]) + "\n")
        self.bridge.stdin.flush()
        line = self.bridge.stdout.readline()
        assert line, "firefox does not answer"
        return json.loads(line)

    def call(self, command, **parameters):
        error, result = self.ask(command, **parameters)
        assert not error, error
        return result

    def navigate(self, url):
        """The error page's query ("e=blockedByPolicy&…") or None."""
        error, _ = self.ask("WebDriver:Navigate", url=url)
        return f"{error['error']}: {error['message']}" if error else None

    def pref(self, name):
        """(value, locked), as the browser itself has it."""
        self.call("Marionette:SetContext", value="chrome")
        script = """const [n] = arguments, p = Services.prefs, t = p.getPrefType(n);
            return [t == p.PREF_BOOL ? p.getBoolPref(n) : t == p.PREF_INT ? p.getIntPref(n) : p.getCharPref(n), p.prefIsLocked(n)];"""
        value = self.call("WebDriver:ExecuteScript", script=script, args=[name])["value"]
        self.call("Marionette:SetContext", value="content")
        return tuple(value)

    def has_pref(self, name):
        """Whether somebody has set it."""
        self.call("Marionette:SetContext", value="chrome")
        value = self.call("WebDriver:ExecuteScript", script="return Services.prefs.prefHasUserValue(arguments[0]);", args=[name])["value"]
        self.call("Marionette:SetContext", value="content")
        return value

    def script(self, text):
        return self.call("WebDriver:ExecuteScript", script=text, args=[])["value"]

    def screenshot(self):
        return base64.b64decode(self.call("WebDriver:TakeScreenshot", full=False)["value"])

    def close(self):
        self.bridge.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.bridge.kill()
        self.bridge.wait()
        self.bridge.stdout.close()
