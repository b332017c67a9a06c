# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program without root does with sockets, pages and packets of its own: rows 7, 8, 13 and 21."""
import os
import signal
import subprocess
import time

import pytest

import world
from harness import PRELUDE, SLOW, assert_row
from internet import WORLD4, wait_for
from test_evasion_clients import build_uring
from test_evasion_namespaces import Pasta, Slirp
from test_evasion_tls import CHANGED, CLIENT, assert_stopped

NAME, INNOCENT = "web.whatsapp.com", "www.example.org"
OTHER4 = "192.168.77.11"  # another address of the laptop's, as of another network card


@pytest.fixture
def paths(station):
    """A laptop of two addresses that are used for one connection, as NetworkManager has it; how many such paths there have been."""
    laptop, run = station.internet.laptop, station.internet.laptop.run
    run(["ip", "addr", "add", f"{OTHER4}/24", "dev", "eth0"], check=True)
    run(["ip", "mptcp", "endpoint", "add", OTHER4, "dev", "eth0", "subflow"], check=True)
    station.internet.world.run(["ip", "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "4"], check=True)

    def joined():
        rows = [line.split() for line in laptop.run(["cat", "/proc/net/netstat"]).stdout.splitlines() if line.startswith("MPTcpExt:")]
        return int(dict(zip(*rows))["MPJoinSynAckRx"])
    yield joined
    run(["ip", "mptcp", "endpoint", "flush"], check=True)
    run(["ip", "addr", "del", f"{OTHER4}/24", "dev", "eth0"], check=True)


OVER_PATHS = """
def over_paths():
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    s.settimeout(5)
    s.connect((ADDRESS, 443))
    time.sleep(0.3)  # another path would be there by now
    return s
"""


@pytest.mark.evasion(8, "a hello over several paths of one connection (MPTCP)", "egress connect")
def test_row_8_paths(blocking, employee, paths):
    """Also while the agent, which ends such a connection, is stopped: what one path drops goes by another."""
    since = time.monotonic()
    code = CLIENT + OVER_PATHS + "result = attempt(handshake, {!r}, in_writes(40), over_paths())"
    assert employee.python(code.format(INNOCENT))["error"] is None
    blocking.agent.process.send_signal(signal.SIGSTOP)
    try:
        assert employee.python(code.format(NAME))["error"]
    finally:
        blocking.agent.process.send_signal(signal.SIGCONT)
    assert_stopped(blocking, employee, employee.python(code.format(NAME)), since)


@pytest.mark.evasion(8, "a hello over several paths of one connection (MPTCP)", "egress connect")
def test_row_8_paths_later(blocking, employee, paths):
    """A laptop that comes to another network goes on there with what it had opened."""
    run, before = blocking.internet.laptop.run, paths()
    run(["ip", "mptcp", "endpoint", "flush"], check=True)
    code = PRELUDE + CLIENT + OVER_PATHS + """
s = over_paths()
s.sendall(bytes(60000))
print("sent", flush=True)
sys.stdin.readline()
"""
    with employee.popen(["/usr/bin/python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "sent\n" and paths() == before
        run(["ip", "mptcp", "endpoint", "add", OTHER4, "dev", "eth0", "subflow"], check=True)
        wait_for(lambda: paths() > before, 10 * SLOW, "another path")
        process.communicate("\n")
    assert blocking.violations(employee) == []


# The process that connects hands its socket to another one and ends.
HANDED = """
def handed():
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
        s.connect((ADDRESS, 443))
        socket.send_fds(theirs, [b"."], [s.fileno()])
        os._exit(0)
    fd = socket.recv_fds(ours, 1, 1)[1][0]
    os.wait()
    return socket.socket(fileno=fd)
"""


@pytest.mark.evasion(8, "a hello over an MPTCP connection that another process made", "egress walk")
def test_row_8_handed(blocking, employee):
    """Who has it is told, and on record beside who made it, of whom the network layers know."""
    since = time.monotonic()
    r = employee.python(CLIENT + HANDED + f"result = [attempt(handshake, n, socket.socket.sendall, handed()) for n in {(INNOCENT, NAME)}]")
    assert r[0]["error"] is None and r[1]["error"] not in (None, "TimeoutError"), r
    rows = blocking.violations(employee)
    assert rows[0]["program"] == "/usr/bin/python3" and {x["channel"] for x in rows} == {"whatsapp"}, rows
    assert not blocking.internet.seen("tls", since=since, name=NAME), "the hello has left the laptop"


# A question in a page that its sender still owns, in the second fragment of a query that is larger than a packet.
LARGE = f"""
import ctypes
def label(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + bytes.fromhex("0000010001")
def ask(last, lent):
    count, last, page = 90, label(last), mmap.mmap(-1, 4096)
    page[:len(last)] = last
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect(("{WORLD4}", 53))
        s.send(struct.pack("!6H", 7, 256, count + 1, 0, 0, 0) + label("{INNOCENT}") * count, socket.MSG_MORE)
        if lent:
            r, w = os.pipe()
            where = ctypes.addressof(ctypes.c_char.from_buffer(page))
            assert libc.vmsplice(w, ctypes.byref(iovec(where, len(last))), 1, 0) == len(last)
            os.splice(r, s.fileno(), len(last))
        else:
            s.send(last)
        return s.recv(65536)[3] & 15
"""


@pytest.mark.parametrize("name, lent, expected", [("web.innocent.org", True, "EPERM"), (NAME, False, 5), ("web.innocent.org", False, 0)])
@pytest.mark.evasion(8, "bytes that are changed between the look at them and their way out", "egress")
def test_row_8_lent_fragment(blocking, employee, name, lent, expected):
    since = time.monotonic()
    r = employee.python(CLIENT + CHANGED + LARGE + f"result = attempt(ask, {name!r}, {lent})")
    assert expected in (r["error"], r["value"]), r
    assert bool(blocking.internet.seen("dns", since=since, name=name)) == (expected == 0)


# Memory of a driver that nobody maps while the packet is looked at: a ring of packets, or of an io_uring (of which pages can be
# lent since Linux 6.10).
DRIVER = """
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

def packets():  # in a user namespace anybody may have one
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        libc.unshare(0x50000000)  # CLONE_NEWUSER | CLONE_NEWNET
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.setsockopt(263, 5, struct.pack("4I", 65536, 1, 65536, 1))  # SOL_PACKET, PACKET_RX_RING
        socket.send_fds(theirs, [b"."], [s.fileno()])
        os._exit(0)
    return socket.recv_fds(ours, 1, 1)[1][0], 0

def uring():
    return libc.syscall(425, 1024, ctypes.create_string_buffer(120)), 0x10000000

def from_driver(driver):
    def send(s, hello):
        fd, offset = driver()
        def write(data):
            at = libc.mmap(None, 65536, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, offset)
            ctypes.memmove(at, data, len(data))
            return at
        at = write(hello.replace(b"web.whatsapp.com", b"web.innocent.org"))
        r, w = os.pipe()
        assert libc.vmsplice(w, ctypes.byref(iovec(at, len(hello))), 1, 0) == len(hello), "it cannot be lent"
        libc.munmap(at, 65536)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        os.splice(r, s.fileno(), len(hello))
        write(hello)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
    return send

def relayed(s, hello):  # from a socket to another, as proxies do it
    ours, theirs = socket.create_server(("127.0.0.1", 0)), socket.socket()
    theirs.connect(ours.getsockname())
    ours = ours.accept()[0]
    ours.sendall(hello)
    r, w = os.pipe()
    os.splice(r, s.fileno(), os.splice(theirs.fileno(), w, len(hello)))
"""


KERNEL = tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2])


def by_driver(employee, how, name):
    return employee.python(CLIENT + CHANGED + DRIVER + f"result = attempt(handshake, {name!r}, {how})")


@pytest.mark.evasion(8, "bytes that are changed between the look at them and their way out", "egress")
def test_row_8_relayed_by_splice(blocking, employee):
    since = time.monotonic()
    assert by_driver(employee, "relayed", INNOCENT)["error"] is None
    assert_stopped(blocking, employee, by_driver(employee, "relayed", NAME), since)


@pytest.mark.lsm
@pytest.mark.evasion(8, "memory of a driver, changed after the look at it", "egress")
def test_row_8_memory_of_a_driver(blocking, employee, router):
    """Where the kernel lets programs follow its functions; afterwards, what such a person relays is still sent."""
    assert "lent=fentry" in blocking.agent.status()["sensors"]
    since = time.monotonic()
    for how in ("packets", "uring") if KERNEL >= (6, 10) else ("packets",):
        r = by_driver(employee, f"from_driver({how})", NAME)
        assert r["error"], (how, r)
    assert not blocking.internet.seen("tls", since=since, name=NAME), "the changed hello has left the laptop"
    assert by_driver(employee, "relayed", INNOCENT)["error"] is None


URING = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static struct io_uring ring;
static int done(struct io_uring_sqe *sqe, int flags)
{
        struct io_uring_cqe *cqe;
        sqe->flags |= flags;
        io_uring_submit(&ring);
        if (io_uring_wait_cqe(&ring, &cqe) < 0)
                return -1;
        int r = cqe->res;
        io_uring_cqe_seen(&ring, cqe);
        return r;
}
#define DO(flags, operation, ...) ({ struct io_uring_sqe *s_ = io_uring_get_sqe(&ring); \
                io_uring_prep_##operation(s_, __VA_ARGS__); done(s_, flags); })
int main(int n, char **argv)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443)};
        static char hello[65536], lent[65536];
        int size = fread(hello, 1, sizeof(hello), stdin), fd = 0, fixed = 0, pipes[2], ttl = 1, r;
        struct iovec v = {lent, sizeof(lent)}, part = {lent, size};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
        r = io_uring_queue_init(8, &ring, *argv[1] == 'd' ? IORING_SETUP_SQPOLL : 0);
        if (r < 0)
                return printf("io_uring: %d\n", r), 2;
        inet_pton(AF_INET, argv[n - 1], &to.sin_addr);
        if (*argv[1] == 'd') { /* a thread of the kernel's, and a socket that has no number */
                io_uring_register_files_sparse(&ring, 4);
                r = DO(0, socket_direct, AF_INET, SOCK_STREAM, 0, 0, 0);
                fixed = IOSQE_FIXED_FILE;
        } else {
                fd = socket(AF_INET, SOCK_STREAM, 0);
        }
        r = DO(fixed | IOSQE_ASYNC, connect, fd, (struct sockaddr *)&to, sizeof(to));
        if (r < 0 || !size)
                return printf("%d\n", r), 0;
        memcpy(lent, hello, size);
        char *name = memmem(lent, size, "web.whatsapp.com", 16);
        if (name)
                memcpy(name, "web.innocent.org", 16);
        if (*argv[1] == 'z')
                setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
        if (strcmp(argv[1], "zero-copy") == 0) {
                io_uring_register_buffers(&ring, &v, 1);
                r = DO(0, send_zc_fixed, fd, lent, size, 0, 0, 0);
        } else if (strcmp(argv[1], "zero-copy-message") == 0) {
                r = DO(0, sendmsg_zc, fd, &m, 0);
        } else if (strcmp(argv[1], "splice") == 0) {
                r = pipe(pipes) + write(pipes[1], hello, size);
                r = DO(IOSQE_ASYNC, splice, pipes[0], -1, fd, -1, size, 0);
        } else {
                r = DO(fixed, send, fd, hello, size, 0);
        }
        ttl = 64;
        memcpy(lent, hello, size);
        if (*argv[1] == 'z')
                setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
        r = DO(fixed, recv, fd, hello, sizeof(hello), 0);
        if (*argv[1] == 'z') { /* two results come of sending */
                struct io_uring_cqe *cqe;
                io_uring_wait_cqe(&ring, &cqe);
                r = r > 0 ? r : cqe->res;
        }
        printf("%d\n", r);
        return 0;
}
"""


@pytest.fixture(scope="module")
def uring(internet):
    return build_uring(internet, "uring-own", URING)


@pytest.mark.parametrize("how", ["direct", "splice", "zero-copy", "zero-copy-message"])
@pytest.mark.evasion(8, "io_uring's own threads, descriptors, buffers, splice", "egress connect")
def test_row_8_uring(blocking, employee, uring, router, how):
    def attempt(address, name):
        hello = employee.python(CLIENT + f"result = begin({name!r})[2].read().hex()") if name else ""
        (employee.home / "hello").write_bytes(bytes.fromhex(hello))
        r = employee.run(["sh", "-c", f"exec {uring} {how} {address} <{employee.home}/hello"], timeout=20 * SLOW)
        assert r.returncode == 0, r.stdout
        return int(r.stdout)
    since = time.monotonic()
    assert attempt(world.SHARED4, INNOCENT) > 0
    assert attempt("149.154.167.51", "") < 0
    result = attempt(world.SHARED4, NAME)
    assert not blocking.internet.seen("tls", since=since, name=NAME), "the hello has left the laptop"
    rows = {r["channel"]: r for r in blocking.violations(employee)}
    if "zero-copy" not in how:  # of which the innocent name was read, and left
        assert result < 0
        assert_row(rows.pop("whatsapp"), layer="tls", tier="name", program=str(uring), uid=employee.uid)
    assert_row(rows.pop("telegram"), layer="connect", tier="address", program=str(uring), uid=employee.uid)
    assert not rows


OTHERWISE = """
TELEGRAM6, TELEGRAM4 = "2001:67c:4e8:f002::a", "149.154.167.51"
def routed():  # RFC 8754: where the packet goes stands in a header, not in what the program names
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IPV6, 57, bytes([0, 2, 4, 0, 0, 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, TELEGRAM6))
        s.sendto(b"x", ("2001:db8::99", 443))
def lite():  # RFC 3828; its connect() asks nobody
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136) as s:
        s.connect((TELEGRAM4, 443))
        s.send(b"x")
result = [attempt(f) for f in (routed, lite)]
"""


@pytest.mark.evasion(13, "the packet goes elsewhere than connect() says; another protocol", "prefix")
def test_13_otherwise(blocking, employee):
    counted = "table ip6 counted { counter c { }; chain in { type filter hook prerouting priority -400; ip6 daddr 2001:67c:4e8::/48 counter name c; }; }"
    world_run = blocking.internet.world.run
    world_run(["nft", counted], check=True)
    r = employee.python(OTHERWISE)
    assert [x["error"] for x in r] == ["EPERM", "EPERM"], r
    assert "packets 0" in world_run(["nft", "list", "counter", "ip6", "counted", "c"], check=True).stdout


# Of every three packets one is lost on the way, so that TCP sends again what is in one, in parts or with more behind it.
LOST = "add table ip lost; add chain ip lost in { type filter hook prerouting priority -400; }; add rule ip lost in tcp dport 4433 numgen inc mod 3 == 0 drop"


@pytest.mark.evasion(7, "in pieces, of which every third is lost", "egress")
def test_row_7_lost(blocking, employee):
    world_run = blocking.internet.world.run
    world_run(["nft", LOST], check=True)
    try:
        since = time.monotonic()
        r = employee.python(CLIENT + f"result = [attempt(handshake, n, in_writes(25), port=4433) for n in ({INNOCENT!r}, {NAME!r})]", timeout=60)
    finally:
        world_run(["nft", "delete", "table", "ip", "lost"], check=True)
    assert blocking.internet.seen("tls", since=since, name=INNOCENT), r
    assert_stopped(blocking, employee, r[1], since)


# Segments by hand: in any order, over one another, in fragments of which the last comes first.
BY_HAND = """
hello = begin(sys.argv[1])[2].read()
def ones(data):
    n = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff
def summed(data, at, *before):
    return data[:at] + struct.pack("!H", ones(b"".join(before) + data)) + data[at + 2:]
def by_hand(order, size):
    s = socket.create_connection((ADDRESS, 443), timeout=5)
    s.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR
    def sequence(queue):
        s.setsockopt(socket.IPPROTO_TCP, 20, queue)
        return struct.unpack("=I", s.getsockopt(socket.IPPROTO_TCP, 21, 4))[0]
    received, sent = sequence(1), sequence(2)
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    tap.settimeout(5)
    row = [line.split() for line in open("/proc/net/arp")][1]
    ends = [socket.inet_aton(a) for a in (s.getsockname()[0], ADDRESS)]
    for at, end in order:
        data = hello[at:end]
        tcp = struct.pack("!HHIIHHHH", s.getsockname()[1], 443, sent + at & 0xffffffff, received, 0x5018, 65535, 0, 0) + data
        tcp = summed(tcp, 16, *ends, struct.pack("!HH", 6, len(tcp)))
        for start in reversed(range(0, len(tcp), size)):
            part, more = tcp[start:start + size], start + size < len(tcp)
            ip = summed(struct.pack("!HHHHBBH", 0x4500, 20 + len(part), at + 1, more << 13 | start >> 3, 64, 6, 0) + ends[0] + ends[1], 10)
            tap.sendto(ip + part, (row[5], 0x0800, 0, 0, bytes.fromhex(row[3].replace(":", ""))))
    end = time.monotonic() + 5
    while time.monotonic() < end:
        p = tap.recv(65536)
        if p[9] != 6 or p[12:16] != ends[1] or p[22:24] != struct.pack("!H", s.getsockname()[1]):
            continue
        if p[33] & 4:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if len(p) > 100:
            return True
    raise TimeoutError
print(json.dumps([attempt(by_hand, o, int(size)) for size in sys.argv[2:]
                  for o in ([(0, 60), (60, 9999)], [(100, 9999), (0, 100)], [(0, 100), (50, 300), (200, 9999)])]))
"""


@pytest.mark.evasion(21, "packets made by hand behind pasta, slirp4netns; without a namespace there are none", "egress")
def test_21_packets_by_hand(blocking, employee, needs):
    needs("pasta", "slirp4netns")
    r = employee.python("""
result = [attempt(lambda: socket.socket(*kind).close()) for kind in ((17, 3), (2, 3, 6), (10, 3, 255), (44, 3))]
with socket.socket() as s:
    result += [attempt(s.setsockopt, 6, 19, 1), attempt(s.setsockopt, 0, 19, 1)]  # TCP_REPAIR, IP_TRANSPARENT
""")
    assert [x["error"] for x in r] == ["EPERM"] * 6, r
    for container, program, sizes in ((Pasta, "/usr/bin/pas", ["65536"]), (Slirp, "/usr/bin/slirp4netns", ["65536", "64"])):
        somebody, since = blocking.employee(), time.monotonic()
        for name in (INNOCENT, NAME):
            argv = container(blocking.internet, somebody).wrap(["/usr/bin/python3", "-c", PRELUDE + CLIENT + BY_HAND, name, *sizes])
            r = somebody.run(argv, timeout=60 * SLOW)
            assert r.returncode == 0, r.stderr
            assert ("true" in r.stdout) == (name == INNOCENT), r.stdout
        assert blocking.internet.seen("tls", since=since, name=INNOCENT)
        assert not blocking.internet.seen("tls", since=since, name=NAME), "the hello has left the laptop"
        rows = blocking.violations(somebody)
        assert rows and all(x["channel"] == "whatsapp" and x["program"].startswith(program) for x in rows), rows
