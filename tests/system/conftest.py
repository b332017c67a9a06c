# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures. The expensive ones (a laptop with agent and collector) are made once a module; tests
keep apart by working as different people."""
import pathlib
import shutil

import pytest

import harness
from internet import Internet, Missing


def pytest_configure(config):
    config.addinivalue_line("markers", "vm: also runs in tests/vm on stock kernels")


def pytest_sessionstart(session):
    missing = [p for p in harness.PROGRAMS if not (harness.BUILD / p).exists()]
    if missing:
        pytest.exit(f"{harness.BUILD} has no {', '.join(missing)}: build first, or set ONCHANNEL_BUILD", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the programs said."""
    report = (yield).get_result()
    if report.failed:
        bases = {getattr(getattr(value, "internet", value), "base", None) for value in item.funcargs.values()}
        for base in bases - {None}:
            for log in pathlib.Path(base).glob("*.log"):
                report.sections.append((log.name, log.read_text(errors="replace")[-4000:]))


@pytest.fixture
def needs():
    """needs(program, …): skip with the reason when one of them is not installed."""
    def check(*programs):
        for program in programs:
            if not shutil.which(program):
                pytest.skip(f"the program {program} is not installed")
    return check


@pytest.fixture(scope="module")
def internet():
    try:
        with Internet() as i:
            yield i
    except Missing as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def station(internet):
    s = harness.Station(internet)
    yield s
    s.close()


@pytest.fixture
def blocking(station):
    """The station with a policy in force that blocks everything but Teams and Slack; afterwards the
    innocent download must still be going on."""
    station.serial = station.agent.policy({"teams": "allow", "slack": "allow"})
    yield station
    station.agent.alive()
    station.download.check()


@pytest.fixture
def allowing(station):
    """The station with a policy that approves the channels the tests try."""
    station.serial = station.agent.policy({c: "allow" for c in ("whatsapp", "telegram", "signal", "discord", "teams", "slack")})
    yield station
    station.agent.alive()
    station.download.check()


@pytest.fixture
def employee(station):
    return station.employee()
