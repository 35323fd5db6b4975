"""Which dead letters a command is about: those of its ids, or those that its filters let through."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

import click

from weighbridge.lanes.queue.dead_letters import DeadLetter, DeadReason

F = TypeVar("F", bound=Callable[..., Any])

UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Age(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic in newer versions of click alone
    """A length of time such as ``90s``, ``15m``, ``2h`` or ``7d``; in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is no age; write a number and a unit, as in 90s, 15m, 2h or 7d", param, ctx)
        return float(match[1]) * UNITS_S[match[2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters. Of each kind one value is enough, and all kinds must agree; none lets all letters through."""

    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    reasons: tuple[DeadReason, ...]
    older_than_s: float | None
    newer_than_s: float | None
    limit: int | None

    @property
    def is_empty(self) -> bool:
        """Whether no filter was given."""
        return self == NOTHING_ASKED

    def of(self, letters: Iterable[DeadLetter], *, now_s: float) -> list[DeadLetter]:
        """Those that are let through, in the order given."""

        def passes(letter: DeadLetter) -> bool:
            age_s = now_s - letter.died_at_s
            return (
                (not self.queues or letter.queue in self.queues)
                and (not self.tasks or letter.task in self.tasks)
                and (not self.reasons or letter.reason in self.reasons)
                and (self.older_than_s is None or age_s > self.older_than_s)
                and (self.newer_than_s is None or age_s < self.newer_than_s)
            )

        return list(islice(filter(passes, letters), self.limit))


NOTHING_ASKED: Final = Selection(queues=(), tasks=(), reasons=(), older_than_s=None, newer_than_s=None, limit=None)


def filters(command: F) -> F:
    """The options that a :class:`Selection` is made from, for a command that takes them as ``**asked``."""
    reasons = [str(reason) for reason in DeadReason]
    options = (
        click.option("--queue", "queues", multiple=True, help="Of this queue only; repeatable."),
        click.option("--task", "tasks", multiple=True, help="Of this task only; repeatable."),
        click.option(
            "--reason", "reasons", multiple=True, type=click.Choice(reasons), help="With this reason; repeatable."
        ),
        click.option(
            "--older-than", "older_than_s", type=Age(), metavar="AGE", help="Dead for longer: 90s, 15m, 2h, 7d."
        ),
        click.option("--newer-than", "newer_than_s", type=Age(), metavar="AGE", help="Dead for less."),
        click.option("--limit", type=click.IntRange(min=1), help="At most so many, the latest."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def selection(
    *,
    queues: tuple[str, ...],
    tasks: tuple[str, ...],
    reasons: tuple[str, ...],
    older_than_s: float | None,
    newer_than_s: float | None,
    limit: int | None,
) -> Selection:
    """What the options of :func:`filters` ask for."""
    return Selection(
        queues=queues,
        tasks=tasks,
        reasons=tuple(DeadReason(reason) for reason in reasons),
        older_than_s=older_than_s,
        newer_than_s=newer_than_s,
        limit=limit,
    )
