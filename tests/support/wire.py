# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/2 by hand, so that it can be wrong: one TLS connection into a network namespace, frames as bytes (RFC 9113 4.1)."""
import ctypes
import os
import socket
import ssl
import struct
import threading
import time

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20
PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
ERRORS = ('NO_ERROR', 'PROTOCOL_ERROR', 'INTERNAL_ERROR', 'FLOW_CONTROL_ERROR', 'SETTINGS_TIMEOUT', 'STREAM_CLOSED', 'FRAME_SIZE_ERROR',
          'REFUSED_STREAM', 'CANCEL', 'COMPRESSION_ERROR', 'CONNECT_ERROR', 'ENHANCE_YOUR_CALM')
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def inside(pid, work):
    """What work() returns, called by a thread that is in the network namespace of the process."""
    result = []

    def run():
        fd = os.open(f'/proc/{pid}/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), 'setns')
            result.append(work())
        finally:
            os.close(fd)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result[0]


def frame(kind, flags=0, stream=0, payload=b'', size=None):
    """`size`: what the head says, when that is not the truth."""
    n = len(payload) if size is None else size
    return struct.pack('>I', n)[1:] + struct.pack('>BBI', kind, flags, stream) + payload


def settings(*pairs):
    return b''.join(struct.pack('>HI', *p) for p in pairs)


def u32(n):
    return struct.pack('>I', n)


def block(headers):
    """A header block of literals that leaves nothing in the dynamic table: no text of h2's stands between it and the wire."""
    def text(s):
        s = s if isinstance(s, bytes) else s.encode()
        return length(len(s), 7) + s
    return b''.join(b'\x00' + text(n) + text(v) for n, v in headers)


def length(n, bits):
    """RFC 7541 5.1"""
    top = (1 << bits) - 1
    if n < top:
        return bytes([n])
    out, n = bytearray([top]), n - top
    while n >= 128:
        out.append(n % 128 + 128)
        n //= 128
    return bytes(out + bytes([n]))


class Outcome:
    """What the server made of it: of the connection `goaway` (an error's name) and `closed`, of streams `reset`, `status`, `body`."""

    def __init__(self):
        self.goaway, self.closed, self.reset, self.status, self.body, self.headers, self.ended = None, False, {}, {}, {}, {}, set()

    def __repr__(self):
        return f'goaway={self.goaway} closed={self.closed} reset={self.reset} status={self.status}'


class Wire:
    def __init__(self, pid, port, ca, certificate=None, key=None, *, alpn=('h2',), preface=True, timeout=20):
        context = ssl.create_default_context(cafile=str(ca))
        context.check_hostname = False
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if certificate:
            context.load_cert_chain(certificate, key)
        self.decoder, self.received, self.settings_acked = hpack.Decoder(), b'', 0
        self.outcome, self.answered = Outcome(), set()
        self.greeted, self.window, self.owed = False, True, 0  # give back what was read
        plain = inside(pid, lambda: socket.create_connection(('127.0.0.1', port), timeout=timeout))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = context.wrap_socket(plain, server_hostname='localhost')
        except BaseException:
            plain.close()
            raise
        self.authority = f'localhost:{port}'
        if preface:
            self.send(PREFACE + frame(SETTINGS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        """False when the other side has closed."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return False
        return True

    def request(self, path='/v1/policy', method='GET', **more):
        """The fields of a request; `more` with '_' for '-'."""
        fields = [(':method', method), (':scheme', 'https'), (':authority', self.authority), (':path', path)]
        return fields + [(n.replace('_', '-'), v) for n, v in more.items()]

    def headers(self, stream=1, fields=None, flags=END_STREAM | END_HEADERS):
        return frame(HEADERS, flags, stream, block(fields or self.request()))

    # ---- reading ----

    def _take(self, n):
        while len(self.received) < n:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.received += data
        out, self.received = self.received[:n], self.received[n:]
        return out

    def _frame(self):
        head = self._take(9)
        payload = self._take(int.from_bytes(head[:3], 'big'))
        return head[3], head[4], int.from_bytes(head[5:9], 'big') & 0x7fffffff, payload

    def _note(self, kind, flags, stream, payload):
        o = self.outcome
        if kind == GOAWAY:
            o.goaway = ERRORS[int.from_bytes(payload[4:8], 'big')]
        elif kind == RST_STREAM:
            o.reset[stream] = ERRORS[int.from_bytes(payload, 'big')]
        elif kind == HEADERS:
            fields = dict(self.decoder.decode(payload))
            o.headers[stream] = fields
            o.status[stream] = int(fields[':status'])
        elif kind == DATA:
            o.body[stream] = o.body.get(stream, b'') + payload
            self.owed += len(payload)
            if self.owed > 16384 and self.window:
                self.send(frame(WINDOW_UPDATE, 0, 0, u32(self.owed)))
                self.owed = 0
        elif kind == SETTINGS and not flags & ACK:
            self.greeted = True
            self.send(frame(SETTINGS, ACK))
        elif kind == SETTINGS:
            self.settings_acked += 1
        elif kind == PING and flags & ACK:
            self.answered.add(payload)
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            o.ended.add(stream)

    def until(self, done, timeout=20):
        """Read until done(), or until the server closes; returns what came of everything so far."""
        end = time.monotonic() + timeout
        while not done():
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                self._note(*self._frame())
            except TimeoutError:
                raise AssertionError(f'nothing more came: {self.outcome}') from None
            except (EOFError, ConnectionResetError, BrokenPipeError, ssl.SSLError):
                self.outcome.closed = True
                break
        return self.outcome

    def settled(self, timeout=20):
        """What came of everything that was sent: a PING behind it is answered. That answer may overtake others of its turn,
        not the answer of a second one."""
        for _ in range(2):
            probe = os.urandom(8)
            self.send(frame(PING, 0, 0, probe))
            self.until(lambda: probe in self.answered, timeout)  # noqa: B023
        return self.outcome

    def answer(self, stream=1, timeout=20):
        """Until the stream has ended."""
        return self.until(lambda: stream in self.outcome.ended or stream in self.outcome.reset, timeout)

    def ask(self, stream, fields, body=None, timeout=20):
        """One whole, honest request; its status and its body as bytes."""
        if len(body or b'') > 65535:  # RFC 9113 6.9.2: the server's own window holds from its SETTINGS on
            self.until(lambda: self.greeted, timeout)
        out = self.headers(stream, fields, END_HEADERS | (END_STREAM if body is None else 0))
        for at in range(0, len(body or b''), 16384):
            out += frame(DATA, 0, stream, body[at:at + 16384])
        if body is not None:
            out += frame(DATA, END_STREAM, stream)
        self.send(out)
        o = self.answer(stream, timeout)
        return o.status.get(stream), o.body.get(stream, b'')
