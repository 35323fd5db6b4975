"""The comparison of two policies: what of the shadow's counts a store has kept, summed up over days and processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from weighbridge.shadow.fields import parts_of, row_of
from weighbridge.shadow.shadow import ShadowCount, Tally

#: The last second that a date can have.
_LATEST_S: Final = 253_402_300_799


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one shadow policy said of the calls that one policy decided.

    ``policy`` and ``shadow_policy`` are where the two come from: a shipped name, a file. ``since`` and ``until``:
    the time in which they were compared; ``days`` (UTC) on which counts came. ``counts``: most calls first.
    ``failures``: how often the shadow failed, by task. ``uncounted``: calls that were compared and have no row.
    """

    policy: str
    revision: str
    shadow_policy: str
    shadow_revision: str
    since: datetime
    until: datetime
    days: int
    counts: tuple[ShadowCount, ...]
    failures: Mapping[str, int]
    uncounted: int

    @property
    def calls(self) -> int:
        """The calls that were compared, and have a row."""
        return sum(count.calls for count in self.counts)

    @property
    def calls_by_task(self) -> Mapping[str, int]:
        """The same, by task."""
        by_task: Counter[str] = Counter()
        for count in self.counts:
            by_task[count.task] += count.calls
        return by_task

    @property
    def diverging(self) -> int:
        """Those of ``calls`` that would have taken the other lane."""
        return sum(count.calls for count in self.counts if count.diverges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All ``comparisons`` in a store, the latest first, and what could not be among them.

    ``beyond``: calls that came when a day held too many rows. ``unreadable``: so many fields were of another kind.
    """

    comparisons: tuple[Comparison, ...]
    beyond: int
    unreadable: int


@dataclass(slots=True)
class _Pair:
    tally: Tally = field(default_factory=Tally)
    since_s: list[int] = field(default_factory=list)
    until_s: list[int] = field(default_factory=list)


class _Sum:
    """Adds up the fields of one day after another."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], _Pair] = {}
        self.names: dict[str, str] = {}
        self.beyond = 0
        self.unreadable = 0

    def add(self, day: Mapping[str, str]) -> None:
        for name, value in day.items():
            try:
                self._add(*parts_of(name), value=value)
            except (ValueError, TypeError):  # of a later version, or of somebody else
                self.unreadable += 1

    def _add(self, kind: object, *parts: object, value: str) -> None:
        match kind, parts:
            case "calls", _:
                row, shadow = row_of(list(parts))
                calls = _number(value)
                self._pair(row[1], shadow).tally.calls[row] += calls
            case "failed", (str(task), str(revision), str(shadow)):
                calls = _number(value)
                self._pair(revision, shadow).tally.failed[task, revision] += calls
            case "uncounted", (str(revision), str(shadow)):
                calls = _number(value)
                self._pair(revision, shadow).tally.uncounted[revision] += calls
            case "since", (str(revision), str(shadow)):
                at_s = _number(value, most=_LATEST_S)
                self._pair(revision, shadow).since_s.append(at_s)
            case "until", (str(revision), str(shadow)):
                at_s = _number(value, most=_LATEST_S)
                self._pair(revision, shadow).until_s.append(at_s)
            case "policy", (str(revision),):
                self.names[revision] = value
            case "beyond", ():
                self.beyond += _number(value)
            case "writer", _:
                pass
            case _:
                self.unreadable += 1

    def _pair(self, revision: str, shadow: str) -> _Pair:
        return self.pairs.setdefault((revision, shadow), _Pair())


def _number(value: str, *, most: int | None = None) -> int:
    """:raises ValueError: if it is below 0, or above ``most``."""
    number = int(value)
    if number < 0 or (most is not None and number > most):
        raise ValueError(value)
    return number


def evidence_of(days: Iterable[Mapping[str, str]]) -> Evidence:
    """What the fields of some days say. What cannot be read is counted and left out."""
    found = _Sum()
    for day in days:
        found.add(day)
    comparisons = [_comparison(*revisions, pair, found.names) for revisions, pair in found.pairs.items()]
    latest_first = sorted(comparisons, key=lambda each: (each.until, each.since), reverse=True)
    return Evidence(comparisons=tuple(latest_first), beyond=found.beyond, unreadable=found.unreadable)


def _comparison(revision: str, shadow: str, pair: _Pair, names: Mapping[str, str]) -> Comparison:
    counts = (ShadowCount(*row, calls) for row, calls in pair.tally.calls.items())
    # Both stand beside the counts, unless a part of a day was lost.
    times_s = [*pair.since_s, *pair.until_s] or [0]
    return Comparison(
        policy=names.get(revision, ""),
        revision=revision,
        shadow_policy=names.get(shadow, ""),
        shadow_revision=shadow,
        since=datetime.fromtimestamp(min(times_s), UTC),
        until=datetime.fromtimestamp(max(times_s), UTC),
        days=len(pair.until_s),
        counts=tuple(sorted(counts, key=lambda row: (-row.calls, row.task, row.rule, row.shadow_rule))),
        failures=pair.tally.failures,
        uncounted=pair.tally.uncounted.total(),
    )
