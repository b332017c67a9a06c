# SPDX-License-Identifier: GPL-3.0-or-later
"""A file system of one file, `x`, as somebody serves it who means harm, in a user namespace of their own: `served.py FOLDER FILE
COMMAND…` runs COMMAND beside it. Files in the working folder say how: `proud` (strangers get no answer), `slow` (who opens gets none)."""
import ctypes
import os
import stat
import struct
import sys
import threading
import time

# linux/fuse.h
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, OPENDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 15, 17, 18, 25, 26, 27, 29, 36, 42
ENOENT, ENOSYS = 2, 38
ROOT = 1


def mount(folder):
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"served", folder.encode(), b"fuse", 0, options.encode()) < 0:
        raise OSError(ctypes.get_errno(), "mount")
    return fd


class Server:
    def __init__(self, fd, content):
        self.fd, self.content = fd, content

    def attributes(self, node):
        mode, size = (stat.S_IFDIR | 0o755, 0) if node == ROOT else (stat.S_IFREG | 0o755, len(self.content))
        return struct.pack("<6Q10I", node, size, 1, 0, 0, 0, 0, 0, 0, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)

    def answer(self, op, node, body):
        """Bytes, or an error. Nothing may be kept: attributes are asked for each time."""
        if op == INIT:
            return struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 12, 9, 1 << 16, 1, 0, 0, 0, *[0] * 7)
        if op == LOOKUP:
            return struct.pack("<4Q2I", 2, 0, 0, 0, 0, 0) + self.attributes(2) if body.rstrip(b"\0") == b"x" else ENOENT
        if op == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if op in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if op == READ:
            _, at, size = struct.unpack_from("<QQI", body)
            return self.content[at:at + size]
        if op == STATFS:
            return struct.pack("<5Q10I", 0, 0, 0, 0, 0, 4096, 255, 4096, 0, *[0] * 6)
        return b"" if op in (RELEASE, FLUSH, RELEASEDIR) else ENOSYS

    @staticmethod
    def is_strange(pid):
        try:
            return os.stat(f"/proc/{pid}").st_uid != os.getuid()
        except OSError:
            return True

    def waits(self, op, pid):
        """A stranger's READ is answered: it holds a page that everybody else would wait for."""
        return (op == OPEN and os.path.exists("slow")) or (op in (LOOKUP, GETATTR, OPEN) and os.path.exists("proud") and self.is_strange(pid))

    def serve(self, op, unique, node, pid, body):
        while self.waits(op, pid):
            time.sleep(0.02)
        a = self.answer(op, node, body)
        error, data = (-a, b"") if isinstance(a, int) else (0, a)
        try:
            os.write(self.fd, struct.pack("<IiQ", 16 + len(data), error, unique) + data)
        except OSError:
            pass  # who asked is gone

    def run(self):
        while True:
            request = os.read(self.fd, 1 << 18)
            _, op, unique, node, _, _, pid, _ = struct.unpack_from("<IIQQIIII", request)
            if op not in (FORGET, INTERRUPT, BATCH_FORGET):
                threading.Thread(target=self.serve, args=(op, unique, node, pid, request[40:]), daemon=True).start()


def main():
    folder, file, *command = sys.argv[1:]
    with open(file, "rb") as f:
        server = Server(mount(folder), f.read())
    threading.Thread(target=server.run, daemon=True).start()
    sys.exit(os.spawnvp(os.P_WAIT, command[0], command))


main()
