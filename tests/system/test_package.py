# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian packages on a machine with systemd: installed, upgraded, removed, installed again, purged. tests/vm/run makes them,
of this version and of the next."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading

import pytest

from harness import SLOW, TREE, Desk, Programs, policy_text
from internet import wait_for
from test_systemd import AGENT, ETC, NET, PINS, STATE, UPLINK, run, shown, stays_blocked

pytestmark = pytest.mark.skipif("ONCHANNEL_VM" not in os.environ, reason="it installs onto the machine itself: only in tests/vm")

PACKAGES = TREE / "packages"
CHAIN_END = pathlib.Path("/var/log/onchannel-chain-end")


def package(name, version):
    path, = PACKAGES.glob(f"{name}_{version}_*.deb")
    return path


def files():
    """What there is on this machine besides dpkg's own notes, and what packages leave by custom: accounts, logs, caches."""
    found = run("find", "/etc", "/usr", "/var/lib", "/opt", "/root", "-xdev", "-not", "-path", "/var/lib/dpkg*", "-not", "-path", "/usr/share/man*").stdout.split("\n")
    return {f for f in found if not f.startswith(("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/.pwd.lock", "/var/lib/systemd"))}


class Prober(threading.Thread):
    """Tries a blocked address all the time: who gets no answer at once has got out."""

    def __init__(self):
        super().__init__()
        self.ended, self.tries, self.out = threading.Event(), 0, []

    def run(self):
        while not self.ended.is_set():
            with socket.socket() as s:
                s.settimeout(3 * SLOW)
                try:
                    s.connect(("149.154.167.50", 443))
                    self.out.append("connected")
                except TimeoutError:
                    self.out.append("no answer")
                except OSError:
                    self.tries += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def status():
    return json.loads(run("onchannel", "status", "--json").stdout)


def dpkg(*args):
    r = run("dpkg", *args, timeout=120 * SLOW, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    assert "warning" not in r.stderr, r.stderr
    return r.stdout + r.stderr


@pytest.fixture
def clean():
    """A machine on which meson has installed nothing."""
    run("systemctl", "stop", AGENT, UPLINK, check=False)
    for name in ("onchannel", "onchannel-collector"):
        for line in run("dpkg-deb", "-c", package(name, "9.9.9")).stdout.splitlines():
            path = pathlib.Path("/") / line.split()[5].lstrip("./").removesuffix(".gz")  # the packages compress documentation
            if path.is_file():
                path.unlink()
                run("rmdir", "-p", "--ignore-fail-on-non-empty", path.parent)
    for folder in (ETC, STATE, "/usr/share/onchannel"):
        shutil.rmtree(folder, ignore_errors=True)
    run("ip", "link", "del", "cable", check=False)
    run("sh", "-ec", NET.replace("systemd-sysusers\nsystemd-tmpfiles --create\n", ""))
    for folder in run("systemd-tmpfiles", "--cat-config").stdout and ("chromium", "chromium-browser", "opt/chrome", "opt/edge", "brave", "firefox"):
        shutil.rmtree(f"/etc/{folder}", ignore_errors=True)
    yield files()
    run("ip", "link", "del", "cable")


def test_package(clean, tmp_path):
    version = next(PACKAGES.glob("onchannel_[!9]*")).name.split("_")[1]
    tmp_path.chmod(0o755)
    desk = Desk(Programs(tmp_path / "bin"), tmp_path / "desk")
    installed(desk, version, tmp_path)
    upgraded(version, tmp_path)
    removed(tmp_path)
    installed_again(desk, version, tmp_path)
    upgraded_while_killed(tmp_path)
    purged(clean, version)


def installed(desk, version, tmp_path):
    """Nothing runs before somebody says whom to trust; then it does, and after a restart of the machine as well."""
    dpkg("-i", package("onchannel", version), package("onchannel-collector", version))
    for unit in (AGENT, UPLINK, "onchannel-collector.service"):
        assert shown(unit, "UnitFileState") == "enabled" and shown(unit, "ActiveState") == "inactive", unit
    assert run("systemctl", "--global", "is-enabled", "onchannel-notify").stdout == "enabled\n"
    shutil.copy(PACKAGES / "catalogue.pub", ETC / "keys")
    shutil.copy(desk.folder / "keys/policy.pub", ETC / "keys")
    with (ETC / "agent.ini").open("a") as f:
        f.write("\n; the administrator's\n")
    run("systemctl", "start", AGENT)
    assert status()["version"] == version and status()["catalogue"]["version"] == "seven"
    run("onchannel", "policy", "install", desk.sign(policy_text(serial=5)))
    assert stays_blocked(tmp_path)
    assert "onchannel-collector" in run("onchannel-collector", "--version").stdout


def upgraded(version, tmp_path):
    """Blocked all the while; the administrator's file stays; the record says what happened."""
    with Prober() as prober:
        wait_for(lambda: prober.tries > 3, 20 * SLOW)
        said = dpkg("-i", package("onchannel", "9.9.9"), package("onchannel-collector", "9.9.9"))
        wait_for(lambda: shown(AGENT, "ActiveState") == "active", 20 * SLOW, said)
        tries = prober.tries
        wait_for(lambda: prober.tries > tries + 3, 20 * SLOW)
    assert not prober.out, prober.out
    s = status()
    assert s["version"] == "9.9.9" and s["started"] == {"cause": "upgrade", "version_before": version}
    assert s["policy"]["serial"] == 5 and s["self_test_passed"] and s["canary"]["result"] == "blocked"
    assert f"9.9.9, up" in run("onchannel", "status").stdout and f"before: {version}" in run("onchannel", "status").stdout
    assert "the administrator's" in (ETC / "agent.ini").read_text()
    assert stays_blocked(tmp_path)


def removed(tmp_path):
    """Nothing is blocked and nothing runs; the state is kept, and its last record says so."""
    dpkg("-r", "onchannel")
    assert "onchannel" not in run("nft", "list", "tables").stdout and not PINS.exists()
    assert shown(AGENT, "LoadState") != "loaded" and not pathlib.Path("/usr/sbin/onchanneld").exists()
    wait_for(lambda: run("sh", "-c", tmp_path / "signal-desktop", check=False).returncode == 0, 10 * SLOW, "programs being let alone")
    device, seq, head, _ = (STATE / "chain-end").read_text().split()
    assert device.startswith("d-") and int(seq) > 3 and len(head) == 64
    newest = max((STATE / "spool").glob("*.seg"))
    assert b'"enforcement taken off"' in newest.read_bytes()


def installed_again(desk, version, tmp_path):
    """The policy that was in force is in force, and an older one is refused: also by the older package."""
    dpkg("-i", package("onchannel", version))
    wait_for(lambda: shown(AGENT, "ActiveState") == "active", 20 * SLOW)
    assert status()["policy"]["serial"] == 5 and not (STATE / "chain-end").exists()
    assert stays_blocked(tmp_path)
    r = run("onchannel", "policy", "install", desk.sign(policy_text(serial=4)), check=False)
    assert r.returncode and "serial 4 is older than 5" in r.stderr, r.stderr
    assert status()["policy"]["serial"] == 5


def upgraded_while_killed(tmp_path):
    """Its files are replaced, then it is killed: the next one cannot take over from an executable that is gone, the package sees to it."""
    dpkg("--unpack", package("onchannel", "9.9.9"))
    run("systemctl", "kill", "-s", "KILL", AGENT)
    wait_for(lambda: shown(AGENT, "NRestarts") != "0", 30 * SLOW, "systemd starting the next one")
    assert stays_blocked(tmp_path)
    dpkg("--configure", "onchannel")
    wait_for(lambda: shown(AGENT, "ActiveState") == "active", 30 * SLOW)
    assert status()["version"] == "9.9.9" and status()["self_test_passed"] and "defence=lsm" in status()["sensors"]
    assert stays_blocked(tmp_path)


def purged(before, version):
    """The machine is as it was, but for one line that says where the chain ended."""
    said = dpkg("-P", "onchannel", "onchannel-collector")
    device, _, head, _, acknowledged = CHAIN_END.read_text().split()
    assert device in said and len(head) == 64 and acknowledged == "0"
    assert files() == before, files() ^ before
    assert subprocess.run(["sh", "-c", "command -v onchannel onchanneld"], check=False).returncode
