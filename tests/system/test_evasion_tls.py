# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 7 and 8: a hello in every shape, to an address that many share. It must be seen as layer tls, tier
name, or the name has not reached the world; with the verdict allow it must work."""
import contextlib
import itertools
import subprocess
import time

import pytest

import world
from harness import FAST_MS, SLOW, assert_row
from internet import WORLD4, wait_for

# hello(name, …): the first flight of a TLS client; handshake(name, send, …): a whole session in which `send` writes the first
# flight its own way. Both skip what a browser would check.
CLIENT = f"""
ADDRESS = "{world.SHARED4}"
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE

def begin(name):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return tls, incoming, outgoing

def finish(s, tls, incoming, outgoing):
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            if outgoing.pending:
                s.sendall(outgoing.read())
            data = s.recv(65536)
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "closed")
            incoming.write(data)
    s.sendall(outgoing.read())
    return tls.version()

def handshake(name, send, s=None, address=ADDRESS, port=443):
    tls, incoming, outgoing = begin(name)
    s = s or socket.create_connection((address, port), timeout=5)
    with s:
        s.settimeout(5)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        send(s, outgoing.read())
        return finish(s, tls, incoming, outgoing)

def pieces(data, size):
    return [data[i:i + size] for i in range(0, len(data), size)]

def in_writes(size):
    def send(s, hello):
        for piece in pieces(hello, size):
            s.sendall(piece)
    return send

def in_records(size, write=1 << 20):
    def send(s, hello):
        whole = b"".join(b"\\x16\\x03\\x01" + struct.pack("!H", len(p)) + p for p in pieces(hello[5:], size))
        for piece in pieces(whole, write):
            s.sendall(piece)
    return send

def padded(hello, size):
    # an unknown extension of that size before all others (RFC 8701)
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + struct.unpack_from("!H", hello, at)[0]
    at += 1 + hello[at]
    extensions = struct.pack("!HH", 0x1a1a, size) + bytes(size) + hello[at + 2:]
    body = hello[9:at] + struct.pack("!H", len(extensions)) + extensions
    message = b"\\x01" + struct.pack("!I", len(body))[1:] + body
    return b"".join(b"\\x16\\x03\\x01" + struct.pack("!H", len(p)) + p for p in pieces(message, 16384))
"""

SHAPES = {
    "one-write": "in_writes(1 << 20)",
    "two-writes": "in_writes(200)",
    "many-writes": "in_writes(30)",
    "byte-by-byte": "in_writes(1)",
    "two-records": "in_records(300)",
    "record-a-byte": "in_records(1)",
    "records-in-writes": "in_records(20, 7)",
    "record-byte-by-byte": "in_records(3, 1)",
    "2-kB": "lambda s, hello: s.sendall(padded(hello, 1800))",
    "16-kB": "lambda s, hello: s.sendall(padded(hello, 15800))",
    "50-kB": "lambda s, hello: in_writes(1000)(s, padded(hello, 50000))",
}


def assert_stopped(station, employee, result, since, **expected):
    assert result["error"] and result["error"] != "TimeoutError", result
    row, = station.violations(employee)
    assert_row(row, **{"class": "use", "channel": "whatsapp", "layer": "tls", "tier": "name", "verdict": "block", **expected})
    assert row["outcome"] in ("dropped", "reset")
    assert not station.internet.seen("tls", since=since, name="web.whatsapp.com"), "the hello has left the laptop"


def attempt(employee, shape, name="web.whatsapp.com", more=""):
    return employee.python(CLIENT + f"result = attempt(handshake, {name!r}, {SHAPES.get(shape, shape)}{more})")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.evasion(7, "one or many writes, records, bytes; 500 B to 50 kB", "egress")
def test_row_7_shapes(blocking, employee, shape):
    since = time.monotonic()
    r = attempt(employee, shape)
    if "byte" not in shape:
        assert r["ms"] < FAST_MS, r
    assert_stopped(blocking, employee, r, since)


def assert_works(station, employee, shape, name):
    since = time.monotonic()
    r = attempt(employee, shape, name)
    if "kB" in shape:  # padded behind the client's back: the server has the hello, the handshake fails
        assert shape == "50-kB" or station.internet.seen("tls", since=since, name=name), r
    else:
        assert r["error"] is None, r
    assert station.violations(employee) == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.evasion(7, "one or many writes, records, bytes; 500 B to 50 kB", "egress")
def test_row_7_shapes_of_others_pass(blocking, employee, shape):
    assert_works(blocking, employee, shape, "www.example.org")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.evasion(7, "one or many writes, records, bytes; 500 B to 50 kB", "egress")
def test_row_7_shapes_pass_when_approved(allowing, employee, shape):
    assert_works(allowing, employee, shape, "web.whatsapp.com")


@pytest.mark.parametrize("name", ["WEB.WhatsApp.COM", "web.whatsapp.com."])
@pytest.mark.evasion(7, "upper case, trailing dot", "egress")
def test_row_7_spelling(blocking, employee, name):
    since = time.monotonic()
    # OpenSSL as python uses it refuses a trailing dot: change the name in the hello instead
    shape = f'lambda s, hello: s.sendall(hello.replace(b"x" * {len(name)}, {name.encode()!r}))'
    assert_stopped(blocking, employee, attempt(employee, shape, "x" * len(name)), since)


@pytest.mark.evasion(7, "no name", "egress")
def test_row_7_no_name_passes(blocking, employee):
    assert attempt(employee, "one-write", None)["error"] is None
    assert blocking.violations(employee) == []


@pytest.mark.evasion(7, "a second hello", "egress")
def test_row_7_second_hello(blocking, employee):
    """An innocent hello, and another as if after a HelloRetryRequest."""
    code = CLIENT + """
def twice(s, hello):
    s.sendall(hello)
    s.recv(65536)
    s.sendall(b"\\x14\\x03\\x03\\x00\\x01\\x01" + begin("web.whatsapp.com")[2].read())
    if not s.recv(65536):
        raise ConnectionResetError(errno.ECONNRESET, "closed")
    return True
result = attempt(handshake, "www.example.org", twice)
"""
    since = time.monotonic()
    assert_stopped(blocking, employee, employee.python(code), since)


RECORD = """
def record(kind, body, version=b"\\3\\1"):
    return bytes([kind]) + version + struct.pack("!H", len(body)) + body
"""

# A server without the key share that it wants asks for a second hello (RFC 8446 4.1.4), and OpenSSL serves the name in that one.
# Who knows that it will be asked need not wait; what is early (4.2.10) the server skips.
AGAIN = """
def asked_again(name):
    hello = begin(name)[2].read()
    at = hello.rindex(b"\\x00\\x33\\x00\\x26\\x00\\x24\\x00\\x1d\\x00\\x20")  # no key share, early data, padding as long as before
    return hello[:at] + bytes.fromhex("003300020000 002a0000 2a2a001c") + bytes(28) + hello[at + 42:]
def again(first, second, size=0, early=0, cut=1 << 20, wait=False, to=(ADDRESS, 443)):
    hellos = padded(asked_again(first), size) if size else asked_again(first)
    second = b"".join(record(23, bytes(min(16000, early - i)), b"\\3\\3") for i in range(0, early, 16000)) + begin(second)[2].read()
    with socket.create_connection(to, timeout=5) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(hellos[:cut])
        if wait:
            s.recv(65536)
        s.sendall(hellos[cut:] + second)
        answer = s.makefile("rb")
        for _ in range(2 - wait):  # a HelloRetryRequest, a change_cipher_spec, then what was asked for
            kind, size = struct.unpack("!B2xH", answer.read(5) or bytes(5))
            if kind != 22:
                raise ConnectionResetError(errno.ECONNRESET, "refused")
            if answer.read(size) and not wait:
                answer.read(6)
    return True
"""
HELLOS = ["", "cut=200", "wait=True", "size=15800", "size=50000", "size=15800, wait=True", "early=100", "early=6000, wait=True", "early=16000"]


def hello_again(employee, how, first="www.example.org", second="web.whatsapp.com"):
    return employee.python(CLIENT + RECORD + AGAIN + f"result = attempt(again, {first!r}, {second!r}, {how})")


@pytest.mark.parametrize("how", HELLOS)
@pytest.mark.evasion(7, "a second hello", "egress")
def test_row_7_asked_again(blocking, employee, how):
    since = time.monotonic()
    assert_stopped(blocking, employee, hello_again(employee, how, None if how == "cut=200" else "www.example.org"), since)


@pytest.mark.parametrize("how", HELLOS)
@pytest.mark.evasion(7, "a second hello", "egress")
def test_row_7_asked_again_when_approved(allowing, employee, how):
    """As such servers do it, or the other test would show nothing."""
    since = time.monotonic()
    assert hello_again(employee, how)["value"] is True
    wait_for(lambda: allowing.internet.seen("tls", since=since, name="web.whatsapp.com"), 5 * SLOW, "the second name at the server")
    assert allowing.violations(employee) == []


@contextlib.contextmanager
def patient_server(internet, tmp_path):
    """A server that skips more early data than OpenSSL's do of themselves, as fizz does; what it says of its clients."""
    files, output = [str(tmp_path / name) for name in ("key", "pem")], tmp_path / "output"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", files[0], "-out", files[1],
                    "-subj", "/CN=x"], check=True, capture_output=True)
    argv = ["stdbuf", "-oL", "openssl", "s_server", "-accept", "587", "-key", files[0], "-cert", files[1], "-key2", files[0], "-cert2", files[1], "-servername", "x",
            "-early_data", "-recv_max_early_data", "1000000"]
    with open(output, "wb") as f, internet.world.popen(argv, stdin=subprocess.PIPE, stdout=f, stderr=f) as process:
        try:
            wait_for(lambda: "ACCEPT" in output.read_text(), 5 * SLOW, "the server")
            yield lambda: output.read_text().count('Hostname in TLS extension: "web.whatsapp.com"')
        finally:
            process.kill()


EARLY = f"early=60000, to=({WORLD4!r}, 587)"


@pytest.mark.evasion(7, "a second hello", "egress")
def test_row_7_much_early_data(blocking, employee, tmp_path):
    with patient_server(blocking.internet, tmp_path) as heard:
        since = time.monotonic()
        assert_stopped(blocking, employee, hello_again(employee, EARLY), since, port=587)
        assert heard() == 0


@pytest.mark.evasion(7, "a second hello", "egress")
def test_row_7_much_early_data_when_approved(allowing, employee, tmp_path):
    with patient_server(allowing.internet, tmp_path) as heard:
        assert hello_again(employee, EARLY)["value"] is True
        wait_for(heard, 5 * SLOW, "the second name at the server")
    assert allowing.violations(employee) == []


PLAIN = {  # row 8: how the bytes are handed to the kernel
    "fast-open": """
s = socket.socket()
def send(s, hello):
    s.settimeout(None)
    s.sendto(hello, socket.MSG_FASTOPEN, (ADDRESS, 443))
""",
    "mptcp": """
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.connect((ADDRESS, 443))
send = in_writes(1 << 20)
""",
    "mptcp-writes": """
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.connect((ADDRESS, 443))
send = in_writes(100)
""",
    "ipv6": f"""
s = socket.create_connection(("{world.SHARED6}", 443))
send = in_writes(100)
""",
    "ipv4-mapped": """
s = socket.socket(socket.AF_INET6)
s.connect(("::ffff:" + ADDRESS, 443))
send = in_writes(1 << 20)
""",
    "corked": """
s = socket.create_connection((ADDRESS, 443))
def send(s, hello):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    in_writes(50)(s, hello)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
""",
    "msg-more": """
s = socket.create_connection((ADDRESS, 443))
def send(s, hello):
    s.send(hello[:90], socket.MSG_MORE)
    s.send(hello[90:])
""",
    "splice": """
s = socket.create_connection((ADDRESS, 443))
def send(s, hello):
    r, w = os.pipe()
    os.write(w, hello)
    os.splice(r, s.fileno(), len(hello))
""",
    "sendfile": """
s = socket.create_connection((ADDRESS, 443))
def send(s, hello):
    fd = os.memfd_create("hello")
    os.write(fd, hello)
    os.sendfile(s.fileno(), fd, 0, len(hello))
""",
    "zerocopy": """
s = socket.create_connection((ADDRESS, 443))
def send(s, hello):
    s.setsockopt(socket.SOL_SOCKET, 60, 1)
    s.send(hello, 0x4000000)
""",
    "small-segments": """
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 100)
s.connect((ADDRESS, 443))
send = in_writes(1 << 20)
""",
}


@pytest.fixture(scope="module")
def fast_open(station):
    """Both sides put data into the first SYN already, without a cookie (tcp_fastopen in ip-sysctl.rst)."""
    for place, value in ((station.internet.laptop, 0x5), (station.internet.world, 0x602)):
        place.run(["sh", "-c", f"echo {value} >/proc/sys/net/ipv4/tcp_fastopen"], check=True)


def plain(employee, how):
    return employee.python(CLIENT + PLAIN[how] + 'result = attempt(handshake, "web.whatsapp.com", send, s)')


@pytest.mark.parametrize("how", PLAIN)
@pytest.mark.evasion(8, "Fast Open, MPTCP, v6, v4-mapped, corked, splice, sendfile, zero-copy", "egress")
def test_row_8(blocking, employee, fast_open, how):
    since = time.monotonic()
    assert_stopped(blocking, employee, plain(employee, how), since)


def fast_opened(station):
    """How many hellos came to the world in a SYN."""
    return int(station.internet.world.run(["nstat", "-asz", "TcpExtTCPFastOpenPassive"], check=True).stdout.split()[-2])


@pytest.mark.parametrize("how", PLAIN)
@pytest.mark.evasion(8, "Fast Open, MPTCP, v6, v4-mapped, corked, splice, sendfile, zero-copy", "egress")
def test_row_8_when_approved(allowing, employee, fast_open, how):
    """And the world sees that it is what its name says."""
    since, before = time.monotonic(), fast_opened(allowing)
    assert plain(employee, how)["error"] is None
    assert fast_opened(allowing) == before + (how == "fast-open")
    seen, = allowing.internet.seen("tls", since=since, name="web.whatsapp.com")
    assert (seen["address"] == "mptcp") == how.startswith("mptcp") and (seen["address"] == world.SHARED6) == (how == "ipv6")
    assert allowing.violations(employee) == []


DECOYS = {  # what servers step over, or do not look at
    "warning-first": "lambda s, hello: s.sendall(record(21, b'\\x01\\x5a') + hello)",
    "warning-between": "lambda s, hello: s.sendall(record(22, hello[5:60]) + record(21, b'\\x01\\x5a') + record(22, hello[60:]))",
    "ccs-between": "lambda s, hello: s.sendall(record(22, hello[5:60]) + record(20, b'\\x01') + record(22, hello[60:]))",
    "version": "lambda s, hello: s.sendall(record(22, hello[5:], b'\\x04\\x01'))",
}


@pytest.mark.parametrize("decoy", DECOYS)
@pytest.mark.evasion(7, "records that servers step over, any version", "egress")
def test_row_7_decoys(blocking, employee, decoy):
    since = time.monotonic()
    r = employee.python(CLIENT + RECORD + f"result = attempt(handshake, 'web.whatsapp.com', {DECOYS[decoy]})")
    assert_stopped(blocking, employee, r, since)


URGENT = """
def split_name(s, hello):
    at = hello.index(NAME) + 5
    s.send(hello[:at] + b"X", socket.MSG_OOB)  # which the server's stream does not have
    s.sendall(hello[at:])
def before(s, hello):
    s.send(b"\\xff\\xf2", socket.MSG_OOB)  # of telnet; its first byte is in the stream
    s.sendall(hello)
def pushed_before(s, hello):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    s.send(b"\\xf2", socket.MSG_OOB)
    s.sendall(hello)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
"""


def urgent(employee, how, name):
    return employee.python(CLIENT + URGENT + f"NAME = {name.encode()!r}\nresult = attempt(handshake, {name!r}, {how})")


@pytest.mark.parametrize("how", ["split_name", "pushed_before"])
@pytest.mark.evasion(7, "an urgent byte, which servers leave out", "egress")
def test_row_7_urgent(blocking, employee, how):
    since = time.monotonic()
    r = urgent(employee, how, "web.whatsapp.com")
    assert r["error"], r
    assert not blocking.internet.seen("tls", since=since, name="web.whatsapp.com"), "the hello has left the laptop"


@pytest.mark.evasion(7, "an urgent byte, which servers leave out", "egress")
def test_row_7_urgent_of_others_passes(blocking, employee):
    assert urgent(employee, "pushed_before", "www.example.org")["error"] is None
    assert blocking.violations(employee) == []


# Keys for peers that nobody talks to (RFC 2385) take from the room that eBPF's storage of the socket is charged to.
NO_ROOM = """
def no_room(s, hello):
    for n in range(1 << 20):
        peer = struct.pack("HH4s", socket.AF_INET, 0, struct.pack("!I", 0x0a000000 + n)).ljust(128, b"\\0")
        try:
            s.setsockopt(socket.IPPROTO_TCP, 14, peer + struct.pack("BBHI", 0, 0, 4, 0) + b"abcd".ljust(80, b"\\0"))  # TCP_MD5SIG
        except OSError as e:
            assert e.errno == errno.ENOMEM
            break
    s.sendall(hello)
"""


@pytest.mark.evasion(7, "a socket without room for what is to be remembered of it", "egress")
def test_row_7_no_room(blocking, employee):
    since = time.monotonic()
    r = employee.python(CLIENT + NO_ROOM + "result = attempt(handshake, 'web.whatsapp.com', no_room)")
    assert r["error"], r
    assert not blocking.internet.seen("tls", since=since, name="web.whatsapp.com"), "the hello has left the laptop"


# A hello with an innocent name in pages that its sender still owns; that packet is lost on its way (a router's part: the
# world drops what has no hops left), and what TCP sends again is what stands in the pages by then.
CHANGED = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)

class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]

def lend(s, page, at, end, how):
    if how == "sendfile":
        os.sendfile(s.fileno(), file, at, end - at)
    elif how == "vmsplice":
        r, w = os.pipe()
        where = ctypes.addressof(ctypes.c_char.from_buffer(page))
        assert libc.vmsplice(w, ctypes.byref(iovec(where + at, end - at)), 1, 0) == end - at
        os.splice(r, s.fileno(), end - at)
    else:
        s.setsockopt(socket.SOL_SOCKET, 60, 1)
        s.send(memoryview(page)[at:end], 0x4000000)

file = os.memfd_create("hello")
os.ftruncate(file, 65536)

def connect_again(s):
    # behind what is no head files may be lent; a connect() begins anew
    s.sendall(b"\\x00")
    assert libc.connect(s.fileno(), bytes(16), 16) == 0  # AF_UNSPEC
    s.connect((ADDRESS, 443))

def changed(how, before=0, again=False):
    def send(s, hello):
        if again:
            connect_again(s)
        page = mmap.mmap(file, 65536)
        page[:len(hello)] = hello.replace(b"web.whatsapp.com", b"web.innocent.org")
        s.sendall(bytes(page[:before]))
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        lend(s, page, before, len(hello), how)
        page[:len(hello)] = hello
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
    return send
"""


@pytest.mark.parametrize("how, more", [*itertools.product(["sendfile", "vmsplice", "zerocopy"], ["", "before=40"]),
                                       ("sendfile", "again=True")])
@pytest.mark.evasion(8, "bytes that are changed between the look at them and their way out", "egress")
def test_row_8_changed_afterwards(blocking, employee, router, how, more):
    since = time.monotonic()
    r = employee.python(CLIENT + CHANGED + f'result = attempt(handshake, "web.whatsapp.com", changed({how!r}, {more}))')
    assert r["error"], r
    assert not blocking.internet.seen("tls", since=since, name="web.whatsapp.com"), "the changed hello has left the laptop"


# The same with memory of a driver, which nobody maps while the packet is looked at: an io_uring's ring (since Linux 6.10 its
# pages can be lent).
RING = """
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

def unmapped(s, hello):
    ring = libc.syscall(425, 1024, ctypes.create_string_buffer(120))  # io_uring_setup
    def write(data):
        at = libc.mmap(None, 65536, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, ring, 0x10000000)
        ctypes.memmove(at, data, len(data))
        return at
    at = write(hello.replace(b"web.whatsapp.com", b"web.innocent.org"))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    s.setsockopt(socket.SOL_SOCKET, 60, 1)
    if ring < 0 or libc.send(s.fileno(), ctypes.c_void_p(at), len(hello), 0x4000000) < 0:
        raise OSError(errno.EFAULT, "not with this kernel")
    libc.munmap(at, 65536)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    write(hello)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
"""


@pytest.mark.evasion(8, "bytes that are changed between the look at them and their way out", "egress")
def test_row_8_changed_while_unmapped(blocking, employee, router):
    since = time.monotonic()
    r = employee.python(CLIENT + CHANGED + RING + 'result = attempt(handshake, "web.whatsapp.com", unmapped)')
    assert r["error"] and r["error"] != "EFAULT", r
    assert not blocking.internet.seen("tls", since=since, name="web.whatsapp.com"), "the changed hello has left the laptop"


LENT = """
def file_of(data):
    fd = os.memfd_create("file")
    os.write(fd, data)
    return fd

def arrived(s):
    # SIOCOUTQ: what the other side has not acknowledged yet
    end = time.monotonic() + 20
    while struct.unpack("i", fcntl.ioctl(s, 0x5411, bytes(4)))[0]:
        assert time.monotonic() < end, "it does not arrive"
        time.sleep(0.01)
    return True

def answer(s):
    s.settimeout(20)
    return s.recv(1 << 16)[:15].decode()

def request(body=b"", more=b""):
    return b"PUT / HTTP/1.1\\r\\nHost: www.example.org\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + more

def requested():  # a whole request
    s = socket.create_connection((ADDRESS, 80))
    os.sendfile(s.fileno(), file_of(request()), 0, 1000)
    return answer(s)

def uploaded():  # a file behind the head, as Go's client does it
    body = b"GET http://web.whatsapp.com/ HTTP/1.1\\r\\n" * 5000
    s = socket.create_connection((ADDRESS, 80))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    s.sendall(request(body))
    s.sendfile(os.fdopen(file_of(body), "rb"), 0)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    return answer(s)

def opaque():  # a file and nothing else
    s = socket.create_connection((ADDRESS, 2121))
    s.sendfile(os.fdopen(file_of(b"\\x7fELF" + bytes(200000)), "rb"), 0)
    return arrived(s)

def served():  # the head and the file in one packet, as nginx does it with tcp_nopush
    listener = socket.create_server(("127.0.0.1", 0))
    c = socket.create_connection(listener.getsockname())
    s, _ = listener.accept()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    s.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 200000\\r\\n\\r\\n")
    body = b"a line of some text\\n" * 10000
    threading.Thread(target=s.sendfile, args=(os.fdopen(file_of(body), "rb"),)).start()
    got = 0
    c.settimeout(20)
    while got < 200000:
        got += len(c.recv(1 << 16))
    return True
"""
LENT_VALUES = {"requested": "HTTP/1.1 200 OK", "uploaded": "HTTP/1.1 200 OK", "opaque": True, "served": True}


@pytest.mark.parametrize("how", LENT_VALUES)
@pytest.mark.evasion(8, "bytes that are changed between the look at them and their way out", "egress")
def test_row_8_lent_pages_of_others_pass(blocking, employee, how):
    r = employee.python(CLIENT + "import fcntl, threading\n" + LENT + f"result = attempt({how})")
    assert r["error"] is None and r["value"] == LENT_VALUES[how], r
    assert blocking.violations(employee) == []
