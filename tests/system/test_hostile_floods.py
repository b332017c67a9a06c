# SPDX-License-Identifier: GPL-3.0-or-later
"""More of everything than there is room for, and slower than anybody: bounded memory, an end in time, others are served."""
import contextlib
import itertools
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from siege import AGENTS, PAGE, SLOW, Siege, zstd_stored
from wire import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
                  Wire, block, frame, inside, length, settings, u32)

MEMORY_MIB = 96  # VmHWM of the collector, in each attack
HEADERS_S = 5  # HEADERS_MS of the collector: a handshake, a first request, a header block
STREAMS = 100_000


@pytest.fixture(scope="module")
def siege():
    s = Siege()
    s.attacker = s.device()
    yield s
    s.close()


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
