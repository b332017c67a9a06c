# SPDX-License-Identifier: GPL-3.0-or-later
"""An auditor takes evidence over the network, `onchannel evidence export`: from a real collector, on either database."""
import json
import os
import pathlib
import pty
import re
import signal
import sqlite3
import subprocess
import sys

import pytest

from harness import BUILD, SLOW, TREE
from internet import environment, wait_for
from test_evidence import coverage
from test_scale import Site

sys.path.insert(0, str(TREE / "tests/support"))
import verify_bundle  # noqa: E402
from device import Device  # noqa: E402
from postgres import Postgres, programs  # noqa: E402

NOW = 1763740000000  # 2025-11-21T15:46:40Z
SMALL_DISK = 'mount -t tmpfs -o size=16k none "$1" && shift && cd "$0" && "$@"; r=$?; ls -A "$0"; exit $r'


class Auditor:
    """Somebody with `onchannel` and a password, where the collector is in reach."""

    def __init__(self, site, password):
        self.site, self.folder = site, site.base / "auditor"
        self.folder.mkdir()
        self.password = self.folder / "password"
        self.password.write_text(password + "\n")

    def command(self, *args, ca=True, url="https://127.0.0.1:8444"):
        return [*self.site.prefix, str(BUILD / "cli/onchannel"), "evidence", "export", url, "--login", "admin",
                *(["--ca", str(self.site.ca)] if ca else []), *map(str, args)]

    def export(self, file, *args, password=None, before=(), **kw):
        """(exit status, what it said, what it complained of)"""
        how = [] if password is not None else ["--password-file", self.password]
        r = subprocess.run([*before, *self.command("-o", file, *how, *args, **kw)], cwd=self.folder, capture_output=True, text=True, check=False,
                           timeout=60 * SLOW, input=password, env=environment(PATH=f"{BUILD}/cli:{os.environ['PATH']}"))
        return r.returncode, r.stdout, r.stderr

    def files(self):
        return sorted(p.name for p in self.folder.iterdir() if p != self.password)


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def place(request):
    """(auditor, two devices that sent records, statement on the database)"""
    if request.param == "PostgreSQL" and not programs():
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    server = Postgres() if request.param == "PostgreSQL" else None
    site = Site(server.url if server else None)

    def sql(statement):
        if server:
            return server.sql(statement)
        db = sqlite3.connect(site.base / "one/collector.db", timeout=30)
        with db:
            rows = db.execute(statement).fetchall()
        db.close()
        return [[str(v) for v in row] for row in rows]
    try:
        password = re.search(r"password:? +(\S+)", site.init("one", 8443).stdout)[1]
        site.start("one", 8443)
        token = site.command("token", site.base / "one", "--uses", "2").stdout.split()[-1]
        devices = [Device(site.base / name, "https://127.0.0.1:8443", site.ca, name) for name in ("ws-1", "ws-2")]
        for number, d in enumerate(devices):
            d.prefix = site.prefix
            assert d.enrol(token).status == 200
            for hour in range(6):
                start = NOW + hour * 3600000
                own = {"channel": "signal" if hour == 2 else "whatsapp"}
                assert d.send([coverage(start), {"time": start + 1000, "own": own}, {"time": start + 2000, "app_name": "é" * 90 * (1 + number)}]).status == 200
        yield Auditor(site, password), devices, sql
    except BaseException:
        print((site.base / "log").read_text()[-3000:])
        raise
    finally:
        site.stop()
        if server:
            server.remove()


def bundle(auditor, name):
    data = (auditor.folder / name).read_bytes()
    return subprocess.run(["zstd", "-qdc"], input=data, capture_output=True, check=True).stdout if name.endswith(".zst") else data


def test_export(place, needs):
    """The whole of it, parts of it, compressed, for programs; the same to the byte as the second verifier reads it."""
    needs("zstd")
    auditor, devices, sql = place
    status, said, complaint = auditor.export("all.ndjson")
    assert (status, complaint) == (0, ""), (said, complaint)
    assert re.match(r"file +all.ndjson, \d+ bytes\nbundle +made ", said) and "ws-1 (" in said and "ws-2 (" in said
    python = verify_bundle.verify(bundle(auditor, "all.ndjson"))
    assert not python.problems and python.present == 36
    assert (auditor.folder / "all.ndjson").stat().st_mode & 0o777 == 0o600
    key = auditor.site.command("log", auditor.site.base / "one").stdout.strip()
    for file, args, present in [
            ("hour.ndjson.zst", ["--device", "ws-1", "--from", "2025-11-21T16:46:40Z", "--to", "2025-11-21T17:46:40Z"], 3),
            ("signal.ndjson", ["--channel", "signal", "--device", devices[1].id, "--class", "use"], 7),
            ("none.ndjson", ["--from", "2025-11-22"], 0)]:
        status, said, complaint = auditor.export(file, "--json", "--log-key", key, *args)
        answer = json.loads(said)
        assert status == 0 and answer["ok"] and answer["signed"] and sum(d["present"] for d in answer["devices"]) == present, (said, complaint)
        assert verify_bundle.verify(bundle(auditor, file)).present == present
    whole = bytearray((auditor.folder / "hour.ndjson.zst").read_bytes())
    for n in (*range(24), *range(24, len(whole) - 52, 31), *range(len(whole) - 52, len(whole))):
        for bit in (1, 1 << n % 8):
            whole[n] ^= bit
            r = subprocess.run([BUILD / "cli/onchannel-verify", "-"], input=whole, capture_output=True, check=False)
            whole[n] ^= bit
            assert r.returncode == 1, f"byte {n} of {len(whole)} can be changed unseen"
    assert subprocess.run([BUILD / "cli/onchannel-verify", "-"], input=whole, capture_output=True, check=False).returncode == 0
    stranger = subprocess.run([BUILD / "cli/onchannel-witness", "new", "w.example/w", auditor.site.base / "w.key"], capture_output=True, text=True,
                              check=True).stdout.strip()
    assert auditor.export("all.ndjson", "--witness", stranger)[0] == 1, "it has cosigned nothing"
    assert auditor.files() == ["all.ndjson", "hour.ndjson.zst", "none.ndjson", "signal.ndjson"]
    taken = {detail for detail, in sql("SELECT detail FROM admin_audit WHERE action = 'export' AND who = 'admin'")}
    assert {"from=1763743600000&to=1763747200000&device=ws-1", f"device={devices[1].id}&channel=signal&class=use"} <= taken
    assert sql("SELECT count(*) FROM session") == [["0"]], "it logs out"


def test_ways_of_the_password(place):
    """Asked for on the terminal without echo, or taken from standard input, a file or a descriptor; never an argument."""
    auditor, _, _ = place
    password = auditor.password.read_text()
    assert auditor.export("piped.ndjson", "--device", "ws-1", password=password)[0] == 0
    read, write = os.pipe()
    os.write(write, password.encode())
    os.close(write)
    env = environment(PATH=f"{BUILD}/cli:{os.environ['PATH']}")
    assert subprocess.run(auditor.command("-o", "fd.ndjson", "--password-file", f"/dev/fd/{read}"), cwd=auditor.folder, env=env, pass_fds=[read],
                          capture_output=True, check=False).returncode == 0
    os.close(read)
    main, terminal = pty.openpty()
    with subprocess.Popen(auditor.command("-o", "typed.ndjson"), cwd=auditor.folder, env=env, stdin=terminal, stdout=terminal, stderr=terminal) as p:
        os.close(terminal)
        seen = b""
        while b"Password: " not in seen:
            seen += os.read(main, 100)
        os.write(main, password.encode())
        try:
            while data := os.read(main, 1000):
                seen += data
        except OSError:  # the other end is closed
            pass
        assert p.wait(60 * SLOW) == 0 and b"bundle" in seen and password.strip().encode() not in seen, seen
    os.close(main)
    for name in ("piped", "fd", "typed"):
        assert not verify_bundle.verify(bundle(auditor, f"{name}.ndjson")).problems
        (auditor.folder / f"{name}.ndjson").unlink()


def test_what_goes_wrong(place):
    """One sentence that says what, and no file."""
    auditor, _, sql = place
    before = auditor.files()
    empty = auditor.site.base / "small"
    empty.mkdir(exist_ok=True)
    for args, kw, status, words in [
            ([], {"password": "wrong\n"}, 1, "cannot log in as 'admin': https://127.0.0.1:8444/api/v1/login: user or password is wrong (status 401)"),
            ([], {"password": ""}, 1, "a password is needed"),
            (["--password-file", "nothing"], {"password": ""}, 1, "cannot read 'nothing': No such file"),
            (["--class", "chat"], {}, 1, "class cannot be 'chat' (status 400)"), (["--device", "ws-9"], {}, 1, "there is no device 'ws-9' (status 404)"),
            (["--from", "yesterday"], {}, 2, "--from: 'yesterday' is neither a date"), (["--log-key", "x"], {}, 2, "neither a verifier key"),
            ([], {"ca": False}, 1, "its certificate is not that of a collector whose CA is known here (--ca)"),
            (["--ca", "nothing"], {"ca": False}, 1, "the CA's certificate (--ca) cannot be read"),
            ([], {"url": "https://127.0.0.1:9"}, 1, "nobody answers there"), ([], {"url": "https://nobody.invalid:9"}, 1, "nobody answers there"),
            ([], {"url": "http://127.0.0.1:8444"}, 2, "not the address of a collector's page"),
            ([], {"url": "https://admin:secret@127.0.0.1:8444"}, 2, "not the address of a collector's page"),
            ([], {"url": "https://127.0.0.1:8444/log"}, 2, "not the address of a collector's page"),
            ([], {"url": "https://127.0.0.1:8443"}, 1, "cannot log in")]:
        code, said, complaint = auditor.export("new.ndjson", *args, **kw)
        assert code == status and words in complaint and complaint.count("\n") == 1 and not said, (args, kw, complaint)
        assert auditor.files() == before
    code, _, complaint = auditor.export("no/new.ndjson", password="")
    assert code == 1 and "cannot write 'no/new.ndjson': No such file or directory" in complaint
    code, said, complaint = auditor.export(empty / "new.ndjson", before=("unshare", "--mount", "sh", "-c", SMALL_DISK, str(empty), str(empty)))
    assert code == 1 and "new.ndjson': No space left on device" in complaint and said == "", (said, complaint)


def test_broken_off(place):
    """The collector gives up in the middle, or the auditor does: nothing is left of it. What is whole but wrong is kept, and told."""
    auditor, devices, sql = place
    before = auditor.files()
    which = f"device = (SELECT number FROM device WHERE id = '{devices[1].id}') AND seq = 16"
    salt, = sql(f"SELECT {'encode(salt, ' + chr(39) + 'hex' + chr(39) + ')' if auditor.site.url else 'hex(salt)'} FROM record WHERE {which}")[0]
    blob = (lambda h: f"'\\x{h}'") if auditor.site.url else (lambda h: f"x'{h}'")
    sql(f"UPDATE record SET salt = {blob('00')} WHERE {which} RETURNING 1")
    code, said, complaint = auditor.export("new.ndjson")
    assert code == 1 and "the answer was broken off" in complaint and not said and auditor.files() == before, complaint
    sql(f"UPDATE record SET salt = {blob(('00' if salt[:2] != '00' else '01') + salt[2:])} WHERE {which} RETURNING 1")
    code, said, complaint = auditor.export("broken.ndjson")
    assert code == 1 and "record 16" in said and not complaint, (said, complaint)
    assert verify_bundle.verify(bundle(auditor, "broken.ndjson")).problems
    (auditor.folder / "broken.ndjson").unlink()
    sql(f"UPDATE record SET salt = {blob(salt)} WHERE {which} RETURNING 1")
    collector = auditor.site.running["one"]
    for number in (signal.SIGINT, signal.SIGTERM):
        collector.send_signal(signal.SIGSTOP)
        try:
            # whoever runs the tests in the background ignores SIGINT
            with subprocess.Popen(auditor.command("-o", "new.ndjson", "--password-file", auditor.password), cwd=auditor.folder,
                                  preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                                  env=environment(PATH=f"{BUILD}/cli:{os.environ['PATH']}")) as p:
                wait_for(lambda: len(auditor.files()) > len(before), 20 * SLOW, "the file under another name")
                p.send_signal(number)
                assert p.wait(20 * SLOW) == -number
        finally:
            collector.send_signal(signal.SIGCONT)
        assert auditor.files() == before
    assert auditor.export("new.ndjson")[0] == 0
