# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/2 that breaks the rules: each breach has its answer of RFC 9113 or RFC 7541, and an honest agent notices nothing."""
import pytest

from siege import AGENTS, SLOW, Siege
from wire import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITISED, PRIORITY,
                  PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, length, settings, u32)

MEMORY_MIB = 64  # VmHWM of the collector through all of this file's conformance cases


@pytest.fixture(scope="module")
def siege():
    s = Siege()
    s.attacker = s.device()
    s.forget_memory()
    yield s
    s.close()


def connection(*errors):
    """RFC 9113 5.4.1: GOAWAY with the error, then the connection is closed."""
    def check(outcome):
        assert outcome.goaway in errors and outcome.closed, outcome
    return check


def stream(error, number=1):
    """RFC 9113 5.4.2: RST_STREAM with the error; the connection lives, or ends with the same error, which 5.4.2 allows."""
    def check(outcome):
        assert outcome.reset.get(number) == error or outcome.goaway == error, outcome
    return check


def answered(status=200, number=1):
    """This stream alone got an answer, and the connection lives."""
    def check(outcome):
        assert outcome.status.get(number) == status and not outcome.goaway, outcome
    check.number = number
    return check


def ignored(outcome):
    assert outcome.goaway is None and not outcome.closed and not outcome.reset, outcome


def closed(outcome):
    assert outcome.closed, outcome


PROTOCOL, FRAME_SIZE, COMPRESSION, FLOW, STREAM_CLOSED = (
    e + "_ERROR" if e != "STREAM_CLOSED" else e for e in ("PROTOCOL", "FRAME_SIZE", "COMPRESSION", "FLOW_CONTROL", "STREAM_CLOSED"))
HELD = "/v1/policy?wait=60"  # stays open: half-closed (remote)
JSON = {"content_type": "application/json"}


def open_stream(w):
    """Stream 1 is open: a status whose body is to come."""
    return w.headers(1, w.request("/v1/status", "POST", **JSON), END_HEADERS)


def held(w):
    return w.headers(1, w.request(HELD))


def ended(w):
    """Stream 1 has been answered and is closed."""
    w.send(w.headers(1))
    w.answer(1)
    return b""


def reset(w):
    return open_stream(w) + frame(RST_STREAM, 0, 1, u32(8))


def ask(w, number=1, **more):
    return w.headers(number, w.request(**more))


def with_fields(*fields, base=None, flags=END_STREAM | END_HEADERS):
    return lambda w: w.headers(1, (w.request() if base is None else base) + list(fields), flags)


def pseudo(w, drop=(), **change):
    """A request whose pseudo-header fields are changed or missing."""
    return [(n, change.get(n[1:], v)) for n, v in w.request() if n[1:] not in drop]


def posted(size, *chunks):
    """A body that is announced with `size` and comes in these chunks."""
    def make(w):
        fields = w.request("/v1/status", "POST", content_length=str(size), **JSON)
        frames = [frame(DATA, END_STREAM if i == len(chunks) - 1 else 0, 1, c) for i, c in enumerate(chunks)]
        return w.headers(1, fields, END_HEADERS | (0 if chunks else END_STREAM)) + b"".join(frames)
    return make


def raw(*blocks, flags=END_STREAM | END_HEADERS):
    """A request whose header block ends with these bytes."""
    return lambda w: frame(HEADERS, flags, 1, block(w.request()) + b"".join(blocks))


BEGUN = END_STREAM  # a header block that goes on in CONTINUATION


CASES = {
    # RFC 9113 3.4, 4.1
    "3.4 preface is not HTTP/2": (lambda w: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"\0" * 64, closed, b""),
    "3.4 preface with one wrong byte": (lambda w: PREFACE[:-1] + b"\r" + frame(SETTINGS), closed, b""),
    "3.4 first frame is no SETTINGS": (lambda w: PREFACE + w.headers(), connection(PROTOCOL), b""),
    "4.1 unknown frame type": (lambda w: frame(0x42, 0xff, 0, b"?" * 100) + ask(w), answered()),
    "4.1 unknown frame type on a stream": (lambda w: open_stream(w) + frame(0x16, 0, 1, b"?" * 8), ignored),
    "4.1 undefined flags": (lambda w: frame(PING, 0xf6, 0, b"12345678") + ask(w), answered()),
    "4.1 reserved bit": (lambda w: frame(PING, 0, 0x80000000, b"12345678") + ask(w), answered()),
    # 4.2
    "4.2 DATA larger than SETTINGS_MAX_FRAME_SIZE": (lambda w: open_stream(w) + frame(DATA, 0, 1, b"x" * 16385), stream(FRAME_SIZE)),
    "4.2 HEADERS larger": (lambda w: frame(HEADERS, END_STREAM | END_HEADERS, 1, block(w.request() + [("x", "y" * 16400)])), connection(FRAME_SIZE)),
    "4.2 SETTINGS larger": (lambda w: frame(SETTINGS, 0, 0, settings((0x99, 1)) * 2731), connection(FRAME_SIZE)),
    "4.2 unknown frame larger": (lambda w: frame(0x42, 0, 0, b"x" * 16385), connection(FRAME_SIZE)),
    "4.2 a head that promises 16 MiB": (lambda w: frame(0x42, 0, 0, b"", 0xffffff), connection(FRAME_SIZE)),
    # 4.3
    "4.3 header block that is none": (lambda w: frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"), connection(COMPRESSION)),
    "4.3 header block, then PRIORITY": (lambda w: w.headers(1, flags=BEGUN) + frame(PRIORITY, 0, 1, u32(3) + b"\x10"), connection(PROTOCOL)),
    "4.3 header block, then HEADERS of another stream": (lambda w: w.headers(1, flags=BEGUN) + w.headers(3), connection(PROTOCOL)),
    "4.3 header block, then DATA": (lambda w: w.headers(1, flags=BEGUN) + frame(DATA, END_STREAM, 1, b"x"), connection(PROTOCOL)),
    "4.3 header block, then PING": (lambda w: w.headers(1, flags=BEGUN) + frame(PING, 0, 0, b"12345678"), connection(PROTOCOL)),
    "4.3 header block, then SETTINGS": (lambda w: w.headers(1, flags=BEGUN) + frame(SETTINGS), connection(PROTOCOL)),
    "4.3 header block, then an unknown frame": (lambda w: w.headers(1, flags=BEGUN) + frame(0x42, 0, 1, b"x"), connection(PROTOCOL)),
    # 5.1
    "5.1 idle: DATA": (lambda w: frame(DATA, END_STREAM, 1, b"x"), connection(PROTOCOL)),
    "5.1 idle: RST_STREAM": (lambda w: frame(RST_STREAM, 0, 1, u32(8)), connection(PROTOCOL)),
    "5.1 idle: WINDOW_UPDATE": (lambda w: frame(WINDOW_UPDATE, 0, 1, u32(100)), connection(PROTOCOL)),
    "5.1 idle: CONTINUATION": (lambda w: frame(CONTINUATION, END_HEADERS, 1, block(w.request())), connection(PROTOCOL)),
    "5.1 half-closed: DATA": (lambda w: held(w) + frame(DATA, END_STREAM, 1, b"x"), stream(STREAM_CLOSED)),
    "5.1 half-closed: HEADERS": (lambda w: held(w) + w.headers(), stream(STREAM_CLOSED)),
    "5.1 half-closed: CONTINUATION": (lambda w: held(w) + frame(CONTINUATION, END_HEADERS, 1, block([("a", "b")])), connection(PROTOCOL)),
    "5.1 half-closed: WINDOW_UPDATE, PRIORITY": (lambda w: held(w) + frame(WINDOW_UPDATE, 0, 1, u32(9)) + frame(PRIORITY, 0, 1, u32(0) + b"\x01"), ignored),
    # "MAY treat as a connection error": libnghttp2 keeps no closed streams and ignores these
    "5.1 reset: DATA": (lambda w: reset(w) + frame(DATA, END_STREAM, 1, b"x") + ask(w, 3), answered(number=3)),
    "5.1 reset: HEADERS": (lambda w: reset(w) + w.headers() + ask(w, 3), answered(number=3)),
    "5.1 closed: DATA": (lambda w: ended(w) + frame(DATA, END_STREAM, 1, b"x") + ask(w, 3), answered(number=3)),
    "5.1 closed: HEADERS": (lambda w: ended(w) + w.headers() + ask(w, 3), answered(number=3)),
    "5.1 closed: CONTINUATION": (lambda w: ended(w) + frame(CONTINUATION, END_HEADERS, 1, block([("a", "b")])), connection(PROTOCOL)),
    "5.1 closed: WINDOW_UPDATE, RST_STREAM, PRIORITY": (lambda w: ended(w) + frame(WINDOW_UPDATE, 0, 1, u32(9)) + frame(RST_STREAM, 0, 1, u32(8)) +
                                                        frame(PRIORITY, 0, 1, u32(0) + b"\x01"), ignored),
    "5.1 idle: PRIORITY": (lambda w: frame(PRIORITY, 0, 9, u32(0) + b"\x01") + ask(w), answered()),
    # 5.1.1, 5.1.2, 5.3
    "5.1.1 even stream": (lambda w: w.headers(2), connection(PROTOCOL)),
    "5.1.1 lower stream, which is closed": (lambda w: w.headers(5) + w.headers(3), answered(number=5)),
    "5.1.2 more streams than allowed": (lambda w: b"".join(w.headers(n, w.request(HELD)) for n in range(1, 41, 2)), stream("REFUSED_STREAM", 39)),
    "5.3 PRIORITY on itself": (lambda w: open_stream(w) + frame(PRIORITY, 0, 1, u32(1) + b"\x10"), stream(PROTOCOL)),
    "5.3 HEADERS on itself": (lambda w: frame(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, 1, u32(1) + b"\x10" + block(w.request())), stream(PROTOCOL)),
    # 6.1 DATA
    "6.1 DATA on stream 0": (lambda w: frame(DATA, 0, 0, b"x"), connection(PROTOCOL)),
    "6.1 DATA, padding as long as it": (lambda w: open_stream(w) + frame(DATA, PADDED | END_STREAM, 1, b"\x06" + b"x" * 5), connection(PROTOCOL)),
    "6.1 DATA, padded and empty": (lambda w: open_stream(w) + frame(DATA, PADDED | END_STREAM, 1), connection(FRAME_SIZE, PROTOCOL)),
    "6.1 DATA that is all padding": (lambda w: open_stream(w) + frame(DATA, PADDED, 1, b"\x05" + b"\0" * 5) + frame(DATA, END_STREAM, 1, b"{}"), answered()),
    # 6.2 HEADERS
    "6.2 HEADERS on stream 0": (lambda w: w.headers(0), connection(PROTOCOL)),
    "6.2 HEADERS, padding longer than it": (lambda w: frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\xff" + block(w.request())[:200]), connection(PROTOCOL)),
    "6.2 HEADERS, padded and empty": (lambda w: frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1), connection(FRAME_SIZE, PROTOCOL)),
    "6.2 HEADERS with half a priority": (lambda w: frame(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, 1, b"\0\0\0"), connection(FRAME_SIZE)),
    "6.2 HEADERS, padded": (lambda w: frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x20" + block(w.request()) + b"\0" * 32), answered()),
    # 6.3, 6.4
    "6.3 PRIORITY on stream 0": (lambda w: frame(PRIORITY, 0, 0, u32(1) + b"\x10"), connection(PROTOCOL)),
    "6.3 PRIORITY of four bytes": (lambda w: open_stream(w) + frame(PRIORITY, 0, 1, u32(3)), stream(FRAME_SIZE)),
    "6.4 RST_STREAM on stream 0": (lambda w: frame(RST_STREAM, 0, 0, u32(8)), connection(PROTOCOL)),
    "6.4 RST_STREAM of three bytes": (lambda w: open_stream(w) + frame(RST_STREAM, 0, 1, b"\0\0\x08"), connection(FRAME_SIZE)),
    # 6.5 SETTINGS
    "6.5 SETTINGS on a stream": (lambda w: frame(SETTINGS, 0, 1), connection(PROTOCOL)),
    "6.5 SETTINGS ack with a payload": (lambda w: frame(SETTINGS, ACK, 0, settings((3, 1))), connection(FRAME_SIZE)),
    "6.5 SETTINGS of five bytes": (lambda w: frame(SETTINGS, 0, 0, b"\0\1\0\0\0"), connection(FRAME_SIZE)),
    "6.5.2 ENABLE_PUSH 2": (lambda w: frame(SETTINGS, 0, 0, settings((2, 2))), connection(PROTOCOL)),
    "6.5.2 INITIAL_WINDOW_SIZE 2^31": (lambda w: frame(SETTINGS, 0, 0, settings((4, 1 << 31))), connection(FLOW)),
    "6.5.2 MAX_FRAME_SIZE 16383": (lambda w: frame(SETTINGS, 0, 0, settings((5, 16383))), connection(PROTOCOL)),
    "6.5.2 MAX_FRAME_SIZE 2^24": (lambda w: frame(SETTINGS, 0, 0, settings((5, 1 << 24))), connection(PROTOCOL)),
    "6.5.2 unknown setting": (lambda w: frame(SETTINGS, 0, 0, settings((0xabcd, 7))) + ask(w), answered()),
    "6.5.3 SETTINGS, many pairs": (lambda w: frame(SETTINGS, 0, 0, settings((3, 9)) * 30) + ask(w), answered()),
    # 6.6, 6.7, 6.8
    "6.6 PUSH_PROMISE": (lambda w: open_stream(w) + frame(PUSH_PROMISE, END_HEADERS, 1, u32(2) + block(w.request())), connection(PROTOCOL)),
    "6.7 PING on a stream": (lambda w: frame(PING, 0, 1, b"12345678"), connection(PROTOCOL)),
    "6.7 PING of seven bytes": (lambda w: frame(PING, 0, 0, b"1234567"), connection(FRAME_SIZE)),
    "6.7 PING ack of nothing": (lambda w: frame(PING, ACK, 0, b"12345678") + ask(w), answered()),
    "6.8 GOAWAY on a stream": (lambda w: frame(GOAWAY, 0, 1, u32(0) * 2), connection(PROTOCOL)),
    "6.8 GOAWAY of four bytes": (lambda w: frame(GOAWAY, 0, 0, u32(0)), connection(FRAME_SIZE)),
    # 6.9 WINDOW_UPDATE
    "6.9 WINDOW_UPDATE 0": (lambda w: frame(WINDOW_UPDATE, 0, 0, u32(0)), connection(PROTOCOL)),
    "6.9 WINDOW_UPDATE 0 on a stream": (lambda w: open_stream(w) + frame(WINDOW_UPDATE, 0, 1, u32(0)), stream(PROTOCOL)),
    "6.9 WINDOW_UPDATE of three bytes": (lambda w: frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), connection(FRAME_SIZE)),
    "6.9.1 window beyond 2^31-1": (lambda w: frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff)) * 2, connection(FLOW)),
    "6.9.1 a stream's window beyond 2^31-1": (lambda w: held(w) + frame(WINDOW_UPDATE, 0, 1, u32(0x7fffffff)) * 2, stream(FLOW)),
    "6.9.2 initial window that overflows a stream's": (lambda w: held(w) + frame(WINDOW_UPDATE, 0, 1, u32(0x7ffe0000)) +
                                                       frame(SETTINGS, 0, 0, settings((4, 0x7fffffff))), stream(FLOW)),
    "6.9.2 initial window of one byte": (lambda w: frame(SETTINGS, 0, 0, settings((4, 1))) + ask(w) +
                                         frame(WINDOW_UPDATE, 0, 1, u32(1)) * 9, answered()),
    # 6.10 CONTINUATION
    "6.10 CONTINUATION out of nothing": (lambda w: open_stream(w) + frame(CONTINUATION, END_HEADERS, 1, block([("a", "b")])), connection(PROTOCOL)),
    "6.10 CONTINUATION on stream 0": (lambda w: w.headers(1, flags=BEGUN) + frame(CONTINUATION, END_HEADERS, 0, b""), connection(PROTOCOL)),
    "6.10 CONTINUATION of another stream": (lambda w: w.headers(1, flags=BEGUN) + frame(CONTINUATION, END_HEADERS, 3, b""), connection(PROTOCOL)),
    "6.10 CONTINUATION after DATA": (lambda w: open_stream(w) + frame(DATA, 0, 1, b"{") + frame(CONTINUATION, END_HEADERS, 1, b""), connection(PROTOCOL)),
    "6.10 a few CONTINUATIONs": (lambda w: w.headers(1, flags=BEGUN) + frame(CONTINUATION, 0, 1, b"") + frame(CONTINUATION, END_HEADERS, 1, block([("a", "b")])), answered()),
    # 8.1: messages
    "8.1 HEADERS twice, the second not the last": (lambda w: open_stream(w) + w.headers(1, [("x-a", "b")], END_HEADERS), stream(PROTOCOL)),
    "8.1 trailers": (lambda w: open_stream(w) + frame(DATA, 0, 1, b"{}") + w.headers(1, [("x-a", "b")]), answered()),
    "8.1 pseudo-header in trailers": (lambda w: open_stream(w) + frame(DATA, 0, 1, b"{}") + w.headers(1, [(":path", "/")]), stream(PROTOCOL)),
    "8.1.1 content-length, less comes": (posted(10, b"{}"), stream(PROTOCOL)),
    "8.1.1 content-length, more comes": (posted(2, b"{   }"), stream(PROTOCOL)),
    "8.1.1 content-length, in two frames": (posted(5, b"{}", b"  "), stream(PROTOCOL)),
    "8.1.1 content-length, nothing comes": (posted(2), stream(PROTOCOL)),
    "8.1.1 content-length, right": (posted(4, b"{}", b"  "), answered()),
    "8.1.1 two content-lengths": (with_fields(("content-length", "0"), ("content-length", "1")), stream(PROTOCOL)),
    "8.1.1 content-length no number": (with_fields(("content-length", "-1")), stream(PROTOCOL)),
    "8.1.1 content-length of 2^64": (with_fields(("content-length", str(1 << 64))), stream(PROTOCOL)),
    # 8.2: fields
    "8.2 name in upper case": (with_fields(("X-Test", "a")), stream(PROTOCOL)),
    "8.2.1 empty name": (with_fields(("", "a")), stream(PROTOCOL)),
    "8.2.1 blank in a name": (with_fields(("x test", "a")), stream(PROTOCOL)),
    "8.2.1 colon in a name": (with_fields(("x:test", "a")), stream(PROTOCOL)),
    "8.2.1 NUL in a name": (with_fields(("x\0test", "a")), stream(PROTOCOL)),
    "8.2.1 byte above 127 in a name": (with_fields((b"x\xe9", "a")), stream(PROTOCOL)),
    "8.2.1 NUL in a value": (with_fields(("x-test", "a\0b")), stream(PROTOCOL)),
    "8.2.1 line end in a value": (with_fields(("x-test", "a\r\nset-cookie: b")), stream(PROTOCOL)),
    "8.2.1 blank around a value": (with_fields(("x-test", " a ")), stream(PROTOCOL)),
    "8.2.2 connection": (with_fields(("connection", "close")), stream(PROTOCOL)),
    "8.2.2 transfer-encoding": (with_fields(("transfer-encoding", "chunked")), stream(PROTOCOL)),
    "8.2.2 keep-alive": (with_fields(("keep-alive", "1")), stream(PROTOCOL)),
    "8.2.2 upgrade": (with_fields(("upgrade", "h2c")), stream(PROTOCOL)),
    "8.2.2 proxy-connection": (with_fields(("proxy-connection", "close")), stream(PROTOCOL)),
    "8.2.2 te: gzip": (with_fields(("te", "gzip")), stream(PROTOCOL)),
    "8.2.2 te: trailers": (with_fields(("te", "trailers")), answered()),
    "8.2.3 cookies apart": (with_fields(*[("cookie", f"c{i}=1") for i in range(20)]), answered()),
    # 8.3: pseudo-header fields
    "8.3 unknown": (lambda w: w.headers(1, [(":colour", "blue")] + w.request()), stream(PROTOCOL)),
    "8.3 one of answers": (lambda w: w.headers(1, [(":status", "200")] + w.request()), stream(PROTOCOL)),
    "8.3 behind a field": (lambda w: w.headers(1, [("a", "b")] + w.request()), stream(PROTOCOL)),
    "8.3.1 no :method": (lambda w: w.headers(1, pseudo(w, ["method"])), stream(PROTOCOL)),
    "8.3.1 no :scheme": (lambda w: w.headers(1, pseudo(w, ["scheme"])), stream(PROTOCOL)),
    "8.3.1 no :path": (lambda w: w.headers(1, pseudo(w, ["path"])), stream(PROTOCOL)),
    "8.3.1 empty :path": (lambda w: w.headers(1, pseudo(w, path="")), stream(PROTOCOL)),
    "8.3.1 :path without a slash": (lambda w: w.headers(1, pseudo(w, path="v1/policy")), stream(PROTOCOL)),
    "8.3.1 :path with a blank": (lambda w: w.headers(1, pseudo(w, path="/v1/policy x")), stream(PROTOCOL)),
    "8.3.1 :path twice": (lambda w: w.headers(1, w.request() + w.request()[3:]), stream(PROTOCOL)),
    "8.3.1 :method twice": (lambda w: w.headers(1, w.request()[:1] + w.request()), stream(PROTOCOL)),
    "8.3.1 :scheme twice": (lambda w: w.headers(1, w.request()[1:2] + w.request()), stream(PROTOCOL)),
    "8.3.1 :authority twice": (lambda w: w.headers(1, w.request()[2:3] + w.request()), stream(PROTOCOL)),
    "8.3.1 Host that is not :authority": (with_fields(("host", "evil.example")), answered(400)),
    "8.3.1 Host that is :authority": (lambda w: w.headers(1, w.request(host=w.authority)), answered()),
    "8.5 CONNECT with :path": (lambda w: w.headers(1, pseudo(w, method="CONNECT")), stream(PROTOCOL)),
    "8.5 CONNECT": (lambda w: w.headers(1, pseudo(w, ["scheme", "path"], method="CONNECT")), answered(400)),
    # RFC 7541
    "7541 2.3.3 index 0": (raw(b"\x80"), connection(COMPRESSION)),
    "7541 2.3.3 index beyond the tables": (raw(b"\xfe"), connection(COMPRESSION)),
    "7541 2.3.3 name's index beyond the tables": (raw(b"\x7e\x01a"), connection(COMPRESSION)),
    "7541 4.2 table size at the end": (raw(b"\x20"), connection(COMPRESSION)),
    "7541 4.2 table larger than allowed": (lambda w: frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x3f" + length(100000 + 31, 5)[1:] + block(w.request())),
                                           connection(COMPRESSION)),
    "7541 5.1 integer without end": (raw(b"\x7f" + b"\xff" * 20), connection(COMPRESSION)),
    "7541 5.1 integer of 2^70": (raw(b"\xff" + b"\x80" * 9 + b"\x7f"), connection(COMPRESSION)),
    "7541 5.2 string longer than the block": (raw(b"\x00\x01a\x7f\x21abc"), connection(COMPRESSION)),
    "7541 5.2 string that is cut short": (raw(b"\x00\x05abc"), connection(COMPRESSION)),
    "7541 5.2 Huffman padding of eight bits": (raw(b"\x00\x01a\x82\x1f\xff"), connection(COMPRESSION)),
    "7541 5.2 Huffman padding of zeros": (raw(b"\x00\x01a\x81\x18"), connection(COMPRESSION)),
    "7541 5.2 Huffman EOS": (raw(b"\x00\x01a\x84\xff\xff\xff\xff"), connection(COMPRESSION)),
}


@pytest.mark.parametrize("name", CASES)
def test_conformance(siege, name):
    make, check, *preface = CASES[name]
    with siege.wire(siege.attacker, preface=not preface) as w:
        w.send(make(w))
        if hasattr(check, "number"):
            w.answer(check.number, 20 * SLOW)
        check(w.settled(20 * SLOW))
    siege.honest.check()
    assert siege.memory_mib() < MEMORY_MIB
