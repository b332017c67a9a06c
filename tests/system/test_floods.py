# SPDX-License-Identifier: GPL-3.0-or-later
"""An employee without root floods the agent: root, others and the records have their turn all the same."""
import contextlib
import re
import shutil
import subprocess
import threading
import time

import pytest

from harness import PRELUDE, SLOW, TREE, assert_row, policy_text
from internet import WORLD4, wait_for
from test_dns import query
from test_evasion_escape import build
from test_evasion_quic import CLIENT

PATIENCE_S = 4 * SLOW  # root's, with all processors at work; it was 9 s on a machine at rest

# 14 threads over as many connections, each of which asks on and on; and who connects, over and over, to say half a line.
ASK = PRELUDE + r"""
import itertools, threading
path, how = sys.argv[1:]
def connected():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect(path)
    return s
def take(s):
    while s.recv(1 << 16):
        pass
def ask(line):
    for n in itertools.count():
        with connected() as s:
            threading.Thread(target=attempt, args=(take, s), daemon=True).start()
            attempt(lambda: [s.sendall(b"".join(line(n) for n in range(100 * i, 100 * i + 100))) for i in itertools.count()])
def json_line(**fields):
    return json.dumps(fields).encode() + b"\n"
def forged(n):  # each is refused for another reason: a key of its own
    import base64
    blob = lambda size: base64.b64encode(b"ED" + n.to_bytes(8, "little") + bytes(size)).decode()
    return json_line(verb="exemption", text=f"[exemption]\nformat = {n}\n",
                     minisig=f"untrusted comment: x\n{blob(64)}\ntrusted comment: {n}\n{base64.b64encode(bytes(64)).decode()}\n")
LINES = [lambda n: json_line(verb="status"), lambda n: json_line(verb="why", subject="web.whatsapp.com"), lambda n: json_line(verb="notices"),
         lambda n: json_line(verb="request", subject="whatsapp", reason="x"), forged, lambda n: b"nonsense\n", lambda n: json_line(verb="reload")]
def hold():
    held = []
    while True:
        try:
            held.append(connected())
            held[-1].send(b'{"verb":"sta')
        except OSError:
            pass
        del held[:-500]
def export():
    while True:
        with connected() as s:
            s.sendall(json_line(verb="my-data"))
            time.sleep(0.01)
work = {"hold": [hold], "export": [export] * 8, "ask": [lambda f=f: ask(f) for f in LINES * 2]}[how]
threads = [threading.Thread(target=attempt, args=(f,), daemon=True) for f in work]
[t.start() for t in threads]
print("on", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def flooding(employee, *argv, times=1, **kw):
    processes = [employee.popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **kw) for _ in range(times)]
    try:
        for p in processes:
            assert p.stdout.readline() == "on\n"
        yield
    finally:
        for p in processes:
            p.kill()
            p.wait()
            p.stdout.close()


def longest_wait(agent, until):
    """Seconds that root has waited for an answer at most, while until() does something."""
    waits, done = [], threading.Event()

    def look():
        while not done.is_set():
            start = time.monotonic()
            agent.cli("status", timeout=60 * SLOW)
            waits.append(time.monotonic() - start)
    thread = threading.Thread(target=look)
    thread.start()
    try:
        until()
    finally:
        done.set()
        thread.join()
    return max(waits)


def install(agent):
    """As root does it: by the command line, which waits for its turn."""
    agent.serial += 1
    agent.cli("policy", "install", agent.desk.sign(policy_text({"teams": "allow"}, serial=agent.serial)), check=True)
    wait_for(lambda: agent.json("status")["policy"]["serial"] == agent.serial, 10 * SLOW, "the policy in force")


def others_are_served(station):
    """Root installs a policy; a messenger is ended, an attempt noticed by its person, who sees it, and recorded."""
    install(station.agent)
    somebody = station.employee()
    somebody.home.chmod(0o755)
    messenger = somebody.home / "signal-desktop"
    shutil.copy("/usr/bin/sleep", messenger)
    try:
        assert somebody.run([messenger, "20"]).returncode
    except PermissionError:
        pass  # by BPF LSM
    assert somebody.curl("https://www.example.org/")[0] == 0

    def is_noticed():  # in a flood of the same its event may be lost, and counted
        assert somebody.run(["getent", "ahosts", "web.whatsapp.com"]).returncode
        return "whatsapp" in station.agent.cli("notices", user=somebody.name).stdout
    wait_for(is_noticed, 10 * SLOW, "the notice")
    assert station.agent.cli("my-data", user=somebody.name).returncode == 0
    wait_for(lambda: {r["channel"] for r in station.collector.violations(user=somebody.name)} == {"signal", "whatsapp"}, 10 * SLOW, "the records")


@pytest.mark.parametrize("how", ["ask", "hold", "export"])
def test_control_socket(blocking, employee, how):
    agent = blocking.agent
    lines, coverage = len(agent.log.read_text().splitlines()), agent.status()["spool"]["next_seq"]
    with flooding(employee, "/usr/bin/python3", "-c", ASK, str(agent.runtime / "control.sock"), how, times=2):
        assert longest_wait(agent, lambda: others_are_served(blocking)) < PATIENCE_S
    log = agent.log.read_text().splitlines()[lines:]
    assert len([x for x in log if "refused" in x]) <= 6 and len(log) < 30, log[-30:]
    assert agent.json("status")["spool"]["next_seq"] < coverage + 40


# Somebody's queries in a network namespace in which no process is, among 2,000 processes that may have it.
NOWHERE = PRELUDE + r"""
import ctypes
libc = ctypes.CDLL(None)
libc.unshare(0x10000000)  # CLONE_NEWUSER
for _ in range(2000):
    if os.fork() == 0:
        time.sleep(600)
ours, theirs = socket.socketpair()
if os.fork() == 0:
    import fcntl
    libc.unshare(0x40000000)  # CLONE_NEWNET
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
    socket.send_fds(theirs, [b"."], [s.fileno()])
    os._exit(0)
s = socket.socket(fileno=socket.recv_fds(ours, 1, 1)[1][0])
os.wait()
print("on", flush=True)
while True:
    if os.fork() == 0:  # who sends is gone when the agent looks
        for _ in range(100):
            attempt(s.sendto, bytes.fromhex(sys.argv[1]), ("127.0.0.1", 53))
        os._exit(0)
    os.wait()
"""


def test_network_of_nobody(blocking, employee):
    """To find whose it is takes long, for each of these queries."""
    with flooding(employee, "/usr/bin/python3", "-c", NOWHERE, query("web.whatsapp.com")):
        assert longest_wait(blocking.agent, lambda: others_are_served(blocking)) < PATIENCE_S


NAMES = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int n, char **argv)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = inet_addr(argv[1])};
        static unsigned char b[65536];
        int s = socket(AF_INET, SOCK_DGRAM, 0), sent = 0;
        for (int i = 2; i < n; i++) {
                size_t size = strlen(argv[i]) / 2;
                for (size_t k = 0; k < size; k++)
                        sscanf(argv[i] + 2 * k, "%2hhx", &b[k]);
                sendto(s, b, size, 0, (void *)&to, sizeof(to));
                usleep(100);
        }
        return 0;
}
"""
TRIES = 4


def names(agent):
    """One of each channel that is blocked."""
    found = [re.search(r"^suffix = (\S+)", path.read_text(), re.M) for path in sorted((TREE / "rules/channels").glob("*.ini"))]
    return [m[1] for m in found if m and agent.request("why", subject=m[1])["verdict"] == "block"]


def test_names_of_programs(blocking, employee):
    """A program under one name after the other, for all channels: each attempt is counted, nobody else's are parted, the log stays small."""
    program, agent = build(employee, "program-0", NAMES), blocking.agent
    wanted = [query(n) for n in names(agent)]
    blocking.fence()
    lines, before = len(agent.log.read_text().splitlines()), agent.status()["counters"]
    for i in range(TRIES):
        path = employee.home / f"program-{i}"
        shutil.copy(program, path) if i else None
        path.chmod(0o755)
        employee.run([path, WORLD4, *wanted])
    other = blocking.employee()
    other.python(f'''
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    result = [attempt(s.sendto, bytes.fromhex("{query("web.whatsapp.com")}"), ("{WORLD4}", 53)) for _ in range(2)]
''')
    row, = blocking.violations(other)
    assert_row(row, channel="whatsapp", count=2)
    agent.policy({"teams": "allow"})  # else the rest is written when its minute is over

    def counted():
        rows = blocking.collector.sql("SELECT program, sum(count), count(*) FROM record WHERE uid = ? GROUP BY program", employee.uid)
        return {p: (n, k) for p, n, k in rows}
    now = agent.status()["counters"]
    lost = now["lost"] - before["lost"]
    blocking.fence()
    rows = counted()
    assert sum(n for n, _ in rows.values()) + lost == TRIES * len(wanted), (rows, lost, len(wanted))
    named = sum(k for p, (_, k) in rows.items() if p)
    assert named == 512 and rows[None][0] + lost >= TRIES * len(wanted) - 512, (rows, lost)
    log = agent.log.read_text().splitlines()[lines:]
    assert len([x for x in log if " stopped " in x]) <= 25, len(log)
    wait_for(lambda: re.search(r"\d+ more violations", agent.log.read_text()), 15 * SLOW, "how many there were")


QUERIES = r"""
#include <arpa/inet.h>
#include <stdio.h>
int main(int n, char **argv)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = inet_addr(argv[1])};
        static const char query[] = "\0\7\1\0\0\1\0\0\0\0\0\0\3web\10whatsapp\3com\0\0\1\0\1";
        int s = socket(AF_INET, SOCK_DGRAM, 0);
        puts("on");
        fflush(stdout);
        for (;;)
                sendto(s, query, sizeof(query) - 1, 0, (void *)&to, sizeof(to));
}
"""


def test_queries(blocking, employee):
    """As many refused ones as two programs can make: what the agent reads of others, QUIC's hellos, is still read, and none of theirs leaves."""
    since, somebody, before = time.monotonic(), blocking.employee(), blocking.agent.status()["counters"]
    with flooding(employee, build(employee, "queries", QUERIES), WORLD4, times=2):
        wait_for(lambda: blocking.agent.status()["counters"]["lost"] > before["lost"], 20 * SLOW, "more than the agent reads")
        r = somebody.python(CLIENT + """
def talk():
    with client() as s:
        s.send(initial(crypto(hello("www.example.org")), dcid=os.urandom(8)))
        return len(s.recv(2000))
time.sleep(2)  # longer than copies may stay unread (bpf/copy.h)
result = [attempt(talk)["error"] for _ in range(10)]
""")
        assert somebody.curl("https://www.example.org/")[0] == 0
    assert r == [None] * 10
    assert not blocking.internet.seen("dns", since=since, name="web.whatsapp.com")
    assert blocking.violations(somebody) == []
