# SPDX-License-Identifier: GPL-3.0-or-later
"""The collector against agents that lie and visitors who are none: a status, a JSON error with a reason, nothing changed."""
import json
import pathlib
import subprocess
import sys

import pytest

import internet as net
from harness import TREE, Collector, Programs

sys.path.insert(0, str(TREE / "tests/support"))
from device import Device, curl  # noqa: E402


@pytest.fixture(scope="module")
def collector(internet):
    c = Collector(internet, Programs(pathlib.Path(internet.base) / "bin"))
    yield c
    c.stop()


@pytest.fixture
def device(collector, internet, tmp_path, needs):
    """An enrolled device of our own making, on the laptop."""
    needs("zstd", "nsenter")
    d = Device(tmp_path / "device", f"https://{net.COLLECTOR}:8443", collector.ca, f"ws-{tmp_path.name[-20:]}")
    d.prefix = ("nsenter", "-t", str(internet.laptop.holder.pid), "-n", "-m", "--")
    assert d.enrol(collector.token()).status == 200
    yield d
    collector.alive()
    answer = d.send()
    assert answer.status == 200, f"an honest device is not served any more: {answer}"


def assert_error(answer, *statuses):
    assert answer.status in statuses, answer
    assert len(answer.json["error"]) > 5


def head(collector, device):
    row, = [r for r in collector.devices() if r["device"] == device.id]
    return row["next_seq"]


def test_honest_device(collector, device):
    assert device.send([{}, {}]).json == {"next": 3}
    assert head(collector, device) == 3
    row = collector.violations(device=device.id)[0]
    assert row["channel"] == "whatsapp" and row["seq"] == 2
    status, detail = collector.call(f"/api/v1/violations/{device.id}/2")
    assert status == 200 and detail["chain"]["verified"] is True


def test_replay_is_no_error(collector, device):
    ndjson, _, head_hash = device.batch([{}, {}])
    for _ in range(3):
        answer = device.post(ndjson)
        assert (answer.status, answer.json) == (200, {"next": 3})
    assert len(collector.violations(device=device.id)) == 2
    device.next_seq, device.head = 3, head_hash


def test_gap(collector, device):
    device.send()
    ndjson, _, _ = device.batch(first=5)
    answer = device.post(ndjson)
    assert_error(answer, 409)
    assert answer.json["next"] == 2
    assert head(collector, device) == 2


def test_fork(collector, device):
    genesis = device.head
    device.send()
    ndjson, _, _ = device.batch([{"count": 77}], first=1, prev=genesis)
    answer = device.post(ndjson)
    assert_error(answer, 409)
    assert answer.json["head"] == device.head.hex()
    assert [r["count"] for r in collector.violations(device=device.id)] == [1]


def test_chain_from_nowhere(collector, device):
    ndjson, _, _ = device.batch(prev=b"\x55" * 32)
    assert_error(device.post(ndjson), 409, 400)
    assert head(collector, device) == 1


def test_batch_of_another_device(collector, device, internet, tmp_path):
    other = Device(tmp_path / "other", device.url, device.ca, "ws-other")
    other.prefix = device.prefix
    ndjson, _, _ = other.batch()
    assert_error(device.post(ndjson), 403)
    assert head(collector, device) == 1


def disturbed(ndjson, **header):
    first, _, rest = ndjson.partition(b"\n")
    return json.dumps({**json.loads(first), **header}).encode() + b"\n" + rest


@pytest.mark.parametrize("change", [
    lambda t: disturbed(t, sig="00" * 64), lambda t: disturbed(t, head="00" * 32), lambda t: disturbed(t, n=2),
    lambda t: disturbed(t, n=0), lambda t: disturbed(t, n=10**9), lambda t: disturbed(t, n=-1), lambda t: disturbed(t, first=2**64),
    lambda t: disturbed(t, v=2), lambda t: disturbed(t, salts="zz" * 16), lambda t: disturbed(t, boot=[]),
    lambda t: disturbed(t, device=None), lambda t: t.replace(b'"count":1', b'"count":2'), lambda t: t[:-10], lambda t: b"",
    lambda t: b"\n", lambda t: b"not json\n", lambda t: b"[" * 100000, lambda t: b'{"v":1}\n', lambda t: t + b"more\n",
    lambda t: b"\xff\xfe" + t,
])
def test_malformed_batch(collector, device, change):
    ndjson, _, _ = device.batch()
    assert_error(device.post(change(ndjson)), 400, 403, 413)
    assert head(collector, device) == 1


@pytest.mark.parametrize("record", [b"{}", b"[]", b'{"unmapped":{}}', b'{"a":' * 2000 + b"1" + b"}" * 2000, b"x" * (17 << 10)],
                         ids=["empty", "array", "no-kind", "deep", "large"])
def test_record_that_is_none(collector, device, record):
    """Well chained and signed, but not what an agent writes."""
    ndjson, _, _ = device.batch(records=[record])
    assert_error(device.post(ndjson), 400, 413)
    assert head(collector, device) == 1


def reports(device, body, content_type="application/x-ndjson", encoding="zstd"):
    return device.call("/v1/reports", data=body, headers=[f"Content-Type: {content_type}", f"Content-Encoding: {encoding}"])


def compress(data):
    return subprocess.run(["zstd", "-q", "-c", "-1"], input=data, capture_output=True, check=True).stdout


def test_bad_compression(collector, device):
    ndjson, _, _ = device.batch()
    good = compress(ndjson)
    for body in (b"", b"\0" * 100, good[:-5], good[4:], good[:20] + b"\xff" * 20 + good[40:], ndjson):
        assert_error(reports(device, body), 400)
    assert_error(reports(device, good, content_type="text/plain"), 400, 405)
    assert_error(reports(device, good, encoding="gzip"), 400)
    assert head(collector, device) == 1


def test_bomb_and_flood(collector, device):
    bomb = compress(b"\0" * (200 << 20))
    assert len(bomb) < 100000
    assert_error(reports(device, bomb), 400, 413)
    answer = reports(device, b"\0" * (20 << 20))
    assert_error(answer, 400, 413)
    resident = pathlib.Path(f"/proc/{collector.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    assert int(resident) < 256 << 10, "kB"


@pytest.mark.parametrize("path,method,statuses", [
    ("/v1/nothing", "GET", [404]), ("/", "GET", [404]), ("/../../etc/passwd", "GET", [400, 404]), ("/v1/reports", "GET", [405]),
    ("/v1/enrol", "GET", [405]), ("/v1/policy?wait=soon", "GET", [400]), ("/v1/policy?wait=301", "GET", [400]),
    ("/v1/policy?wait=-1", "GET", [400]), ("/api/v1/violations", "GET", [404]), ("/v1/status", "DELETE", [405])])
def test_odd_requests(device, path, method, statuses):
    keep = ["--path-as-is", "-X", method]
    answer = curl(device.url + path, *keep, "--cert", str(device.folder / "cert.pem"), "--key", str(device.folder / "key.pem"), ca=device.ca,
                  prefix=device.prefix)
    assert_error(answer, *statuses)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"null", b'{"token":1}', b'{"token":"x","csr":"","device_key":"","proof":"","name":""}',
                                  b'{"token":"' + b"x" * 100000 + b'"}', b"\xff" * 64])
def test_malformed_enrolment(collector, device, body):
    before = len(collector.devices())
    answer = curl(device.url + "/v1/enrol", data=body, headers=["Content-Type: application/json"], ca=device.ca, prefix=device.prefix)
    assert_error(answer, 400, 403, 413)
    assert len(collector.devices()) == before


def test_enrolment_needs_a_live_token_and_the_key(collector, device, tmp_path):
    stranger = Device(tmp_path / "stranger", device.url, device.ca, "ws-stranger")
    stranger.prefix = device.prefix
    assert_error(stranger.enrol("0" * 32), 403)
    once = collector.run("token", collector.dir, "--uses", "1", "--hours", "1").stdout.split()[-1]
    assert stranger.enrol(once).status == 200
    another = Device(tmp_path / "another", device.url, device.ca, "ws-another")
    another.prefix = device.prefix
    assert_error(another.enrol(once), 403)
    liar = Device(tmp_path / "liar", device.url, device.ca, "ws-liar")
    liar.prefix = device.prefix
    liar.key = stranger.key  # signs the proof with a key that is not the one it names
    assert_error(liar.enrol(collector.token()), 400, 403)


def test_no_certificate(collector, device):
    for path in ("/v1/policy", "/v1/reports", "/v1/status"):
        data = None if path == "/v1/policy" else b"{}"
        answer = curl(device.url + path, ca=device.ca, prefix=device.prefix, data=data)
        assert_error(answer, 401)


def test_certificate_of_another_authority(collector, device, tmp_path):
    key, cert = tmp_path / "k.pem", tmp_path / "c.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
                    "-subj", f"/CN={device.id}", "-days", "2"], check=True, capture_output=True)
    try:
        answer = curl(device.url + "/v1/policy", "--cert", str(cert), "--key", str(key), ca=device.ca, prefix=device.prefix)
    except ConnectionError:
        return  # refused in the handshake
    assert_error(answer, 401)


def test_plain_text_and_rubbish_on_the_port(collector, device, internet):
    code = """
import os, socket, sys
for port in (8443, 8444):
    for data in (b"GET / HTTP/1.1\\r\\n\\r\\n", b"\\x16\\x03\\x01\\xff\\xff" + b"\\0" * 100, b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n", bytes(range(256)) * 40):
        with socket.create_connection((sys.argv[1], port), timeout=5) as s:
            s.sendall(data)
"""
    internet.laptop.run(["/usr/bin/python3", "-c", code, net.WORLD4], user="anna", check=True)
    collector.alive()


# ---- auditors ----

def test_strangers_read_nothing(collector):
    for path in ("/api/v1/violations", "/api/v1/devices", "/api/v1/facets", "/api/v1/violations/d-x/1", "/api/v1/session"):
        status, answer = collector._split(collector.curl(path))
        assert status == 401 and answer.get("error") or path.endswith("session"), (path, status, answer)
        assert "rows" not in answer


def test_forged_session_and_origin(collector):
    status, _ = collector._split(collector.curl("/api/v1/violations", "-H", "Cookie: __Host-onchannel=" + "A" * 43))
    assert status == 401
    collector.call("/api/v1/session")
    status, answer = collector.call("/api/v1/logout", "-X", "POST", "-H", "Content-Type: application/json", "-H", "Origin: https://evil.example",
                                    "-d", "{}")
    assert status == 403, answer
    status, answer = collector.call("/api/v1/logout", "-X", "POST", "-d", "{}")
    assert status in (400, 403), answer
    assert collector.call("/api/v1/session")[0] == 200, "still logged in"


@pytest.mark.parametrize("query,word", [("colour=blue", "colour"), ("limit=many", "limit"), ("limit=0", "limit"), ("from=yesterday", "from"),
                                        ("class=crime", "class"), ("tier=five", "tier"), ("before=then", "before"), ("layer='%20OR%201=1", "layer")])
def test_unknown_parameter(collector, query, word):
    status, answer = collector.call(f"/api/v1/violations?{query}")
    assert status == 400 and word in answer["error"]


def test_page(collector):
    r = collector.curl("/", "-i")
    text = r.stdout.lower()
    assert "200" in text.splitlines()[0]
    if "text/plain" in text:
        pytest.skip("the collector was built without the page (-Dweb=false)")
    assert "<!doctype html>" in text
    policy, = [line for line in text.splitlines() if line.startswith("content-security-policy:")]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "x-content-type-options: nosniff" in text


def test_password_guessing_is_slowed(internet):
    """A collector of its own: who guesses is answered 429 after a while."""
    with net.Internet() as other:
        c = Collector(other, Programs(pathlib.Path(other.base) / "bin"))
        try:
            seen = set()
            for i in range(30):
                status, _ = c._split(c.curl("/api/v1/login", "-H", "Content-Type: application/json", "-H", f"Origin: https://{net.COLLECTOR}:8444",
                                            "-d", json.dumps({"user": "admin", "password": f"guess {i}"})))
                seen.add(status)
                if status == 429:
                    break
            assert seen == {401, 429}
        finally:
            c.stop()
