"""Runs a suite in a pytest of its own, and tells what became of each test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree as ET

TIMEOUT_S = 280

#: The plugin for :func:`run_suite` that opens a dispatcher around each request. It is copied, never imported here: it
#: changes the test clients of the process that loads it.
AROUND_EACH_REQUEST = Path(__file__).with_name("around_each_request.py")


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """The outcome of each test by its id, and what pytest printed."""

    outcomes: Mapping[str, Outcome]
    output: str

    def ids(self, outcome: Outcome) -> set[str]:
        return {test for test, became in self.outcomes.items() if became is outcome}


def run_suite(
    root: Path, tests: Sequence[str], *, arguments: Sequence[str] = (), settings: Mapping[str, str] | None = None
) -> SuiteRun:
    """Run ``tests`` (paths below ``root``) with ``root``'s own configuration and conftest files.

    :param settings: ``WEIGHBRIDGE_*`` variables; none come from outside.
    """
    report = root / "report.xml"
    report.unlink(missing_ok=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WEIGHBRIDGE_", "PYTEST_", "OTEL_", "FASTAPI_OTEL_", "COV_"))
    }
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"),
            *(f"--rootdir={root}", f"--junitxml={report}", *arguments, *tests),
        ],
        cwd=root,
        env={**environment, **(settings or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    output = run.stdout + run.stderr
    # 0: all passed; 1: some did not. Everything else means that the suite did not run as a whole.
    assert run.returncode in (0, 1), output
    return SuiteRun(outcomes=dict(_outcomes(report)), output=output)


def _outcomes(report: Path) -> list[tuple[str, Outcome]]:
    outcomes = []
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            outcome = Outcome.FAILED
        else:
            outcome = Outcome.SKIPPED if "skipped" in kinds else Outcome.PASSED
        outcomes.append((f"{case.get('classname')}::{case.get('name')}", outcome))
    return outcomes
