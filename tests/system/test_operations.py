# SPDX-License-Identifier: GPL-3.0-or-later
"""What an administrator does beside the running collector, and what it tells them."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import internet as net
from harness import SLOW, TREE, Collector, Programs, wait_for

sys.path.insert(0, str(TREE / "tests/support"))
from device import Device  # noqa: E402


def configure(collector, text, **files):
    """Adds to collector.ini, with files that only the collector reads, and starts it anew."""
    collector.stop()
    for name, content in files.items():
        path = collector.dir / name
        path.write_text(content)
        path.chmod(0o600)
        os.chown(path, net.SERVICES["onchannel-collector"], net.SERVICES["onchannel-collector"])
    ini = collector.dir / "collector.ini"
    ini.write_text(ini.read_text() + text)
    collector.start()


@pytest.fixture(scope="module")
def collector(internet):
    c = Collector(internet, Programs(pathlib.Path(internet.base) / "bin"))
    configure(c, f"metrics_token = {c.dir}/metrics-token\n", **{"metrics-token": "s3cret\n"})
    yield c
    c.stop()


@pytest.fixture
def new_device(collector, internet, tmp_path):
    def make(name, **keys):
        d = Device(tmp_path / name, f"https://{net.COLLECTOR}:8443", collector.ca, name)
        d.prefix = ("nsenter", "-t", str(internet.laptop.holder.pid), "-n", "-m", "--")
        return d
    return make


@pytest.fixture
def device(collector, new_device, tmp_path):
    d = new_device(f"ws-{tmp_path.name[-20:]}")
    assert d.enrol(collector.token()).status == 200
    return d


def metrics(collector, *args):
    result = collector.curl("/metrics", "-H", "Authorization: Bearer s3cret", *args)
    text, _, status = result.stdout.rpartition("\n")
    assert status == "200", text
    return text


def values(text):
    return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.M)}


def test_metrics(collector, device):
    before = values(metrics(collector))
    assert device.send([{}] * 3).status == 200
    assert device.post(device.batch(first=9)[0]).status == 409
    text = metrics(collector)
    after = values(text)
    grown = {k: v - before.get(k, 0) for k, v in after.items()}
    assert grown["onchannel_collector_records_total"] == 3
    assert grown['onchannel_collector_batches_total{result="kept"}'] == grown['onchannel_collector_batches_total{result="gap"}'] == 1
    assert grown['onchannel_collector_requests_total{listener="agents",status="409"}'] == 1
    assert grown['onchannel_collector_findings{kind="chain-gap"}'] == 1
    assert grown["onchannel_collector_commit_duration_seconds_count"] >= 1 and after["onchannel_collector_store_up"] == 1
    buckets = [v for k, v in after.items() if "_bucket" in k]
    assert len(buckets) == 13 and buckets == sorted(buckets) and buckets[-1] == after["onchannel_collector_commit_duration_seconds_count"]
    assert abs(after["process_start_time_seconds"] - pathlib.Path(f"/proc/{collector.process.pid}").stat().st_mtime) < 60
    for word in (device.id, device.name, "anna", "curl", "whatsapp"):
        assert word not in text, "a device or a person"
    for token in ("x", "s3cre", "s3crets"):
        assert collector.curl("/metrics", "-H", f"Authorization: Bearer {token}").stdout.endswith("\n401")
    assert collector.curl("/metrics").stdout.endswith("\n401")
    om = metrics(collector, "-H", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert om.endswith("# EOF\n") and "# TYPE onchannel_collector_records counter\nonchannel_collector_records_total 3" in om
    assert "# TYPE onchannel_collector_records_total counter" in text and "# EOF" not in text
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian package prometheus)")
    said = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


PROMETHEUS = """
scrape_configs:
  - job_name: onchannel
    scheme: https
    scrape_interval: 1s
    authorization: {{ credentials: s3cret }}
    tls_config: {{ ca_file: {ca}, server_name: localhost }}
    static_configs: [ {{ targets: ["127.0.0.1:8444"] }} ]
"""


def test_prometheus_scrapes(collector, internet, tmp_path, needs):
    """The page's listener, HTTP/2 and TLS 1.3 alone, is what a real Prometheus takes."""
    needs("prometheus")
    (tmp_path / "p.yml").write_text(PROMETHEUS.format(ca=collector.ca))
    p = internet.world.popen(["prometheus", f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/data",
                              "--web.listen-address=127.0.0.1:9090"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def up():
            said = internet.world.run(["curl", "-s", "http://127.0.0.1:9090/api/v1/query?query=onchannel_collector_store_up"], check=False).stdout
            return '"1"]' in said
        wait_for(up, 30 * SLOW, "a scrape")
    finally:
        p.terminate()
        p.wait(20)
