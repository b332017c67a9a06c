# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures. The expensive ones (a laptop with agent and collector) are made once a module; tests
keep apart by working as different people."""
import os
import pathlib
import platform
import shutil
import statistics

import pytest

import harness
import table
from internet import Internet, Missing
from shop import Shop

RESULTS = pytest.StashKey[table.Results]()


def pytest_configure(config):
    config.addinivalue_line("markers", "lsm: needs BPF LSM, or a machine whose clock may be set: runs in tests/vm only")
    config.addinivalue_line("markers", "evasion(row, what, path): proves a row of the evasion table, see table.py")
    config.stash[RESULTS] = table.Results()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("lsm") and not os.environ.get("ONCHANNEL_LSM"):
            item.add_marker(pytest.mark.skip(reason="no BPF LSM in this kernel: tests/vm"))


def pytest_sessionstart(session):
    missing = [p for p in harness.PROGRAMS if not (harness.BUILD / p).exists()]
    if missing:
        pytest.exit(f"{harness.BUILD} has no {', '.join(missing)}: build first, or set ONCHANNEL_BUILD", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the programs said. A row of the evasion table is not skipped for want of
    anything that can be had here."""
    report = (yield).get_result()
    marks, is_lsm = table.of_item(item), item.get_closest_marker("lsm")
    if report.skipped and marks and not is_lsm and "ONCHANNEL_VM" not in os.environ:
        report.outcome, report.longrepr = "failed", f"a row of the evasion table was skipped: {report.longrepr[-1]}"
    if marks and (report.when == "call" or not report.passed):
        item.config.stash[RESULTS].add(marks, "lsm" if report.skipped and is_lsm else report.outcome)
    if report.failed:
        bases = {getattr(getattr(value, "internet", value), "base", None) for value in item.funcargs.values()}
        for base in bases - {None}:
            for log in pathlib.Path(base).glob("*.log"):
                report.sections.append((log.name, log.read_text(errors="replace")[-4000:]))


def pytest_sessionfinish(session):
    """One of several processes (pytest-xdist) hands over what its lines are made of …"""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput.update(rows=session.config.stash[RESULTS].rows, measured=harness.MEASURED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """… and the one that prints takes it. (A process that died hands over nothing; its tests have failed.)"""
    done = getattr(node, "workeroutput", {})
    node.config.stash[RESULTS].merge(done.get("rows", {}))
    for what, times in done.get("measured", {}).items():
        harness.MEASURED.setdefault(what, {}).update(times)


def pytest_terminal_summary(terminalreporter, config):
    for what, times in harness.MEASURED.items():
        slowest = max(times, key=times.get)
        terminalreporter.write_line(f"{what}: {len(times)} kinds, median {statistics.median(times.values()):.1f} ms, "
                                    f"slowest {times[slowest]:.1f} ms ({slowest})")
    if config.stash[RESULTS].rows:
        terminalreporter.section(f"evasion table, Linux {platform.release()}, {'with' if os.environ.get('ONCHANNEL_LSM') else 'without'} BPF LSM")
        for line in config.stash[RESULTS].lines():
            terminalreporter.write_line(line, red="FAILED" in line)


@pytest.fixture
def needs():
    """needs(program, …): skip with the reason when one of them is not installed."""
    def check(*programs):
        for program in programs:
            if not shutil.which(program):
                pytest.skip(f"the program {program} is not installed")
    return check


def once(fixture_name, config):
    """In a virtual machine one laptop serves all modules: to make one is what takes the time there."""
    return "session" if "ONCHANNEL_VM" in os.environ else "module"


@pytest.fixture(scope=once)
def internet():
    try:
        with Internet() as i:
            yield i
    except Missing as e:
        pytest.skip(str(e))


@pytest.fixture(scope=once)
def station(internet):
    s = harness.Station(internet)
    yield s
    s.close()


@pytest.fixture
def blocking(station):
    """The station with a policy in force that blocks everything but Teams and Slack."""
    station.serial = station.agent.policy({"teams": "allow", "slack": "allow"})
    return station


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Shop(tmp_path_factory.mktemp("shop") / "shop")


@pytest.fixture
def allowing(station):
    """The station with a policy that approves the channels the tests try."""
    station.serial = station.agent.policy({c: "allow" for c in ("whatsapp", "telegram", "signal", "discord", "teams", "slack")})
    return station


@pytest.fixture
def employee(station):
    return station.employee()


@pytest.fixture(autouse=True)
def innocence(request):
    """After each test of a station the agent lives and the innocent download, at an address that messengers use too, goes on."""
    station = request.getfixturevalue("station") if "station" in request.fixturenames else None
    yield
    if isinstance(station, harness.Station):
        station.agent.alive()
        station.download.check()


@pytest.fixture(scope="module")
def router(station):
    """It drops what has no hops left, so that a program can have one packet lost."""
    rule = "add table ip hops; add chain ip hops in { type filter hook prerouting priority -400; }; add rule ip hops in ip ttl 1 drop"
    station.internet.world.run(["nft", rule], check=True)
