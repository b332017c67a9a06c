# SPDX-License-Identifier: GPL-3.0-or-later
"""A collector under attack, with an honest agent beside the attackers: it must be served all the while, in bounded memory."""
import pathlib
import struct
import sys
import threading
import time

from harness import SLOW, TREE
from internet import wait_for
from test_scale import COLLECTOR, Site

sys.path.insert(0, str(TREE / "tests/support"))
from device import Device  # noqa: E402
from wire import Wire  # noqa: E402

AGENTS, PAGE = 8443, 8444
HONEST_S = 3 * SLOW  # an honest batch is kept within that, whatever others do


def zstd_stored(data):
    """A zstd frame of raw blocks (RFC 8878 3.1.1)."""
    out = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data))
    blocks = [data[i:i + 131072] for i in range(0, len(data), 131072)] or [b""]
    for i, block in enumerate(blocks):
        out += struct.pack("<I", len(block) << 3 | (i == len(blocks) - 1))[:3] + block
    return out


class Honest(threading.Thread):
    """An enrolled device that sends one batch after the other over one connection, as an agent would."""

    def __init__(self, siege):
        super().__init__(daemon=True)
        self.siege, self.device = siege, siege.device("ws-honest")
        self.stopping, self.rounds, self.slowest_s, self.error = threading.Event(), 0, 0, None

    def run(self):
        try:
            with self.siege.wire(self.device) as wire:
                stream = 1
                while not self.stopping.wait(0.02):
                    self.round(wire, stream)
                    stream += 2
        except BaseException as e:  # told by check()
            self.error = e

    def round(self, wire, stream):
        text, next_seq, head = self.device.batch()
        began = time.monotonic()
        status, body = wire.ask(stream, wire.request("/v1/reports", "POST", content_type="application/x-ndjson", content_encoding="zstd"),
                                zstd_stored(text), timeout=60 * SLOW)
        assert status == 200, (status, body, wire.outcome)
        self.device.next_seq, self.device.head = next_seq, head
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.rounds += 1
        wire.outcome.body.clear()
        wire.outcome.status.clear()

    def check(self):
        """It is served now, and was in time since the last look."""
        before = self.rounds
        wait_for(lambda: self.error or self.rounds >= before + 2, 60 * SLOW, "the honest agent being served")
        slowest_s, self.slowest_s = self.slowest_s, 0
        if self.error:
            raise AssertionError(f"the honest agent was refused: {self.error!r}\n{self.siege.log()}")
        assert slowest_s < HONEST_S, f"the honest agent waited {slowest_s:.1f} s"


class Siege:
    def __init__(self, url=None):
        self.site = Site(url)
        text = self.site.init("one", AGENTS).stdout
        self.password = next(line.split()[-1] for line in text.splitlines() if "password" in line.lower())
        self.site.start("one", AGENTS)
        self.n = 0
        self.honest = Honest(self)
        self.honest.start()

    @property
    def pid(self):
        return self.site.running["one"].pid

    def log(self):
        return (self.site.base / "log").read_text(errors="replace")[-3000:]

    def token(self):
        return self.site.command("token", self.site.base / "one").stdout.split()[-1]

    def device(self, name=None):
        """One that is enrolled."""
        d = self.stranger(name)
        answer = d.enrol(self.token())
        assert answer.status == 200, answer
        return d

    def stranger(self, name=None):
        self.n += 1
        d = Device(self.site.base / f"device-{self.n}", f"https://127.0.0.1:{AGENTS}", self.site.ca, name or f"ws-{self.n}")
        d.prefix = self.site.prefix
        return d

    def wire(self, device=None, port=AGENTS, **more):
        pair = (device.folder / "cert.pem", device.folder / "key.pem") if device else ()
        return Wire(self.site.holder.pid, port, self.site.ca, *pair, timeout=20 * SLOW, **more)

    def move_to_small_disk(self):
        """The collector goes on in a folder on a disk of 4 MiB, in a mount namespace of its own."""
        self.site.kill("one")
        disk = self.site.base / "disk"
        disk.mkdir()
        self.site.running["one"] = self.site.popen(
            "unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=4m disk "$2" && cp -a "$1/." "$2" && exec "$0" serve "$2"', COLLECTOR,
            self.site.base / "one", disk)
        wait_for(lambda: self.site.answers(AGENTS), 15 * SLOW, "the collector on the small disk")

    def memory_mib(self, what="VmHWM"):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(text.split(f"{what}:")[1].split()[0]) / 1024

    def forget_memory(self):
        """From now on VmHWM is the most from now on (proc(5), clear_refs)."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def close(self):
        self.honest.stopping.set()
        self.honest.join(30)
        self.site.stop()
