"""The check of calls that stay: drift by path and type, told once, of a share of the calls."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pytest
from pydantic import AfterValidator, BaseModel
from typing_extensions import Annotated  # noqa: UP035  # evaluated beside Any

from weighbridge import Dispatcher, task
from weighbridge.arguments import ArgumentCodec, drift_check
from weighbridge.arguments.drift_check import ARGUMENTS_WOULD_NOT_CROSS, MOST_PLACES, DriftCheck
from weighbridge.errors import ArgumentError, SettingsError
from weighbridge.settings import ArgumentsCheck, Settings

WHEN = datetime.fromisoformat("2026-11-28T10:00")
LIMIT_BYTES = 100_000


@dataclass
class Row:
    when: Any


class Page(BaseModel):
    title: Annotated[str, AfterValidator(str.upper)] = "A"


class Report(BaseModel):
    page: Page = Page()


def codec_of(annotation: Any) -> ArgumentCodec:
    def takes(rows: Any) -> None: ...

    takes.__annotations__["rows"] = annotation
    return ArgumentCodec(takes, task="app.takes")


def strict(*, share: float = 1.0) -> DriftCheck:
    return DriftCheck(refuses=True, share=share, limit_bytes=LIMIT_BYTES)


def warn(*, share: float = 1.0) -> DriftCheck:
    return DriftCheck(refuses=False, share=share, limit_bytes=LIMIT_BYTES)


def refusal(annotation: Any, rows: Any) -> ArgumentError:
    with pytest.raises(ArgumentError) as caught:
        strict().look("app.takes", codec_of(annotation), (rows,), {})
    return caught.value


def looked_at(check: DriftCheck, calls: Iterable[int], *, task: str = "app.takes") -> list[int]:
    """Which of these calls the check has looked at: all of them would be refused."""
    codec, seen = codec_of(int), []
    for number in calls:
        try:
            check.look(task, codec, ("no number",), {})
        except ArgumentError:
            seen.append(number)
    return seen


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    caplog.set_level(logging.WARNING)
    return lambda: caplog.records


# -- what is said -------------------------------------------------------------------------------------------


def test_a_drift_is_told_by_path_and_type() -> None:
    rows = [Row("2026"), Row("2026"), Row("2026"), Row(WHEN)]

    error = refusal(list[Row], rows)

    assert error.drift == "rows[3].when: datetime → str"
    assert (error.argument, error.path, error.place) == ("rows", "[3].when", "rows[3].when")
    assert (error.sent, error.arrives) == ("datetime", "str")
    assert str(error) == (
        "task 'app.takes' cannot be queued: argument 'rows' would arrive as another type, rows[3].when: datetime → str;"
        " pass a str, or annotate it with the type that is passed"
    )


def test_another_difference_is_told_by_its_place() -> None:
    error = refusal(list[Report], [Report(), Report(page=Page.model_construct(title="secret"))])

    assert (error.place, error.drift, error.sent, error.arrives) == ("rows[1].page.title", None, None, None)
    assert "cannot be queued: argument 'rows[1].page.title' would arrive changed; " in str(error)


def test_a_fault_of_the_whole_argument_is_told_by_its_name() -> None:
    error = refusal(int, "secret")

    assert (error.place, error.path, error.drift) == ("rows", "", None)
    assert "argument 'rows' is a str that does not validate" in str(error)


def test_keys_of_another_type_are_a_drift_of_the_keys() -> None:
    assert refusal(Any, {"a": {1: "secret"}}).drift == "rows['a'].keys(): int → str"
    assert refusal(dict[date, str], {WHEN: "secret"}).drift is None  # no key that a date could be read from


def test_a_lost_attribute_is_no_drift() -> None:
    row = Row("2026")
    row.note = "secret"  # type: ignore[attr-defined]  # that is the point

    error = refusal(list[Row], [row])

    assert (error.place, error.drift) == ("rows[0].note", None)
    assert "argument 'rows[0].note' would not arrive" in str(error)


def test_of_several_faults_the_first_one_is_told() -> None:
    row = Row("2026")
    for name in "nmlkjihgfedcba":
        setattr(row, name, "secret")

    assert [refusal(list[Row], [row, Row(WHEN)]).place for _ in range(3)] == ["rows[0].n"] * 3


def test_two_classes_of_one_name_are_told_apart_by_their_modules() -> None:
    other: Any = dataclass(type("Row", (), {"__annotations__": {"when": Any}, "__module__": "elsewhere"}))

    assert refusal(Row, other("2026")).drift == f"rows: elsewhere.Row → {__name__}.Row"


def test_an_error_keeps_its_place_through_pickle() -> None:
    error = pickle.loads(pickle.dumps(refusal(list[Row], [Row(WHEN)])))

    assert (error.drift, error.place) == ("rows[0].when: datetime → str", "rows[0].when")


# -- the warning --------------------------------------------------------------------------------------------


def test_a_warning_names_the_drift_and_no_value(told: Callable[[], list[logging.LogRecord]]) -> None:
    warn().look("app.takes", codec_of(list[Row]), ([Row(WHEN)],), {})

    [record] = told()
    assert vars(record).items() >= {
        ("event", ARGUMENTS_WOULD_NOT_CROSS),
        ("task", "app.takes"),
        ("argument", "rows"),
        ("drift", "rows[0].when: datetime → str"),
    }
    assert record.name == "weighbridge.chooser"
    assert "drift=rows[0].when: datetime → str remedy=pass a str, or" in record.getMessage()
    assert "2026" not in record.getMessage()


def test_a_warning_of_another_difference_has_the_place_in_its_problem(
    told: Callable[[], list[logging.LogRecord]],
) -> None:
    warn().look("app.takes", codec_of(list[str]), (["a", "\ud800"],), {})

    [record] = told()
    assert "problem=cannot be queued: argument 'rows[1]' is text with a lone surrogate" in record.getMessage()
    assert not hasattr(record, "drift")


def test_a_place_is_told_once_for_each_task_whatever_its_index(told: Callable[[], list[logging.LogRecord]]) -> None:
    check, codec = warn(), codec_of(list[Row])
    for rows in ([Row(WHEN)], [Row(WHEN)], [Row("2026"), Row(WHEN)]):
        check.look("app.takes", codec, (rows,), {})
    other = ArgumentCodec(lambda rows: None, task="app.other")
    check.look("app.other", other, ((1,),), {})
    check.look("app.other", other, ([(1,)],), {})

    assert [vars(record)["drift"] for record in told()] == [
        "rows[0].when: datetime → str",
        "rows: tuple → list",
        "rows[0]: tuple → list",
    ]


def test_another_fault_at_the_same_place_is_told_as_well(told: Callable[[], list[logging.LogRecord]]) -> None:
    """Or the one that is mended would uncover one that was never seen."""
    check, codec = warn(), codec_of(int)
    for value in ("5", 5.0, "5"):
        check.look("app.takes", codec, (value,), {})

    assert [vars(record)["drift"] for record in told()] == ["rows: str → int", "rows: float → int"]


def test_a_refusal_says_that_the_call_was_not_to_be_queued() -> None:
    assert refusal(int, "5").__notes__ == [
        "The call was to stay in process: arguments_check='strict' refuses what a queue would."
    ]


def test_keys_that_are_data_do_not_fill_the_log_nor_the_memory(told: Callable[[], list[logging.LogRecord]]) -> None:
    check, codec = warn(), codec_of(Any)
    for number in range(2 * MOST_PLACES):
        check.look("app.takes", codec, ({f"k{number}": (1,)},), {})

    assert len(told()) == MOST_PLACES
    assert [len(seen.places) for seen in check._seen.values()] == [MOST_PLACES]


def test_tasks_that_come_and_go_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_check, "MOST_TASKS", 2)
    check = strict(share=0.5)

    for name in ("app.a", "app.b", "app.c"):
        assert looked_at(check, range(3), task=name) == [0, 2]
        assert len(check._seen) <= 2


# -- the share ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "calls"),
    [
        (1.0, [*range(12)]),
        (0.5, [0, 2, 4, 6, 8, 10]),
        (0.25, [0, 4, 8]),
        (0.4, [0, 3, 5, 8, 10]),
        (0.01, [0]),
    ],
)
def test_the_first_call_of_each_task_is_checked_and_then_its_share(share: float, calls: list[int]) -> None:
    check = strict(share=share)

    assert looked_at(check, range(12)) == calls
    assert looked_at(check, range(12), task="app.other") == calls


def test_one_call_in_a_hundred_stays_one_in_a_hundred() -> None:
    assert looked_at(strict(share=0.01), range(1_000)) == [*range(0, 1_000, 100)]


def test_threads_share_one_count() -> None:
    check, lists = strict(share=0.01), [[0] for _ in range(8)]
    check.look("app.takes", codec_of(int), (1,), {})  # the first

    def run(seen: list[int]) -> None:
        seen[:] = looked_at(check, range(500))

    threads = [threading.Thread(target=run, args=(seen,)) for seen in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(len(seen) for seen in lists) == 40


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_is_more_than_nothing_and_at_most_all(share: float) -> None:
    with pytest.raises(SettingsError, match="arguments_check_share"):
        Settings(arguments_check_share=share)


@pytest.mark.anyio
async def test_a_dispatcher_checks_the_share_that_is_set(only_own_tasks: None) -> None:
    @task(name="drift.takes")
    def takes(rows: int) -> None: ...

    checked = []
    dispatcher = Dispatcher(policy="all-in-process", arguments_check="strict", arguments_check_share=0.5)
    async with dispatcher, dispatcher.tasks() as tasks:
        for number in range(4):
            try:
                tasks.add_task(takes, "no number")  # type: ignore[arg-type]  # that is the point
            except ArgumentError:
                checked.append(number)
    assert checked == [0, 2]


def test_what_is_off_is_no_check() -> None:
    assert DriftCheck.of(ArgumentsCheck.OFF, share=1.0, limit_bytes=1) is None
    assert Settings().arguments_check_share == 1.0
