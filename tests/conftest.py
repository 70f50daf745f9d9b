"""What holds for every test: its marker comes from its folder, it may not hang, and a skip can be forbidden.

REQUIRE_ALL=1 (set by `.ci/run`) turns every skip into a failure: on a machine that has installed all that
the tests ask for, a test that does not run is a defect of the machine or of the test.
"""

import os
import signal
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import TypeVar

import pytest
from hypothesis import settings

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

HERE = Path(__file__).parent
REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"
# Generous: they end a hang with a traceback, they do not measure anything.
SECONDS = {"unit": 60, "contract": 120, "integration": 180, "interop": 300, "container": 900, "cluster": 900}
SOAK_SECONDS = 1800

# A busy machine is not a failing test; in CI the examples are the same in every run, at home they roam.
settings.register_profile("home", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if REQUIRE_ALL else "home")


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0]


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(_folder(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End a test that hangs, where it hangs."""
    seconds = SECONDS.get(_folder(item), SOAK_SECONDS)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _forbid_skip(report) if REQUIRE_ALL and not hasattr(report, "wasxfail") else report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole file that skips itself counts as well."""
    report = yield
    return _forbid_skip(report) if REQUIRE_ALL else report


def _forbid_skip(report: Report) -> Report:
    if report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL=1 allows no skip: {reason}"
    return report
