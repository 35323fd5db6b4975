"""A suite written for FastAPI's ``BackgroundTasks`` passes with the import changed and nothing else.

The suite stands in ``suite_for_background_tasks/``, and is collected there too, over FastAPI's class.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from .changed_import import with_import_changed
from .subprocess_suite import AROUND_EACH_REQUEST, Outcome, SuiteRun, run_suite
from .upstream import fetch

SUITE = Path(__file__).with_name("suite_for_background_tasks")
#: Takes the place of the suite's ``service.py``.
WITH_DISPATCHER = Path(__file__).with_name("service_with_dispatcher.py")

#: As strict as our own tests: a blocked loop fails a test, and so does a warning.
CONFTEST = """
from blockbuster import blockbuster_ctx
from pytest import fixture

@fixture(autouse=True)
def blockbuster():
    with blockbuster_ctx() as guard:
        yield guard
"""
ARGUMENTS = ["--import-mode=importlib", "-W", "error"]


def copy_of_the_suite(root: Path) -> Path:
    copy = root / SUITE.name
    shutil.copytree(SUITE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "conftest.py").write_text(CONFTEST)
    (root / "pytest.ini").write_text("[pytest]\n")
    return copy


def migrate(suite: Path) -> None:
    """Change the import in each file; every test module has it."""
    for path in suite.glob("test_*.py"):
        source = path.read_text()
        migrated = with_import_changed(source)
        assert migrated != source
        assert "import BackgroundTasks" not in migrated.replace("from weighbridge import BackgroundTasks", "")
        path.write_text(migrated)


@pytest.fixture(scope="module")
def stock_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], SuiteRun]:
    """The suite as it stands, run once."""

    @cache
    def run() -> SuiteRun:
        suite = copy_of_the_suite(tmp_path_factory.mktemp("stock"))
        return run_suite(suite.parent, [suite.name], arguments=ARGUMENTS)

    return run


def test_the_suite_passes_on_fastapis_own_class(stock_run: Callable[[], SuiteRun]) -> None:
    run = stock_run()

    assert run.ids(Outcome.PASSED) == set(run.outcomes), run.output
    assert len(run.outcomes) >= 20


def test_it_passes_with_the_import_changed_and_nothing_else(stock_run: Callable[[], SuiteRun], tmp_path: Path) -> None:
    suite = copy_of_the_suite(tmp_path)
    migrate(suite)

    run = run_suite(tmp_path, [suite.name], arguments=ARGUMENTS)

    assert run.ids(Outcome.PASSED) == set(stock_run().outcomes), run.output


def test_it_passes_with_the_import_changed_in_services_with_a_dispatcher(
    stock_run: Callable[[], SuiteRun], tmp_path: Path
) -> None:
    suite = copy_of_the_suite(tmp_path)
    migrate(suite)
    shutil.copy(WITH_DISPATCHER, suite / "service.py")

    run = run_suite(tmp_path, [suite.name], arguments=ARGUMENTS)

    assert run.ids(Outcome.PASSED) == set(stock_run().outcomes), run.output


def test_it_fails_in_services_with_a_dispatcher_where_nothing_waits_for_the_calls(tmp_path: Path) -> None:
    """So it is the pytest plugin that lets it pass, and the calls are indeed run beside the requests."""
    suite = copy_of_the_suite(tmp_path)
    migrate(suite)
    shutil.copy(WITH_DISPATCHER, suite / "service.py")

    run = run_suite(tmp_path, [suite.name], arguments=ARGUMENTS, settings={"WEIGHBRIDGE_WAIT_IN_PROCESS": "false"})

    assert run.ids(Outcome.FAILED)


@pytest.mark.parametrize("around", [(), ("-p", "around_each_request")], ids=["bare", "with a dispatcher"])
def test_the_tests_of_fastapis_tutorial_pass_with_the_import_changed(
    around: tuple[str, ...], pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    assert pytestconfig.cache is not None
    fastapi = fetch("fastapi", pytestconfig.cache.mkdir("upstream")).copy_to(tmp_path / "fastapi")
    changed = fastapi.change_import()
    shutil.copy(AROUND_EACH_REQUEST, fastapi.root)

    run = run_suite(
        fastapi.root,
        ["tests/test_tutorial/test_background_tasks"],
        arguments=["-o", "markers=xdist_group(name): tests that share a folder", *around],
    )

    assert {"docs_src/background_tasks/tutorial001.py", "docs_src/background_tasks/tutorial002.py"} <= set(changed)
    assert run.ids(Outcome.PASSED) == set(run.outcomes), run.output
    assert len(run.outcomes) >= 3
