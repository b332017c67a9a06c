# SPDX-License-Identifier: GPL-3.0-or-later
"""More of everything than there is room for, and slower than anybody: bounded memory, an end in time, others are served."""
import contextlib
import itertools
import os
import pathlib
import resource
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from internet import wait_for
from siege import AGENTS, PAGE, SLOW, Siege
from wire import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
                  Wire, block, frame, inside, length, settings, u32)

MEMORY_MIB = 96  # VmHWM of the collector, in each attack
STREAMS = 100_000


@pytest.fixture(scope="module")
def siege():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    s = Siege()
    s.attacker = s.device()
    s.slow = Slow(s)
    s.slow.start()
    yield s
    s.slow.join(100 * SLOW)
    s.close()


class Slow(threading.Thread):
    """Everything that can be done a byte each half second, side by side, while the other tests run. `ends`: what was done ->
    (after how many seconds the server ended it, what had come)."""

    def __init__(self, siege):
        super().__init__(daemon=True)
        self.siege, self.ends = siege, {}

    def plain(self):
        return inside(self.siege.site.holder.pid, lambda: socket.create_connection(("127.0.0.1", AGENTS), timeout=20 * SLOW))

    def hello(self):
        out = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
        return out.read()

    def begin(self):
        """what -> (socket or Wire, the bytes that come by and by)."""
        siege, attacker = self.siege, self.siege.device()
        body = {"content_type": "application/json"}

        def wire(first=lambda w: b"", device=attacker, **more):
            w = siege.wire(device, **more)
            w.window = False
            w.send(first(w))
            return w
        yield "nothing at all", (self.plain(), b"")
        yield "a hello byte by byte", (self.plain(), self.hello())
        yield "a handshake, then nothing", (wire(preface=False), b"")
        yield "a preface byte by byte", (wire(preface=False), PREFACE)
        yield "a preface, then nothing", (wire(), b"")
        yield "a frame's head byte by byte", (wire(), frame(PING, 0, 0, b"12345678"))
        yield "headers without an end", (wire(lambda w: w.headers(1, flags=END_STREAM)), frame(CONTINUATION, 0, 1, b"\x00" * 99))
        yield "a body byte by byte", (wire(lambda w: w.headers(1, w.request("/v1/status", "POST", **body), END_HEADERS)), frame(DATA, 0, 1, b"x") * 99)
        yield "a stranger's silence", (wire(lambda w: w.headers(1), None), b"")
        yield "an answer without a window", (wire(lambda w: frame(SETTINGS, 0, 0, settings((4, 0))) + w.headers()), b"")

    def run(self):
        attacks = {what: (*pair, time.monotonic()) for what, pair in self.begin()}
        for sent in range(200):
            for what, (peer, drip, began) in list(attacks.items()):
                sock = getattr(peer, "socket", peer)
                step = 10 if drip[:4] == frame(DATA, 0, 1, b"x")[:4] else 1  # a whole frame, so that the body grows
                with contextlib.suppress(OSError):
                    sock.setblocking(False)
                    sock.send(drip[sent * step:(sent + 1) * step])
                if self.is_over(peer, sock):
                    self.ends[what] = (time.monotonic() - began, getattr(peer, "outcome", None))
                    del attacks[what]
                    sock.close()
            if not attacks:
                return
            time.sleep(0.5)

    @staticmethod
    def is_over(peer, sock):
        if isinstance(peer, Wire):
            try:
                return peer.until(lambda: False, 0.01).closed
            except AssertionError:
                return False
        try:
            return sock.recv(4096) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


@pytest.fixture
def bounded(siege):
    """Around an attack: the honest agent is served during and after it, and the collector stays small."""
    siege.forget_memory()
    yield siege
    siege.honest.check()
    assert siege.memory_mib() < MEMORY_MIB


def flood(wire, chunks, read=True):
    """Send all of it while reading what comes, as long as the server takes it. True: it took all. False: it has closed, or takes
    no more."""
    wire.socket.setblocking(False)
    out, taken = b"", time.monotonic()
    chunks = iter(chunks)
    while time.monotonic() < taken + 3 * SLOW:
        out = out or next(chunks, b"")
        if not out:
            wire.socket.setblocking(True)
            return True
        try:
            out = out[wire.socket.send(out[:16384]):]
            taken = time.monotonic()
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            select.select([wire.socket] if read else [], [wire.socket], [], 0.1)
        except (ssl.SSLError, OSError):
            return False
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError, OSError):
            while read and (data := wire.socket.recv(65536)):
                wire.received += data
    return False


def is_closed(wire, timeout):
    """The server ends the connection."""
    return wire.until(lambda: False, timeout).closed


def ids(n):
    return range(1, 2 * n, 2)


def in_chunks(frames, n=1000):
    """Bytes of n frames at a time."""
    frames = iter(frames)
    while chunk := b"".join(itertools.islice(frames, n)):
        yield chunk


def huge_header(w):
    """HPACK: a field of 4 kB goes into the dynamic table once, and is named 20,000 times with a byte each (80 MB)."""
    indexed = b"\x40\x01x" + length(3900, 7) + b"y" * 3900
    return w.headers(1, flags=END_STREAM) + b"".join(
        frame(CONTINUATION, END_HEADERS if i == 4 else 0, 1, indexed + b"\xbe" * 12000 if i == 0 else b"\xbe" * 8000) for i in range(5))


UNREAD = {  # what is asked for and not read; each answer would wait in the collector
    "streams beyond the limit": lambda w: in_chunks(w.headers(n, w.request("/v1/policy?wait=60")) for n in ids(STREAMS)),
    "SETTINGS": lambda w: in_chunks(frame(SETTINGS) for _ in range(STREAMS)),
    "PING": lambda w: in_chunks(frame(PING, 0, 0, b"12345678") for _ in range(STREAMS)),
    "streams that the server resets": lambda w: in_chunks(w.headers(n, w.request("/v1/status", "POST"), END_HEADERS) + frame(WINDOW_UPDATE, 0, n, u32(0))
                                                          for n in ids(STREAMS)),
}
ENDED = {
    # CVE-2023-44487: each stream is reset as soon as it is open
    "rapid reset": lambda w: in_chunks(w.headers(n, w.request("/v1/policy?wait=60")) + frame(RST_STREAM, 0, n, u32(8)) for n in ids(STREAMS)),
    # CVE-2024-27316 and its kin: a header block without an end
    "CONTINUATION": lambda w: [w.headers(1, flags=END_STREAM)] + [frame(CONTINUATION, 0, 1, block([("x", "y" * 1000)]) * 10)] * 10000,
    "empty CONTINUATION": lambda w: [w.headers(1, flags=END_STREAM)] + [frame(CONTINUATION, 0, 1) * 1000] * 100,
    "streams beyond the limit": UNREAD["streams beyond the limit"],
    "PING": UNREAD["PING"],
    "SETTINGS": UNREAD["SETTINGS"],
    "settings that change": lambda w: in_chunks(frame(SETTINGS, 0, 0, settings((1, i % 2 << 31), (4, i % 7), (3, i))) for i in range(STREAMS)),
}
ENDURED = {  # costs the collector no more than the reading of it
    "empty DATA": lambda w: itertools.chain([w.headers(1, w.request("/v1/status", "POST"), END_HEADERS)], in_chunks(frame(DATA, 0, 1) for _ in range(STREAMS))),
    "DATA of padding": lambda w: itertools.chain([w.headers(1, w.request("/v1/status", "POST"), END_HEADERS)],
                                                 in_chunks(frame(DATA, PADDED, 1, b"\x00") for _ in range(STREAMS))),
    "PRIORITY": lambda w: in_chunks(frame(PRIORITY, 0, n, u32(n + 2) + b"\x10") for n in ids(STREAMS)),
    "WINDOW_UPDATE": lambda w: in_chunks(frame(WINDOW_UPDATE, 0, 0, u32(1)) for _ in range(STREAMS)),
    "unknown frames": lambda w: in_chunks(frame(0x42, 0, 0, b"x" * 100) for _ in range(STREAMS)),
}


@pytest.mark.parametrize("name", ENDED)
def test_flood_is_ended(bounded, name):
    with bounded.wire(bounded.attacker) as w:
        flood(w, ENDED[name](w))
        assert is_closed(w, 30 * SLOW)


@pytest.mark.parametrize("name", UNREAD)
def test_answers_that_nobody_reads(bounded, name):
    """The connection is ended before its answers fill the memory, or not read from until they are taken."""
    with bounded.wire(bounded.attacker) as w:
        flood(w, UNREAD[name](w), read=False)
        bounded.honest.check()
    assert bounded.memory_mib() < MEMORY_MIB


@pytest.mark.parametrize("name", ENDURED)
def test_flood_is_endured(bounded, name):
    with bounded.wire(bounded.attacker) as w:
        assert flood(w, ENDURED[name](w)), w.until(lambda: False, 5)
        status, _ = w.ask(2 * STREAMS + 1, w.request(), timeout=60 * SLOW)
        assert status == 200


def test_100k_streams(bounded):
    """One after the other over one connection: answered, or told to wait, and nothing is left of them."""
    with bounded.wire(bounded.attacker) as w:
        fields = block(w.request("/v1/nothing"))
        for at in range(0, STREAMS, 8):
            numbers = range(2 * at + 1, 2 * at + 17, 2)
            w.send(b"".join(frame(HEADERS, END_STREAM | END_HEADERS, n, fields) for n in numbers))
            w.answer(numbers[-1], 60 * SLOW)
        o = w.outcome
        assert not o.reset and set(o.status.values()) == {404} and len(o.status) == STREAMS


@pytest.mark.parametrize("make,statuses", [
    (lambda w: w.headers(1, w.request() + [("x", "y" * 5400)] * 3), {431}),
    (lambda w: w.headers(1, w.request() + [("x", "")] * 500), {431}),
    (lambda w: w.headers(1, w.request() + [("cookie", "a=b")] * 460), {431}),
    (huge_header, {431, None})], ids=["long", "many", "cookies", "HPACK"])
def test_headers_beyond_the_limit(bounded, make, statuses):
    with bounded.wire(bounded.attacker) as w:
        w.send(make(w))
        o = w.answer(1, 30 * SLOW)
        assert o.status.get(1) in statuses, o
        if o.status.get(1):
            assert b"larger than 16384" in o.body[1]
        else:
            assert o.goaway or o.reset, o


# ---- too many ----

def crowd(siege, n, port):
    """Connections that say nothing."""
    def work():
        return [socket.create_connection(("127.0.0.1", port), timeout=60 * SLOW) for _ in range(n)]
    return inside(siege.site.holder.pid, work)


@pytest.mark.parametrize("n,port", [(3500, AGENTS), (1300, PAGE)], ids=["agents", "page"])
def test_silent_strangers_keep_nobody_out(bounded, n, port):
    sockets = crowd(bounded, n, port)
    try:
        began = time.monotonic()
        with bounded.wire(None, port) as w:
            status, _ = w.ask(1, w.request("/v1/policy" if port == AGENTS else "/api/v1/session"), timeout=20 * SLOW)
        assert status == 401 and time.monotonic() - began < 3 * SLOW
    finally:
        for s in sockets:
            s.close()


def test_connections_of_one_device(bounded):
    """The newest hold: a laptop's old ones may be dead and not know it."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(bounded.wire(bounded.attacker)) for _ in range(30)]
        assert all(w.ask(1, w.request(), timeout=20 * SLOW)[0] == 200 for w in wires[-8:])
        first = wires[0].until(lambda: False, 20 * SLOW)
        assert first.closed and first.goaway == "ENHANCE_YOUR_CALM"


def test_unfinished_bodies(bounded):
    """Strangers fill their own room: whoever comes after them is told to come again."""
    refused = None
    with contextlib.ExitStack() as stack:
        for _ in range(80):
            w = stack.enter_context(bounded.wire())
            for n in ids(8):
                w.send(w.headers(n, w.request("/v1/enrol", "POST", content_type="application/json"), END_HEADERS) + frame(DATA, 0, n, b"{" * 15000))
            o = w.settled(20 * SLOW)
            refused = next((n for n, status in o.status.items() if status == 503), None)
            if refused:
                assert b"too much is being received" in o.body[refused] and int(o.headers[refused]["retry-after"]) > 0
                break
        assert refused, "there was room for everything"
        bounded.honest.check()


def processor_s(siege):
    """Seconds of processor that the collector has had."""
    fields = pathlib.Path(f"/proc/{siege.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_more_than_a_share_of_the_loop(bounded):
    """A device that makes the collector work: 429 after a while, and service again after Retry-After."""
    rle = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", 8 << 20) + (b"\x02\x00\x10" + b"{") * 63 + b"\x03\x00\x10" + b"{"  # 8 MiB of braces
    device = bounded.device()
    with bounded.wire(device) as w:
        fields = w.request("/v1/reports", "POST", content_type="application/x-ndjson", content_encoding="zstd")
        w.settled(20 * SLOW)
        n, began, cpu_s = -1, time.monotonic(), processor_s(bounded)
        while 429 not in w.outcome.status.values() and n < 3000:
            batch, n = range(n + 2, n + 18, 2), n + 16
            w.send(b"".join(w.headers(i, fields, END_HEADERS) + frame(DATA, END_STREAM, i, rle) for i in batch))
            for i in batch:
                w.answer(i, 60 * SLOW)
        seen = set(w.outcome.status.values())
        if seen == {400} and processor_s(bounded) - cpu_s < 2 + (time.monotonic() - began) / 3:
            pytest.skip("the processors are too busy with others for one device to take its share")
        assert seen == {400, 429}
        refused = max(i for i, status in w.outcome.status.items() if status == 429)
        assert b"too many requests" in w.outcome.body[refused]
        wait_s = int(w.outcome.headers[refused]["retry-after"])
        assert 1 <= wait_s < 60

        def served():
            nonlocal n
            n += 2
            return w.ask(n, w.request(), timeout=20 * SLOW)[0] == 200
        wait_for(served, (wait_s + 5) * SLOW, "service after Retry-After")
    assert device.send().status == 200


# ---- TLS ----

def s_client(siege, *args, input=b""):
    return subprocess.run([*siege.site.prefix, "openssl", "s_client", "-connect", f"127.0.0.1:{AGENTS}", *args], input=input, capture_output=True,
                          timeout=60 * SLOW, check=False)


def test_tls_that_is_not_spoken(bounded):
    for args, reason in ((("-tls1_2",), b"alert protocol version"), (("-alpn", "http/1.1"), b"alert no application protocol"),
                         (("-alpn", "h2", "-groups", "X448"), None), (("-alpn", "h2", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"), b"alert handshake failure")):
        r = s_client(bounded, *args)
        assert reason is None or reason in r.stderr, (args, r.stderr)
    with pytest.raises((ssl.SSLError, ConnectionError)), bounded.wire(alpn=()) as w:
        assert w.settled(10 * SLOW).closed
        raise ConnectionError


def test_key_updates_and_records(bounded):
    """New keys a thousand times; frames in records of one byte."""
    s_client(bounded, "-alpn", "h2", input=b"K\n" * 1000)
    with bounded.wire(bounded.attacker) as w:
        for byte in w.headers():
            w.send(bytes([byte]))
        assert w.answer(1, 20 * SLOW).status == {1: 200}


# ---- too slow ----

SLOW_ENDS = {  # seconds after which it ends, and what the client hears before
    "nothing at all": 5, "a hello byte by byte": 5, "a handshake, then nothing": 5, "a preface byte by byte": 5, "a preface, then nothing": 5,
    "a frame's head byte by byte": 5, "headers without an end": 5, "a stranger's silence": 10, "an answer without a window": 30,
    "a body byte by byte": 45,
}


def test_slow(bounded):
    bounded.slow.join(80 * SLOW)
    assert set(bounded.slow.ends) == set(SLOW_ENDS), set(SLOW_ENDS) - set(bounded.slow.ends)
    for what, (seconds, outcome) in bounded.slow.ends.items():
        assert seconds < SLOW_ENDS[what] + 3 * SLOW, (what, seconds)
        if "body" in what:
            assert outcome.status == {1: 408} and b"too slowly" in outcome.body[1], (what, outcome)
        elif what == "an answer without a window":
            assert outcome.status == {1: 200} and outcome.goaway == "ENHANCE_YOUR_CALM", (what, outcome)
