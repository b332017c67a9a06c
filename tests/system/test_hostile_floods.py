# SPDX-License-Identifier: GPL-3.0-or-later
"""More of everything than there is room for, and slower than anybody: bounded memory, an end in time, others are served."""
import contextlib
import os
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
    """Send all of it while reading what comes, as long as the server takes it. True: it took all."""
    wire.socket.setblocking(False)
    chunks, out = iter(chunks), b""
    end = time.monotonic() + 60 * SLOW
    while time.monotonic() < end:
        if not out:
            out = next(chunks, b"")
            if not out:
                wire.socket.setblocking(True)
                return True
        try:
            out = out[wire.socket.send(out):]
            if read:
                with contextlib.suppress(ssl.SSLWantReadError):
                    while data := wire.socket.recv(65536):
                        wire.received += data
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            select.select([wire.socket] if read else [], [wire.socket], [], 0.1)
        except (ssl.SSLError, OSError):
            break
    wire.socket.setblocking(True)
    return False


def refused(siege, chunks, **more):
    """The flood is ended by the server. What it said."""
    with siege.wire(siege.attacker) as w:
        took_all = flood(w, chunks, **more)
        outcome = w.settled(30 * SLOW)
    assert outcome.closed, (took_all, outcome)
    return outcome


def endured(siege, chunks, last):
    """The flood is taken, and the connection still serves stream `last`."""
    with siege.wire(siege.attacker) as w:
        assert flood(w, chunks), w.until(lambda: False, 5)
        status, _ = w.ask(last, w.request(), timeout=60 * SLOW)
        assert status == 200


def rapid_reset(w):
    """CVE-2023-44487: each stream is reset as soon as it is open."""
    return (b"".join(w.headers(n, w.request("/v1/policy?wait=60")) + frame(RST_STREAM, 0, n, u32(8)) for n in range(at, at + 200, 2))
            for at in range(1, 2 * STREAMS, 200))


FLOODS = {
    "rapid reset": rapid_reset,
    # CVE-2024-27316 and its kin: a header block without an end
    "CONTINUATION": lambda w: [w.headers(1, flags=END_STREAM)] + [frame(CONTINUATION, 0, 1, block([("x", "y" * 1000)]) * 10)] * 10000,
    "empty CONTINUATION": lambda w: [w.headers(1, flags=END_STREAM)] + [frame(CONTINUATION, 0, 1) * 1000] * 1000,
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_is_ended(bounded, name):
    with bounded.wire(bounded.attacker) as w:
        flood(w, FLOODS[name](w))
        assert w.settled(30 * SLOW).closed
