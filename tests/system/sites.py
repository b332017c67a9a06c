# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites of the fake internet that are more than a page: files (DIR/www/HOST), git repositories (DIR/git) over
the smart protocol, and WebSockets that echo."""
import base64
import hashlib
import os
import re
import struct
import subprocess

WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
GIT_BACKEND = "/usr/lib/git-core/git-http-backend"


def file(folder, name, path):
    """(status, content type, chunks) of a host that has files; None: it has none."""
    root = os.path.join(folder, "www", os.path.basename(name))
    if not name or not os.path.isdir(root):
        return None
    found = os.path.normpath(root + path.partition("?")[0])
    if not found.startswith(root + "/") or not os.path.isfile(found):
        return 404, "text/plain", [b"no such file\n"]
    with open(found, "rb") as f:
        return 200, "application/octet-stream", [f.read()]


def git(folder, method, path, head, body):
    """(head, body) of an answer by git's own program, as a web server would call it; None: no repository."""
    path, _, query = path.partition("?")
    if not re.match(r"/[a-z]+\.git/", path):
        return None
    kind = re.search(rb"(?mi)^content-type:\s*(\S+)", head)
    encoding = re.search(rb"(?mi)^content-encoding:\s*(\S+)", head)
    env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": f"{folder}/git", "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "somebody",
           "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body)),
           "CONTENT_TYPE": kind.group(1).decode() if kind else "", "HTTP_CONTENT_ENCODING": encoding.group(1).decode() if encoding else "",
           "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    out = subprocess.run([GIT_BACKEND], input=body, env=env, stdout=subprocess.PIPE, check=False).stdout
    headers, _, rest = out.partition(b"\r\n\r\n")
    status = re.search(rb"(?mi)^status:\s*(.*?)\r?$", headers)
    return b"HTTP/1.1 " + (status.group(1) if status else b"200 OK") + b"\r\n" + headers + b"\r\ncontent-length: %d\r\n\r\n" % len(rest), rest


def websocket(sock, head):
    """Echo until the other side closes. False: nobody asked for one."""
    key = re.search(rb"(?mi)^sec-websocket-key:\s*(\S+)", head)
    if not key:
        return False
    accept = base64.b64encode(hashlib.sha1(key.group(1) + WEBSOCKET).digest())
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept +
                 b"\r\n\r\n")
    stream = sock.makefile("rb")
    while len(start := stream.read(2)) == 2:
        size = start[1] & 127
        if size > 125:  # RFC 6455 5.2
            size, = struct.unpack("!H" if size == 126 else "!Q", stream.read(2 if size == 126 else 8))
        mask = stream.read(4)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(stream.read(size)))
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
        sock.sendall(start[:1] + length + data)
        if start[0] & 15 == 8:
            break
    return True
