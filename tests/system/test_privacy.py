# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do with marked secrets in it, of every kind that the agent sees: no mark arrives anywhere it should not.

A mark is a word that exists nowhere else. It stands in URL paths and queries, arguments, environment, working
directory, names that match no entry, a window's title, another person's doings; and is looked for, byte by byte, in the
spool, all logs, status, the control socket as another person, the collector's database and an export."""
import json
import secrets
import subprocess
import sys

import world
from harness import SLOW, TREE, wait_for
from test_evidence import export, own_verify
from test_exec import install

sys.path.insert(0, str(TREE / "tests/support"))
import ocsf  # noqa: E402
import verify_bundle  # noqa: E402


class Marks:
    def __init__(self):
        self.all = {}

    def __call__(self, what):
        return self.all.setdefault(what, f"zz{secrets.token_hex(8)}")

    def found_in(self, data):
        low = data.lower()
        return sorted(what for what, word in self.all.items() if word.encode() in low)


def act(employee, mark):
    """Blocked attempts, each with secrets around it; and innocent ones that match nothing."""
    path, query, user = mark("URL path"), mark("URL query"), mark("URL user")
    for scheme in ("https", "http"):
        employee.curl(f"{scheme}://web.whatsapp.com/{path}?q={query}")
        employee.curl(f"{scheme}://{user}:{mark('password')}@web.whatsapp.com/{path}#{mark('fragment')}")
        employee.curl(f"{scheme}://{mark('unmatched name')}.innocent.shop.example/{path}")
        # known address: the TLS hello and the HTTP request are judged, not the query
        employee.curl(f"{scheme}://web.whatsapp.com/{path}?q={query}", "--resolve", f"web.whatsapp.com:443:{world.SHARED4}", "--resolve",
                      f"web.whatsapp.com:80:{world.SHARED4}", "-H", f"Cookie: {mark('cookie')}", "-d", mark("posted body"))
    employee.curl("http://web.whatsapp.com/", "-x", f"http://{mark('proxy name')}.innocent.shop.example:3128")
    employee.run(["getent", "ahosts", f"{mark('unmatched query')}.example"], check=False)
    employee.run(["getent", "ahosts", f"{mark('name below')}.{mark('name below 2')}.web.whatsapp.com"], check=False)
    folder = employee.home / mark("working directory")
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    code = """
os.chdir(sys.argv[1])
os.environ["TITLE"] = sys.argv[2]
result = [attempt(socket.getaddrinfo, "web.whatsapp.com", 443), attempt(subprocess.run, ["/bin/sh", "-c", "exec -a signal-desktop sleep 0", sys.argv[3]])]
"""
    employee.python(code, str(folder), mark("window title"), mark("argument"))
    program = install(employee, "telegram-desktop", "/bin/sleep")
    employee.run(["sh", "-c", f"cd {folder} && SECRET={mark('environment')} {program} 0 --token={mark('program argument')}"], check=False)
    employee.python(f"result = attempt(connect, '{TELEGRAM}', 443)")


TELEGRAM = "149.154.167.51"


def control(runtime, uid, verb, **fields):
    """The control socket's answer as somebody else reads it."""
    code = ("import socket,sys,os\nos.setuid(int(sys.argv[1]))\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(5)\ns.connect(sys.argv[2])\n"
            "s.sendall(sys.argv[3].encode()+b'\\n')\nd=b''\n"
            "try:\n  while not d.endswith(b'\\n') or b'\"more\"' in d[-200:]:\n    p=s.recv(65536)\n    d+=p\n    if not p: break\n"
            "except TimeoutError: pass\nsys.stdout.buffer.write(d)")
    return subprocess.run(["/usr/bin/python3", "-c", code, str(uid), str(runtime / "control.sock"), json.dumps({"verb": verb, **fields})],
                          capture_output=True, check=True).stdout


def test_no_mark_arrives(blocking, employee, internet, tmp_path):
    mark = Marks()
    act(employee, mark)
    blocking.fence()
    rows = blocking.collector.violations(user=employee.name)
    assert {"dns", "tls", "http"} <= {r["layer"] for r in rows}, "the attempts are seen, so there was something to leak"
    assert "exec" in {r["layer"] for r in rows} and "connect" in {r["layer"] for r in rows}
    agent, collector = blocking.agent, blocking.collector
    out = tmp_path / "export.ndjson"
    data = export(collector, out)
    assert own_verify(out)[0] == 0

    places = {"export": data, "agent log": agent.log.read_bytes(), "uplink log": agent.uplink_log.read_bytes(),
              "collector log": collector.log.read_bytes(), "status.json": (agent.runtime / "status.json").read_bytes()}
    for folder in (agent.state, collector.dir):
        for file in folder.rglob("*"):
            if file.is_file():
                places[str(file)] = file.read_bytes()
    assert any("/spool/" in p and data for p, data in places.items()) and any(".db" in p for p in places)
    stranger = blocking.employee()
    for verb in ("status", "notices", "my-data"):
        answer = control(agent.runtime, stranger.uid, verb)
        places[f"control socket: {verb}"] = answer
        assert answer.startswith(b'{"ok":true'), answer[:200]
        assert employee.name.encode() not in answer, "another person's doings"
    for place, data in places.items():
        assert not mark.found_in(data), f"{place} holds {mark.found_in(data)}"
    # and the search would have found one
    assert mark.found_in(b"..." + mark("URL path").encode()) == ["URL path"]


def test_records_are_ocsf(blocking, employee, tmp_path):
    """Every record that a real agent wrote, of each class that there is, by OCSF's own definition of it."""
    act(employee, Marks())
    assert blocking.agent.cli("request", "whatsapp", "--reason", "client in Brazil", "--for", "2h", user=employee.name).returncode == 0
    restored = blocking.agent.status()["counters"]["restored"]
    blocking.internet.laptop.run(["nft", "delete", "table", "inet", "onchannel"], check=True)
    wait_for(lambda: blocking.agent.status()["counters"]["restored"] > restored, 20 * SLOW, "the agent noticing")
    blocking.fence()
    data = export(blocking.collector, tmp_path / "all.ndjson")
    records = [json.loads(line) for line in data.split(b"\n") if line and not line.startswith(verify_bundle.BEGINS) and b'"class_uid"' in line]
    wrong = [f"{r['metadata']['uid']}: {e}" for r in records for e in ocsf.check(r)]
    assert not wrong, "\n".join(sorted(set(wrong))[:20])
    assert {r["class_uid"] for r in records} == set(ocsf.CLASSES)


def test_real_agent(blocking, employee, tmp_path):
    """A real agent's records, exported: both verifiers hold, and what the device saw of the log is in its history."""
    agent = blocking.agent
    wait_for(lambda: (agent.state / "uplink/checkpoint").exists() or agent.request("reload") is None, 60, "the checkpoint at the uplink")
    agent.policy()
    employee.run(["getent", "ahosts", "web.whatsapp.com"], check=False)
    assert len(blocking.violations(employee)) == 1
    assert agent.status()["checkpoint"]["size"] >= 1
    data = export(blocking.collector, tmp_path / "real.ndjson", user=employee.name)
    code, said = own_verify(tmp_path / "real.ndjson")
    assert code == 0, said["problems"]
    mine, = said["devices"]
    assert mine["violations"] == 1 and mine["coverage"] >= 2 and mine["withheld"] >= 1 and mine["first"] == 1
    assert said["logs"][0]["seen"] >= 1
    other = verify_bundle.verify(data)
    assert not other.problems and other.present == mine["present"] and other.echoes
