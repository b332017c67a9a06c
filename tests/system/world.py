#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the fake internet: a resolver that knows every name, and one TCP and one UDP
server to which the namespace redirects every other port of every address.

    world.py DIR        run in the world's network namespace; DIR holds ca.pem, ca.key

What arrives is written to DIR/world.jsonl, one line each, so that a test can ask from outside
whether something got through:
    {"kind": "dns", "name", "type", "protocol"}     {"kind": "tcp", "address" (or "mptcp"), "port", "client"}
    {"kind": "tls", "name", "ech", as tcp}          {"kind": "http", "name", "path", as tcp}
    {"kind": "udp", "address", "port", "size"}      {"kind": "socks", "name", as tcp}
"""
import datetime
import errno
import hashlib
import ipaddress
import json
import os
import re
import select
import socket
import socketserver
import ssl
import struct
import sys
import tempfile
import threading
import time
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from dnslib import AAAA, A, CNAME, DNSLabel, DNSRecord, EDNS0, QTYPE, RCODE, RD, RR
import h2.config
import h2.connection
import h2.events
import h2.exceptions

import sites

DNS_PORT, ANY_PORT, MPTCP_PORT = 5300, 4400, 4401  # where the namespace redirects port 53, all other ports, and clients of MPTCP
SHARED4, SHARED6 = "104.18.32.47", "2606:4700:4400::6812:202f"  # one front for many sites
SHARED = (r"(web\.whatsapp\.com|([a-z0-9-]+\.)*discord\.com|www\.example\.org|innocent\.shop\.example"
          r"|tr\.snapchat\.com|scdn\.line-apps\.com)$")
# suffix -> exclusive addresses; a name in none of the tables gets addresses of its own
EXCLUSIVE = {
    "telegram.org": ("149.154.167.99", "2001:67c:4e8:f004::9"),
    "t.me": ("149.154.167.98", "2001:67c:4e8:f004::8"),
    "dns.google": ("8.8.8.8", "2001:4860:4860::8888"),
    "one.one.one.one": ("1.1.1.1", "2606:4700:4700::1111"),
    "onchannel.test": ("192.168.77.1", "fd77::1"),
}
# web-whatsapp-com.alias.example is another name for web.whatsapp.com; so are the following, by records of that type
ALIAS = r"([a-z0-9-]+)\.(alias|dname|svcb|https)\.example$"
ALIAS_TYPES = {"dname": (39, b""), "svcb": (64, b"\0\0"), "https": (65, b"\0\1")}  # and what stands before the target (RFC 9460 2.2)
SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; the same number for IPv6
REQUEST_MAX = 65536


def addresses(name):
    """(IPv4, IPv6) of any name; the same name always has the same."""
    name = name.lower().rstrip(".")
    if re.match(SHARED, name):
        return SHARED4, SHARED6
    for suffix, pair in EXCLUSIVE.items():
        if name == suffix or name.endswith("." + suffix):
            return pair
    h = hashlib.sha256(name.encode()).digest()
    # RFC 2544 and RFC 3849: ranges that belong to nobody, hence to no catalogue
    return f"198.{18 + h[0] % 2}.{h[1]}.{h[2]}", "2001:db8:" + ":".join(h[i:i + 2].hex() for i in range(0, 12, 2))


class Log:
    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, kind, **what):
        os.write(self.fd, json.dumps({"kind": kind, "time": time.monotonic(), **what}).encode() + b"\n")


class Authority:
    """Makes a certificate for whatever name is asked, when it is asked."""

    def __init__(self, folder):
        with open(f"{folder}/ca.pem", "rb") as f:
            self.certificate = x509.load_pem_x509_certificate(f.read())
        with open(f"{folder}/ca.key", "rb") as f:
            self.key = serialization.load_pem_private_key(f.read(), None)
        self.leaf_key = ec.generate_private_key(ec.SECP256R1())
        self.contexts = {}
        self.lock = threading.Lock()

    def context(self, name):
        with self.lock:
            if name not in self.contexts:
                self.contexts[name] = self._context(name)
            return self.contexts[name]

    def _context(self, name):
        try:
            alternative = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder()
                   .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
                   .issuer_name(self.certificate.subject).public_key(self.leaf_key.public_key())
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
                   .add_extension(x509.SubjectAlternativeName([alternative]), False)
                   .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False))
        pem = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        key = self.leaf_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                          serialization.NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = by_name
        with tempfile.NamedTemporaryFile() as f:
            f.write(key + pem)
            f.flush()
            context.load_cert_chain(f.name)
        return context


def by_name(tls, name, _):
    if hasattr(tls, "handler"):
        tls.context = tls.handler.named(name)


def make_authority(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fake Internet CA")])
    now = datetime.datetime.utcnow()
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
                   .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
    with open(f"{folder}/ca.pem", "wb") as f:
        f.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(f"{folder}/ca.key", "wb") as f:
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption()))


def answer(data, log, protocol):
    """The reply to a query, None for what is no query."""
    try:
        query = DNSRecord.parse(data)
    except Exception:  # dnslib raises whatever its parser stumbles over
        log.write("dns", name="", type="malformed", protocol=protocol)
        return None
    if query.header.qr:
        return None
    reply = query.reply()
    for question in query.questions:
        name, kind = str(question.qname), QTYPE[question.qtype]
        log.write("dns", name=name.rstrip(".").lower(), type=kind, protocol=protocol)
        alias = re.match(ALIAS, name.lower().rstrip("."))
        owner = question.qname
        if alias:
            owner = DNSLabel(alias.group(1).replace("-", "."))
            if alias.group(2) == "alias":
                reply.add_answer(RR(question.qname, QTYPE.CNAME, rdata=CNAME(owner), ttl=60))
            else:
                number, before = ALIAS_TYPES[alias.group(2)]
                target = b"".join(bytes([len(label)]) + label for label in owner.label) + b"\0"
                reply.add_answer(RR(question.qname, number, rdata=RD(before + target), ttl=60))
                continue
        four, six = addresses(str(owner))
        if name.endswith(".invalid."):
            reply.header.rcode = RCODE.NXDOMAIN
        elif kind in ("A", "ANY"):
            reply.add_answer(RR(owner, QTYPE.A, rdata=A(four), ttl=60))
        elif kind == "AAAA":
            reply.add_answer(RR(owner, QTYPE.AAAA, rdata=AAAA(six), ttl=60))
    if any(r.rtype == QTYPE.OPT for r in query.ar):
        reply.add_ar(EDNS0(udp_len=1232))
    return reply.pack()


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


class DnsUdp(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        reply = answer(data, self.server.log, "udp")
        if reply:
            sock.sendto(reply, self.client_address)


class DnsTcp(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(30)
        while True:
            size, = struct.unpack("!H", read_exactly(self.request, 2))
            reply = answer(read_exactly(self.request, size), self.server.log, "tcp")
            if not reply:
                return
            self.request.sendall(struct.pack("!H", len(reply)) + reply)


class AnyUdp(socketserver.BaseRequestHandler):
    """Echoes."""

    def handle(self):
        data, sock = self.request
        self.server.log.write("udp", address=self.client_address[0], port=self.client_address[1], size=len(data))
        sock.sendto(data, self.client_address)


def has_ech(hello):
    """Whether a ClientHello, as far as it is here, has the extension encrypted_client_hello (RFC 9849: 0xfe0d)."""
    try:
        at = 5 + 4 + 2 + 32  # record, handshake, version, random
        at += 1 + hello[at]  # session
        at += 2 + int.from_bytes(hello[at:at + 2], "big")  # ciphers
        at += 1 + hello[at] + 2  # compression, size of the extensions
        while at < len(hello):
            kind, size = struct.unpack_from("!HH", hello, at)
            if kind == 0xfe0d:
                return True
            at += 4 + size
    except (IndexError, struct.error):
        pass
    return False


PROBE = """<!doctype html><title>ready</title><script>
async function probe(url) {
  const start = performance.now();
  try { await fetch(url, {mode: 'no-cors', cache: 'no-store'}); return ['ok', performance.now() - start]; }
  catch (e) { return [String(e), performance.now() - start]; }
}</script>"""

# A shop's page with parts of messengers, as shops have them: window.parts says what became of each.
EMBEDDED = """<!doctype html><title>shop</title><h1>fine wares</h1>
<script>parts = {}; note = (part, what) => { parts[part] = what; }</script>
<script src="https://tr.snapchat.com/pixel.js" onload="note('pixel', 'loaded')" onerror="note('pixel', 'failed')"></script>
<img src="https://scdn.line-apps.com/n/line_add_friends/btn/ja.png" alt="line" onload="note('button', 'loaded')">
<script src="https://web.whatsapp.com/widget.js" onload="note('widget', 'loaded')" onerror="note('widget', 'failed')"></script>
<img src="https://cdn.discordapp.com/avatar.png" alt="discord" onload="note('picture', 'loaded')" onerror="note('picture', 'failed')">
<iframe src="https://discord.com/widget" width="300" height="100"></iframe>
<p><a href="https://t.me/shop">Telegram</a> <a href="https://signal.me/#p/1">Signal</a> <a href="https://line.me/ti/p/1">LINE</a>
<p id="basket">empty</p><script>document.getElementById("basket").textContent = "one thing";</script>"""
PICTURE = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")  # GIF, 1 by 1


def page(folder, name, path):
    """(status, content type, iterable of chunks) of any URL."""
    return sites.file(folder, name, path) or (200, *made_up(name, path))


def made_up(name, path):
    match = re.match(r"/bytes/(\d+)$", path)
    if match:
        size = int(match.group(1))
        return "application/octet-stream", (b"\0" * min(65536, size - i) for i in range(0, size, 65536))
    if path == "/stream":  # a download that never ends: whoever is cut off notices
        def drip():
            while True:
                yield b"drip\n"
                time.sleep(0.05)
        return "text/plain", drip()
    if path == "/probe":
        return "text/html", [PROBE.encode()]
    if path == "/embedded":
        return "text/html", [EMBEDDED.encode()]
    if path.endswith(".js"):
        return "text/javascript", [b";"]
    if path.endswith(".png"):
        return "image/gif", [PICTURE]
    return "text/html", [f"<!doctype html><title>{name}</title>this is {name}{path}\n".encode()]


class AnyTcp(socketserver.BaseRequestHandler):
    """TLS or plain, HTTP/2, HTTP/1.1 or anything else, by the first byte."""

    def handle(self):
        sock, self.name = self.request, ""
        sock.settimeout(60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.where = {**self._destination(), "client": self.client_address[0].removeprefix("::ffff:")}
        self.server.log.write("tcp", **self.where)
        self._serve(sock)

    def _serve(self, sock):
        first = sock.recv(1, socket.MSG_PEEK)
        if first == b"\x16":  # RFC 8446 5.1: handshake
            sock = self._tls(sock)
            if sock.selected_alpn_protocol() == "h2":
                self._http2(sock)
            else:
                self._http1(sock)
            sock.close()
        elif self._begins(sock, b"PRI "):  # RFC 9113 3.4
            self._http2(sock)
        elif first.isalpha():
            self._http1(sock)
        elif first in (b"\x04", b"\x05"):
            self._socks(sock)
        elif first == b"<":
            self._starttls(sock)
        else:
            while sock.recv(REQUEST_MAX):
                pass

    @staticmethod
    def _begins(sock, with_what):
        """The client may write byte by byte, and a peek does not wait for more."""
        while start := sock.recv(len(with_what), socket.MSG_PEEK):
            if start == with_what or not with_what.startswith(start):
                return start == with_what
            time.sleep(0.001)
        return False

    def _destination(self):
        v6 = not self.client_address[0].startswith("::ffff:")
        level, size = (socket.IPPROTO_IPV6, 28) if v6 else (socket.IPPROTO_IP, 16)
        try:
            raw = self.request.getsockopt(level, SO_ORIGINAL_DST, size)
        except OSError as e:
            if e.errno != errno.EOPNOTSUPP:
                raise
            return {"address": "mptcp", "port": 0}  # its sockets do not tell
        port, = struct.unpack_from("!H", raw, 2)
        address = raw[8:24] if v6 else raw[4:8]
        return {"address": str(ipaddress.ip_address(address)), "port": port}

    def _tls(self, sock):
        self.ech = has_ech(sock.recv(REQUEST_MAX, socket.MSG_PEEK))
        tls = self.server.authority.context(self.where["address"]).wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        tls.handler = self
        tls.do_handshake()
        return tls

    def named(self, name):
        """The context for a name that a hello says. A second hello may say another one, and is heard as long as the context
        of the first lives (before CVE-2026-19445 was mended in Python: also later)."""
        self.name = name or ""
        self.server.log.write("tls", name=self.name, ech=self.ech, **self.where)
        return self.server.authority.context((name or self.where["address"]).lower())

    def _starttls(self, sock):
        """RFC 6120 5.4.2.1: behind that element TLS begins."""
        said = b""
        while not re.search(rb"<starttls[^>]*/>", said):
            said += read_exactly(sock, 1)
        self._serve(sock)

    def _socks(self, sock):
        """RFC 1928 without a login, and version 4A; then whatever the client says through it."""
        if read_exactly(sock, 1) == b"\x05":
            read_exactly(sock, read_exactly(sock, 1)[0])
            sock.sendall(b"\x05\x00")
            kind = read_exactly(sock, 4)[3]
            size = {1: 4, 4: 16}.get(kind) or read_exactly(sock, 1)[0]
            name, done = read_exactly(sock, size), b"\x05\x00\x00\x01" + bytes(6)
            read_exactly(sock, 2)
        else:
            read_exactly(sock, 7)
            name, done = [b"".join(iter(lambda: read_exactly(sock, 1), b"\0")) for _ in range(2)][1], b"\x00\x5a" + bytes(6)
        self.server.log.write("socks", name=name.decode("latin-1"), **self.where)
        sock.sendall(done)
        self._serve(sock)

    @staticmethod
    def _body(sock, head, buffered):
        """(body of a request, what follows it)."""
        size = re.search(rb"(?mi)^content-length:\s*(\d+)", head)
        size = int(size.group(1)) if size else 0
        if size > len(buffered):
            buffered += read_exactly(sock, size - len(buffered))
        return buffered[:size], buffered[size:]

    def _http1(self, sock):
        buffered = b""
        while True:
            while b"\r\n\r\n" not in buffered:
                more = sock.recv(4096 if isinstance(sock, ssl.SSLSocket) else 1)  # what follows CONNECT is not ours
                if not more or len(buffered) > REQUEST_MAX:
                    return
                buffered += more
            head, _, buffered = buffered.partition(b"\r\n\r\n")
            match = re.match(rb"([A-Z]+) (\S+) HTTP/1\.[01]", head)
            if not match:
                return
            host = re.search(rb"(?mi)^host:\s*([^\r:]*)", head)
            name, path = host.group(1).decode("latin-1") if host else "", match.group(2).decode("latin-1")
            self.server.log.write("http", name=name, path=path, **self.where)
            body, buffered = self._body(sock, head, buffered)
            if match.group(1) == b"CONNECT":
                sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                self._serve(sock)
                return
            method = match.group(1).decode()
            if sites.websocket(sock, head):
                return
            answer = sites.git(self.server.folder, method, path, head, body)
            if answer:
                sock.sendall(b"".join(answer))
                continue
            status, kind, chunks = page(self.server.folder, name, path)
            sock.sendall(f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}\r\ncontent-type: {kind}\r\naccess-control-allow-origin: *\r\n"
                         "transfer-encoding: chunked\r\n\r\n".encode())
            if method != "HEAD":
                for chunk in chunks:
                    sock.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            sock.sendall(b"0\r\n\r\n")

    def _http2(self, sock):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        sock.sendall(connection.data_to_send())
        answers = {}  # stream -> iterator of what is still to send, rest of a chunk
        while True:
            # With answers under way look for input without waiting, so that /stream keeps dripping.
            if not answers or (isinstance(sock, ssl.SSLSocket) and sock.pending()) or select.select([sock], [], [], 0)[0]:
                data = sock.recv(REQUEST_MAX)
                if not data:
                    return
                for event in connection.receive_data(data):
                    self._http2_event(connection, event, answers)
            for stream in list(answers):
                self._http2_send(connection, stream, answers)
            sock.sendall(connection.data_to_send())

    def _http2_event(self, connection, event, answers):
        if isinstance(event, h2.events.RequestReceived):
            headers = {k.decode(): v.decode() for k, v in
                       ((k if isinstance(k, bytes) else k.encode(), v if isinstance(v, bytes) else v.encode())
                        for k, v in event.headers)}
            self.server.log.write("http", name=headers[":authority"], path=headers[":path"], **self.where)
            status, kind, chunks = page(self.server.folder, headers[":authority"], headers[":path"])
            offers = [("alt-svc", 'h3=":443"')] * headers[":path"].startswith("/alt-svc")  # RFC 9114 3.1.1
            connection.send_headers(event.stream_id, [(":status", str(status)), ("content-type", kind),
                                                      ("access-control-allow-origin", "*"), *offers])
            answers[event.stream_id] = [iter(chunks), b""]
        elif isinstance(event, h2.events.DataReceived):
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            answers.pop(event.stream_id, None)

    @staticmethod
    def _http2_send(connection, stream, answers):
        chunks, rest = answers[stream]
        rest = rest or next(chunks, None)
        if rest is None:
            connection.end_stream(stream)
            del answers[stream]
            return
        size = min(len(rest), connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
        connection.send_data(stream, rest[:size])
        answers[stream][1] = rest[size:]
        if not size:
            time.sleep(0.001)


class Tcp(socketserver.ThreadingTCPServer):
    address_family, allow_reuse_address, daemon_threads, request_queue_size = socket.AF_INET6, True, True, 256
    protocol = 0

    def server_bind(self):
        self.socket.close()
        self.socket = socket.socket(self.address_family, self.socket_type, self.protocol)
        if not self.protocol:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 256)
        super().server_bind()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, h2.exceptions.H2Error)):  # a client that goes away is none
            super().handle_error(request, client_address)


class Mptcp(Tcp):
    protocol = 262


class Udp(socketserver.UDPServer):  # one thread: answers keep the order of the questions
    address_family, allow_reuse_address = socket.AF_INET6, True


def main(folder):
    log, authority = Log(f"{folder}/world.jsonl"), Authority(folder)
    servers = [Tcp(("::", DNS_PORT), DnsTcp), Udp(("::", DNS_PORT), DnsUdp), Tcp(("::", ANY_PORT), AnyTcp), Mptcp(("::", MPTCP_PORT), AnyTcp),
               Udp(("::", ANY_PORT), AnyUdp)]
    for server in servers:
        server.log, server.authority, server.folder = log, authority, folder
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
