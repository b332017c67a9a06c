# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 1 and 8: resolvers other than glibc's, and senders other than send(2)."""
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

import world
from harness import FAST_MS, SLOW, assert_row
from internet import WORLD4, wait_for
from test_evasion_tls import CLIENT

NAME = "web.whatsapp.com"
RESOLVED = os.environ.get("ONCHANNEL_RESOLVED", "/lib/systemd/systemd-resolved")  # need not be installed: `dpkg -x` is enough

MUSL = r"""
#include <netdb.h>
#include <stdio.h>
#include <time.h>
int main(int n, char **name)
{
        struct addrinfo *a;
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        int r = getaddrinfo(name[n - 1], "443", 0, &a);
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("%d ms\n", (int)((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000));
        return r ? 1 : 0;
}
"""
C_ARES = """const start = process.hrtime.bigint();
require("dns").resolve4(process.argv[1], e => {
  console.log(`${(process.hrtime.bigint() - start) / 1000000n} ms`);
  process.exitCode = e ? 1 : 0;
});"""
STUB = """import socket, sys, time
start, r = time.monotonic(), 0
socket.setdefaulttimeout(20)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.53", 53))
s.send(b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + b"".join(bytes([len(x)]) + x.encode() for x in sys.argv[1].split(".")) + b"\\0\\0\\1\\0\\1")
r = s.recv(4096)[3] & 15
print(int((time.monotonic() - start) * 1000), "ms")
sys.exit(r)"""
VARLINK = """import json, socket, sys, time
start = time.monotonic()
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect("/run/systemd/resolve/io.systemd.Resolve")
s.sendall(json.dumps({"method": "io.systemd.Resolve.ResolveHostname", "parameters": {"name": sys.argv[1], "flags": 0}}).encode() + b"\\0")
answer = s.recv(65536)
print(int((time.monotonic() - start) * 1000), "ms")
sys.exit(b"error" in answer)"""
# Go's own resolver, in a program of Debian's that fetches what it is told; its time is that of the whole program
GO = ["sh", "-c", 'GODEBUG=netdns=go gron -m "http://$0/" || test $? = 3']


@pytest.fixture(scope="module")
def resolvers(internet):
    """name: command, to which the name to look up is added."""
    for program in ("musl-gcc", "node", "gron", RESOLVED):
        assert shutil.which(program), f"the program {program} is not installed"
    musl = pathlib.Path(internet.base) / "musl"
    (musl.parent / "musl.c").write_text(MUSL)
    subprocess.run(["musl-gcc", "-static", "-o", musl, f"{musl}.c"], check=True)
    return {"musl": [musl], "c-ares": ["node", "-e", C_ARES], "go": GO, "resolved's stub": ["/usr/bin/python3", "-c", STUB],
            "resolved's varlink": ["/usr/bin/python3", "-c", VARLINK]}


@pytest.fixture(scope="module")
def resolved(station, resolvers):
    """systemd-resolved without a bus, with a /run/systemd of its own on the laptop."""
    laptop = station.internet.laptop
    laptop.run(["sh", "-ec", "mkdir -p /run/systemd; mount -t tmpfs tmpfs /run/systemd; install -d -o 4299 -g 4299 /run/systemd/resolve; sed -i /^systemd-resolve:/d /etc/passwd; echo systemd-resolve:x:4299:4299::/:/bin/false >>/etc/passwd;"
                f"mkdir -p /etc/systemd; printf '[Resolve]\\nDNS={WORLD4}\\nDNSSEC=no\\n' >/etc/systemd/resolved.conf"], check=True)
    log = pathlib.Path(station.internet.base) / "resolved.log"
    with open(log, "w") as out:
        process = laptop.popen([RESOLVED], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={"SYSTEMD_LOG_TARGET": "console", "PATH": "/usr/bin"})
    wait_for(lambda: process.poll() is not None or
             laptop.run(["test", "-e", "/run/systemd/resolve/io.systemd.Resolve"]).returncode == 0, 10 * SLOW, "systemd-resolved")
    assert process.poll() is None, log.read_text()
    yield process
    process.kill()
    process.wait()
    laptop.run(["umount", "/run/systemd"])


def look_up(person, command):
    """(it worked, its milliseconds)"""
    start = time.monotonic()
    r = person.run([*command, NAME], timeout=60 * SLOW)
    ms = re.search(r"(?m)^(\d+) ms$", r.stdout)
    return r.returncode == 0, int(ms.group(1)) if ms else (time.monotonic() - start) * 1000 / 5, r.stdout + r.stderr


@pytest.mark.evasion(1, "musl, c-ares, Go's resolver, systemd-resolved by its stub and its varlink", "egress")
def test_row_1_resolvers(blocking, resolvers, resolved):
    since, people = time.monotonic(), {how: blocking.employee() for how in resolvers}
    results = {how: look_up(person, resolvers[how]) for how, person in people.items()}
    assert not {how: r for how, r in results.items() if r[0] or r[1] > FAST_MS}, results
    assert not blocking.internet.seen("dns", since=since, name=NAME)
    blocking.fence()
    for how, person in people.items():
        # over its socket the service asks for others: it is the one that is seen, and tries TCP as well
        is_service = "varlink" in how
        rows = blocking.collector.violations(user="systemd-resolve" if is_service else person.name)
        assert 0 < len(rows) <= 1 + is_service, (how, results[how], rows)
        for row in rows:
            assert_row(row, channel="whatsapp", layer="dns", tier="name", verdict="block", **{"class": "use"})


@pytest.mark.evasion(1, "musl, c-ares, Go's resolver, systemd-resolved by its stub and its varlink", "egress")
def test_row_1_resolvers_when_approved(allowing, resolvers, resolved):
    for how in resolvers:
        person = allowing.employee()
        ok, _, text = look_up(person, resolvers[how])
        assert ok, (how, text)
        assert allowing.violations(person) == [], how


URING = r"""
#include <arpa/inet.h>
#include <liburing.h>
#include <stdio.h>
#include <unistd.h>
static int wait_one(struct io_uring *ring)
{
        struct io_uring_cqe *cqe;
        io_uring_submit(ring);
        if (io_uring_wait_cqe(ring, &cqe) < 0)
                return -1;
        int r = cqe->res;
        io_uring_cqe_seen(ring, cqe);
        return r;
}
int main(int n, char **argv)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443)};
        static char hello[65536];
        struct io_uring ring;
        size_t size = fread(hello, 1, sizeof(hello), stdin);
        int r = io_uring_queue_init(4, &ring, 0);
        if (r < 0)
                return printf("io_uring: %d\n", r), 2;
        inet_pton(AF_INET, argv[n - 1], &to.sin_addr);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        io_uring_prep_connect(io_uring_get_sqe(&ring), fd, (struct sockaddr *)&to, sizeof(to));
        r = wait_one(&ring);
        if (r == 0 && size) {
                io_uring_prep_send(io_uring_get_sqe(&ring), fd, hello, size, 0);
                r = wait_one(&ring);
                io_uring_prep_recv(io_uring_get_sqe(&ring), fd, hello, sizeof(hello), 0);
                r = wait_one(&ring);
        }
        printf("%d\n", r);
        return 0;
}
"""


def build_uring(internet, name, source):
    """A program over liburing."""
    path = pathlib.Path(internet.base) / name
    pathlib.Path(f"{path}.c").write_text(source)
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", path, f"{path}.c", "-luring"], check=True)
    return path


@pytest.fixture(scope="module")
def uring(internet):
    return build_uring(internet, "uring", URING)


def by_uring(person, uring, address, name):
    """What connect, or the first answer to a hello, came to: a negative error, or bytes."""
    hello = person.python(CLIENT + f"result = begin({name!r})[2].read().hex()") if name else ""
    (person.home / "hello").write_bytes(bytes.fromhex(hello))
    start = time.monotonic()
    r = person.run(["sh", "-c", f"exec {uring} {address} <{person.home}/hello"])
    assert r.returncode == 0, r.stdout
    return int(r.stdout), (time.monotonic() - start) * 1000


@pytest.mark.evasion(8, "io_uring", "egress connect")
def test_row_8_io_uring(blocking, employee, uring):
    since = time.monotonic()
    for address, name in ((world.SHARED4, NAME), ("149.154.167.51", "")):
        r, ms = by_uring(employee, uring, address, name)
        assert r < 0 and ms < 2 * FAST_MS, (address, r, ms)
    rows = {r["channel"]: r for r in blocking.violations(employee)}
    assert set(rows) == {"whatsapp", "telegram"}
    assert_row(rows["whatsapp"], layer="tls", tier="name")
    assert_row(rows["telegram"], layer="connect", tier="address")
    assert not blocking.internet.seen("tls", since=since, name=NAME)


@pytest.mark.evasion(8, "io_uring", "egress connect")
def test_row_8_io_uring_when_approved(allowing, employee, uring):
    assert by_uring(employee, uring, world.SHARED4, NAME)[0] > 0
    assert by_uring(employee, uring, "149.154.167.51", "")[0] == 0
    assert allowing.violations(employee) == []
