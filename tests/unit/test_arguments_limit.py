"""How large and how deep the arguments of a call may be, in ``add_task`` and in a worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from weighbridge.arguments import ArgumentCodec
from weighbridge.arguments.limit import DEEPEST, size_of
from weighbridge.call import CallOptions
from weighbridge.chooser import Chooser
from weighbridge.decision import Decision, Lane
from weighbridge.declaration import task
from weighbridge.errors import ArgumentSizeError, PayloadError
from weighbridge.settings import ArgumentsCheck, Settings
from weighbridge.task import TaskSpec, registry

KIB = 1024


class AnyQueue:
    refuses = False

    def check(self, spec: TaskSpec, options: CallOptions) -> None: ...

    def note_ran_here(self, calls: int) -> None: ...


class Everything:
    """A policy with one answer."""

    def __init__(self, lane: Lane) -> None:
        self._decision = Decision(lane=lane, reason="a test", rule="test")

    def decide(self, facts: Any, /) -> Decision:
        return self._decision


@task(name="limit.store")
def store(name: str, rows: Any, *, note: str = "") -> None: ...


@task(name="limit.store_all")
def store_all(*rows: Any, **more: Any) -> None: ...


def codec_of(func: Any) -> ArgumentCodec:
    spec = registry.of(func)
    assert spec is not None
    return spec.codec


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def choose(lane: Lane, *, limit_kib: int = 1, check: ArgumentsCheck = ArgumentsCheck.OFF, rows: Any) -> Any:
    chooser = Chooser(
        registry=registry,
        policy=Everything(lane),
        queue=AnyQueue(),
        arguments_check=check,
        arguments_limit_bytes=limit_kib * KIB,
    )
    return chooser.choose(store, ("a",), {"rows": rows})


def test_the_limit_is_256_kib_unless_it_is_set() -> None:
    assert Settings().arguments_limit_bytes == 256 * KIB
    assert Settings(arguments_limit_kib=1).arguments_limit_bytes == KIB


def test_arguments_are_measured_as_they_stand_in_the_message() -> None:
    payload = codec_of(store).encode(("ä",), {"rows": [1, 2]})
    assert size_of(*payload) == len(
        json.dumps([["ä"], {"rows": [1, 2]}], ensure_ascii=False, separators=(",", ":")).encode()
    )


def test_arguments_above_the_limit_are_refused_and_the_largest_is_named() -> None:
    with pytest.raises(ArgumentSizeError) as caught:
        choose(Lane.QUEUE, rows="x" * 2000)
    assert caught.value.argument == "rows"
    assert str(caught.value) == (
        "task 'limit.store' cannot be queued: argument 'rows' is 2,002 bytes of JSON, and all 2 arguments are 2,019: "
        "more than the 1,024 of arguments_limit_kib; pass an id or a reference, and keep the data where the worker can "
        "read them"
    )


def test_the_last_byte_within_the_limit_passes_and_the_next_does_not() -> None:
    assert size_of(["a"], {"rows": "x" * 1005}) == 1024
    assert choose(Lane.QUEUE, rows="x" * 1005).payload is not None
    with pytest.raises(ArgumentSizeError, match=r"1,025: more than the 1,024"):
        choose(Lane.QUEUE, rows="x" * 1006)


def test_what_stays_in_process_may_be_of_any_size() -> None:
    assert choose(Lane.IN_PROCESS, rows="x" * 5000).payload is None


def test_the_strict_check_of_arguments_that_stay_knows_the_limit() -> None:
    with pytest.raises(ArgumentSizeError, match="arguments_limit_kib"):
        choose(Lane.IN_PROCESS, check=ArgumentsCheck.STRICT, rows="x" * 5000)


@pytest.mark.parametrize("shape", [nested, lambda levels: (nested(levels),)[0]])
def test_sixty_three_levels_pass_and_sixty_four_do_not(shape: Any) -> None:
    codec = codec_of(store)
    assert DEEPEST == 63
    args, kwargs = codec.encode(("a", shape(63)), {})
    assert codec.decode(args, kwargs)[0][1] == shape(63)
    with pytest.raises(ArgumentSizeError, match=r"'rows' is nested more than 63 levels deep; pass it in a flat form"):
        codec.encode(("a", shape(64)), {})
    with pytest.raises(PayloadError, match=r"'rows' of its message is nested more than 63 levels deep"):
        codec.decode(["a", shape(64)], {})


@pytest.mark.parametrize("levels", [100, 300, 2_000, 100_000])
def test_no_depth_ends_in_a_recursion_error(levels: int) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    with pytest.raises(ArgumentSizeError, match=r"is nested"):
        codec_of(store).encode(("a", deep), {})
    with pytest.raises(PayloadError, match="nested more than 63 levels deep"):
        codec_of(store).decode(["a"], {"rows": deep})
    with pytest.raises(PayloadError, match="nested more than 63 levels deep"):
        codec_of(store_all).decode(["a", deep], {})
    with pytest.raises(PayloadError, match="nested more than 63 levels deep"):
        codec_of(store_all).decode([], {"more": deep})


def test_a_messages_arguments_above_the_limit_are_refused_even_if_they_fit_no_signature() -> None:
    codec = codec_of(store)
    with pytest.raises(PayloadError, match=r"'rows' of its message is 2,002 bytes"):
        codec.check_size(["a", "x" * 2000], {}, limit_bytes=KIB, error=PayloadError)
    with pytest.raises(PayloadError, match=r"is one too many"):
        codec.check_size(["a", "b", "x" * 2000], {}, limit_bytes=KIB, error=PayloadError)
    codec.check_size(["\ud800" * 2000], {}, limit_bytes=KIB, error=PayloadError)  # decoding refuses it
