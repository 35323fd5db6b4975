from __future__ import annotations

import importlib
import math
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from weighbridge import DeclarationWarning, Weight, task
from weighbridge.constraint import target_of
from weighbridge.decision import Lane
from weighbridge.declaration import UnknownOptionError
from weighbridge.errors import DeclarationError, DuplicateTaskError, WeightError
from weighbridge.task import TaskSpec, registry


@pytest.fixture(autouse=True)
def forget_tasks_of_tests() -> Iterator[None]:
    before = {spec.name for spec in registry}
    yield
    for spec in registry:
        if spec.name not in before:
            registry.discard(spec.name)


def spec_of(func: Callable[..., Any]) -> TaskSpec:
    spec = registry.of(func)
    assert spec is not None
    return spec


def logged(func: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


@task(name="tests.decorated", durable=True)
@logged
def decorated(number: int) -> int:
    return number + 1


@task(name="tests.module_level", weight=Weight.MEDIUM)
def module_level(number: int) -> int:
    return number + 1


def test_a_declared_function_is_the_very_function_that_it_was() -> None:
    def plain(number: int) -> int:
        return number * 2

    declared = task(weight=3)(plain)

    assert declared is plain
    assert declared(4) == 8


def test_options_beside_the_function_are_obeyed_too() -> None:
    def plain(number: int) -> int:
        return number * 2

    assert task(plain, durable=True, retries=7) is plain
    assert spec_of(plain).durable
    assert spec_of(plain).retries == 7


def test_tags_may_come_from_a_generator_and_are_taken_once() -> None:
    billing = task(tags=(tag for tag in ("billing", "eu")))

    @billing
    def charge() -> None: ...

    @billing
    def refund() -> None: ...

    assert spec_of(charge).tags == spec_of(refund).tags == ("billing", "eu")


def test_a_declared_function_can_still_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(module_level)) is module_level


def test_the_defaults_are_those_that_the_documentation_gives() -> None:
    @task
    def bare() -> None: ...

    spec = spec_of(bare)

    assert spec.name == f"{bare.__module__}.{bare.__qualname__}"
    assert (spec.weight, spec.queue, spec.priority, spec.tags) == (0.0, "default", 0, ())
    assert (spec.retries, spec.queue_retries) == (None, 3)
    assert (spec.min_backoff_s, spec.max_backoff_s, spec.time_limit_s) == (1.0, 60.0, None)
    assert not spec.durable
    assert not spec.shares_memory


@pytest.mark.parametrize(("weight", "queue"), [(49.9, "default"), (50, "heavy"), (Weight.HEAVY, "heavy")])
def test_the_queue_is_heavy_from_a_declared_weight_of_50(weight: float, queue: str) -> None:
    @task(weight=weight)
    def some() -> None: ...

    assert spec_of(some).queue == queue


def test_a_weight_function_sees_the_arguments_of_the_call() -> None:
    @task(weight=lambda rows, **_: 0.2 * len(rows))
    def load(rows: list[int], *, dry: bool = False) -> None: ...

    assert spec_of(load).weigh(([1, 2, 3, 4, 5],), {"dry": True}) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "answer", ["heavy", math.nan, math.inf, -1, True, None, 1.1e12, pytest.param(10**400, id="no float")]
)
def test_a_weight_function_that_answers_with_no_weight_raises_in_the_request(answer: Any) -> None:
    @task(weight=lambda: answer)
    def odd() -> None: ...

    with pytest.raises(WeightError, match=r"its weight function returned .*; return a finite number ≥ 0"):
        spec_of(odd).weigh((), {})


def test_a_weight_function_that_raises_is_named_with_its_error() -> None:
    @task(weight=lambda rows: 1 / len(rows))
    def load(rows: list[int]) -> None: ...

    with pytest.raises(WeightError, match=r"its weight function raised ZeroDivisionError; let it"):
        spec_of(load).weigh(([],), {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1}, r"has weight=-1; give a finite number ≥ 0"),
        ({"weight": math.nan}, r"has weight=nan"),
        ({"weight": math.inf}, r"has weight=inf"),
        ({"weight": "heavy"}, r"has weight='heavy'"),
        ({"weight": True}, r"has weight=True"),
        ({"weight": 1.1e12}, r"has weight=1100000000000.0; give a finite number ≥ 0, at most 1e12"),
        ({"weight": 10**400}, r"has weight=10{199}…; give"),
        ({"retries": -1}, r"has retries=-1; give a whole number ≥ 0"),
        ({"retries": 1.5}, r"has retries=1.5"),
        ({"min_backoff_s": 0}, r"has min_backoff_s=0; give a finite number of seconds > 0"),
        ({"min_backoff_s": 10**400}, r"has min_backoff_s=10{199}…; give .* at most 604,800 \(7 days\)"),
        ({"max_backoff_s": 604_801}, r"has max_backoff_s=604801; give .* at most 604,800 \(7 days\)"),
        ({"max_backoff_s": math.nan}, r"has max_backoff_s=nan"),
        ({"time_limit_s": 1e307}, r"has time_limit_s=1e\+307; give .* at most 31,622,400 \(366 days\)"),
        ({"min_backoff_s": 9, "max_backoff_s": 3}, r"has min_backoff_s=9 above max_backoff_s=3"),
        ({"time_limit_s": -3}, r"has time_limit_s=-3"),
        ({"priority": "high"}, r"has priority='high'; give a whole number"),
        ({"tags": "billing"}, r"has tags='billing'; give several strings"),
        ({"tags": [1]}, r"has tags=\[1\]"),
        ({"queue": "1st"}, r"has queue='1st'; start with a letter"),
        ({"queue": "mail.DQ"}, r"has queue='mail.DQ'"),
        ({"name": ""}, r"has name=''"),
        ({"name": "a b"}, r"has name='a b'"),
        ({"name": "a\n"}, r"has name='a\\n'; give 1 to 200 letters"),
        ({"name": "a\x00"}, r"has name='a\\x00'"),
        ({"name": "x" * 10_000}, r"has name='x{199}…; give 1 to 200 letters"),
        ({"on_unavailable": "retry"}, r"has on_unavailable='retry'; give 'reject' or 'run_here'"),
        ({"durable": "yes"}, r"has durable='yes'; give True or False"),
        ({"durable": True, "shares_memory": True}, r"is durable and shares_memory"),
        ({"durable": True, "on_unavailable": "run_here"}, r"is durable with on_unavailable='run_here'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_where_it_is_declared(options: dict[str, Any], message: str) -> None:
    def some() -> None: ...

    with pytest.raises(DeclarationError, match=message):
        task(**options)(some)

    assert registry.of(some) is None


def test_an_unknown_option_is_refused_with_a_suggestion() -> None:
    def some() -> None: ...

    with pytest.raises(UnknownOptionError, match=r"has the unknown option 'wieght'; did you mean weight\?"):
        task(wieght=3)(some)  # type: ignore[call-overload]  # the mistake is the point


def test_only_functions_are_declared() -> None:
    class Service:
        def send(self) -> None: ...

    for thing in (Service, Service().send, partial(print, 1), print):
        with pytest.raises(DeclarationError, match="@task takes a function"):
            task(thing)


def test_a_generator_function_is_refused_since_nobody_would_run_its_body() -> None:
    def rows() -> Iterator[int]:
        yield 1

    with pytest.raises(DeclarationError, match="is a generator function"):
        task(rows)


def test_two_functions_cannot_share_a_name() -> None:
    @task(name="tests.report")
    def first() -> None: ...

    with pytest.raises(
        DuplicateTaskError, match=r"'tests.report' is declared twice: by .*first \(.*, line \d+\) and by .*second"
    ):

        @task(name="tests.report")
        def second() -> None: ...

    assert spec_of(first) is registry.get("tests.report")


def test_reloading_a_module_replaces_its_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module_file = tmp_path / "reloaded_tasks.py"
    source = "from weighbridge import task\n\n@task(weight={weight})\ndef render() -> None: ...\n"
    module_file.write_text(source.format(weight=1))
    module = importlib.import_module("reloaded_tasks")
    module_file.write_text(source.format(weight=2.5))
    importlib.invalidate_caches()
    importlib.reload(module)

    spec = registry.get("reloaded_tasks.render")
    assert spec is not None
    assert spec.weight == 2.5
    assert spec.func is module.render


def test_a_durable_task_that_cannot_cross_is_refused_where_it_is_declared() -> None:
    amount = 3

    with pytest.raises(DeclarationError, match=r"is durable, so it must be queued, and it closes over amount"):

        @task(durable=True)
        def charge() -> int:
            return amount


def test_a_heavy_task_that_cannot_cross_warns_at_the_line_of_its_declaration() -> None:
    amount = 3

    with pytest.warns(DeclarationWarning, match="can only run in this process: it closes over amount") as caught:

        @task(weight=100)
        def render() -> int:
            return amount

    assert caught[0].filename == __file__


def test_a_heavy_task_that_says_shares_memory_does_not_warn() -> None:
    amount = 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        @task(weight=100, shares_memory=True)
        def render() -> int:
            return amount


def test_a_decorator_above_the_declaration_is_refused_and_not_obeyed_by_half() -> None:
    def tracing(func: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(func)
        def traced(*args: Any) -> Any:
            return func(*args)

        return traced

    @tracing
    @task(durable=True)
    def charge() -> None: ...

    with pytest.raises(DeclarationError, match="is hidden by a decorator above @task"):
        target_of(charge, registry)


def test_a_partial_of_a_durable_task_is_refused_and_never_runs_only_here() -> None:
    @task(durable=True, name="tests.charge")
    def charge(order: int) -> None: ...

    with pytest.raises(DeclarationError, match=r"'tests.charge' is durable, .* what was given is a partial"):
        target_of(partial(charge, 1), registry)


def test_a_partial_of_a_task_stays_and_keeps_its_name() -> None:
    target = target_of(partial(module_level, 1), registry)

    assert target.name == "tests.module_level"
    assert target.constraint is not None
    assert target.constraint.lane is Lane.IN_PROCESS


def test_a_task_whose_name_a_later_declaration_took_does_not_run_as_that_one() -> None:
    def declared(kind: str, *, durable: bool) -> Callable[..., Any]:
        if kind == "first":

            @task(durable=durable)
            def job() -> str:
                return "first"

        else:

            @task(durable=durable)
            def job() -> str:
                return "second"

        return job

    light, _ = declared("first", durable=False), declared("second", durable=False)
    target = target_of(light, registry)
    assert target.constraint is not None
    assert target.constraint.lane is Lane.IN_PROCESS
    assert "lost its name to a later declaration" in target.constraint.reason

    charge, latest = declared("first", durable=True), declared("second", durable=True)
    with pytest.raises(DeclarationError, match="lost its name to a later declaration"):
        target_of(charge, registry)
    assert target_of(latest, registry).constraint is not None


def test_a_decorator_below_the_declaration_crosses_with_its_function() -> None:
    target = target_of(decorated, registry)

    assert target.constraint is not None
    assert target.constraint.lane is Lane.QUEUE
    assert spec_of(decorated).codec.encode((3,), {}) == ([3], {})


@pytest.mark.parametrize("module", ["two words", "line\nbreak", "m" * 10_000])
def test_a_name_made_of_a_modules_is_refused_if_no_message_can_carry_it(module: str) -> None:
    def some() -> None: ...

    some.__module__ = module
    with pytest.raises(
        DeclarationError, match=r"has a name that messages and logs cannot carry.*@task\(name=…\)"
    ) as caught:
        task(some)
    assert len(str(caught.value)) < 500
