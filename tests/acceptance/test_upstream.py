"""Starlette's and FastAPI's own tests on background tasks pass against the facade.

The unmodified run comes first: it says what there is to pass. Then the import is changed, and nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from .subprocess_suite import AROUND_EACH_REQUEST, Outcome, SuiteRun, run_suite
from .upstream import Upstream, fetch

pytestmark = [pytest.mark.parametrize("package", ["starlette", "fastapi"]), pytest.mark.timeout(600)]

#: What Starlette promises of a failing task, and what a facade that swallows failures does not keep.
ABOUT_FAILURES = {
    "starlette": "test_multi_tasks_failure_avoids_next_execution",
    "fastapi": "test_background_task_failure",
}

ARGUMENTS = [
    # A mark of pytest-xdist, which does nothing here.
    *("-o", "markers=xdist_group(name): tests that share a folder"),
    # These two trace through logfire, a product that would bring its own plugins for pydantic and pytest along.
    *(
        f"--deselect=tests/test_telemetry/test_background.py::test_background_task_integrations[{integration}]"
        for integration in ("logfire", "native_logfire")
        if find_spec("logfire") is None
    ),
]

Fetched = Callable[[str], Upstream]
StockRun = Callable[[str], SuiteRun]


@pytest.fixture(scope="session")
def fetched(pytestconfig: pytest.Config) -> Fetched:
    """Unpacked source distributions, kept from one run to the next."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("upstream")
    return cache(lambda package: fetch(package, folder))


@pytest.fixture(scope="session")
def stock_run(fetched: Fetched, tmp_path_factory: pytest.TempPathFactory) -> StockRun:
    """The unmodified tests of a package, run once."""

    @cache
    def run(package: str) -> SuiteRun:
        upstream = fetched(package).copy_to(tmp_path_factory.mktemp("stock") / package)
        return run_suite(upstream.root, upstream.tests, arguments=ARGUMENTS)

    return run


def in_files(ids: set[str], files: Sequence[str]) -> set[str]:
    """Those of ``ids`` that stand in one of ``files``, as JUnit's reports name them."""
    modules = {file.removesuffix(".py").replace("/", ".") for file in files}
    return {test for test in ids if test.partition("::")[0] in modules}


def test_upstreams_own_tests_pass_on_upstreams_own_class(package: str, stock_run: StockRun) -> None:
    run = stock_run(package)

    assert run.ids(Outcome.PASSED)
    assert not run.ids(Outcome.FAILED), run.output


def test_they_pass_with_the_import_changed_and_no_dispatcher(
    package: str, fetched: Fetched, stock_run: StockRun, tmp_path: Path
) -> None:
    upstream = fetched(package).copy_to(tmp_path / package)
    changed = upstream.change_import()
    concerned = [file for file in upstream.tests if file in changed or "background" in file]

    run = run_suite(upstream.root, concerned, arguments=ARGUMENTS)

    assert run.ids(Outcome.PASSED) == in_files(stock_run(package).ids(Outcome.PASSED), concerned), run.output


def test_they_pass_in_every_app_with_a_dispatcher_that_stops_on_failure(
    package: str, fetched: Fetched, stock_run: StockRun, tmp_path: Path
) -> None:
    run = run_with_dispatchers(fetched(package), tmp_path / package, on_failure="stop")

    assert run.ids(Outcome.PASSED) == stock_run(package).ids(Outcome.PASSED), run.output


def test_they_fail_on_a_facade_that_swallows_failures(package: str, fetched: Fetched, tmp_path: Path) -> None:
    run = run_with_dispatchers(
        fetched(package), tmp_path / package, on_failure="continue", only=ABOUT_FAILURES[package]
    )

    assert not run.ids(Outcome.PASSED), run.output
    assert run.ids(Outcome.FAILED)


def run_with_dispatchers(upstream: Upstream, root: Path, *, on_failure: str, only: str = "") -> SuiteRun:
    """The migrated tests, each request to an app with a dispatcher open around it."""
    migrated = upstream.copy_to(root)
    assert migrated.change_import()
    shutil.copy(AROUND_EACH_REQUEST, root)
    return run_suite(
        root,
        migrated.tests,
        arguments=[*ARGUMENTS, "-p", "around_each_request", "-k", only],
        settings={
            "WEIGHBRIDGE_POLICY": "all-in-process",
            "WEIGHBRIDGE_ON_FAILURE": on_failure,
            "WEIGHBRIDGE_WAIT_IN_PROCESS": "true",
        },
    )
