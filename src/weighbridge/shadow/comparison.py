"""The comparison of two policies: what of the shadow's counts a store has kept, summed up over days and processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from weighbridge.shadow.fields import parts_of, row_of
from weighbridge.shadow.shadow import ShadowCount, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one shadow policy said of the calls that one policy decided.

    ``policy`` and ``shadow_policy`` are where the two come from: a shipped name, a file. ``since`` and ``until``:
    when counts came first and last, to some seconds; ``days`` (UTC) on which there were any. ``failures``: how often
    the shadow failed, by task. ``uncounted``: calls that were compared, beyond the rows that a process keeps.
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
        """The calls that were compared."""
        return sum(count.calls for count in self.counts) + self.uncounted

    @property
    def calls_by_task(self) -> Mapping[str, int]:
        """The calls in ``counts``, by task."""
        by_task: Counter[str] = Counter()
        for count in self.counts:
            by_task[count.task] += count.calls
        return by_task

    @property
    def diverging(self) -> int:
        """The calls that would have taken the other lane, of those in ``counts``."""
        return sum(count.calls for count in self.counts if count.diverges)


@dataclass(slots=True)
class _Pair:
    tally: Tally = field(default_factory=Tally)
    since_s: list[float] = field(default_factory=list)
    until_s: list[float] = field(default_factory=list)


def comparisons(days: Iterable[Mapping[str, str]]) -> tuple[Comparison, ...]:
    """The comparisons in the fields of some days, the latest first; the rows of each by calls, most first."""
    pairs: dict[tuple[str, str], _Pair] = {}
    names: dict[str, str] = {}
    for day in days:
        _read(day, pairs, names)
    found = [_comparison(*revisions, pair, names) for revisions, pair in pairs.items() if pair.until_s]
    return tuple(sorted(found, key=lambda each: (each.until, each.since), reverse=True))


def _read(day: Mapping[str, str], pairs: dict[tuple[str, str], _Pair], names: dict[str, str]) -> None:
    for kind, parts, value in parts_of(day):
        match kind, parts:
            case "calls", _:
                row, shadow = row_of(parts)
                pairs.setdefault((row[1], shadow), _Pair()).tally.calls[row] += int(value)
            case "failed", [task, revision, shadow]:
                pairs.setdefault((revision, shadow), _Pair()).tally.failed[task, revision] += int(value)
            case "uncounted", [revision, shadow]:
                pairs.setdefault((revision, shadow), _Pair()).tally.uncounted[revision] += int(value)
            case "since", [revision, shadow]:
                pairs.setdefault((revision, shadow), _Pair()).since_s.append(float(value))
            case "until", [revision, shadow]:
                pairs.setdefault((revision, shadow), _Pair()).until_s.append(float(value))
            case "policy", [revision]:
                names[revision] = value
            case _:  # of a later version, or a writer's number
                pass


def _comparison(revision: str, shadow: str, pair: _Pair, names: Mapping[str, str]) -> Comparison:
    counts = (ShadowCount(*row, calls) for row, calls in pair.tally.calls.items())
    failures: Counter[str] = Counter()
    for (task, _), calls in pair.tally.failed.items():
        failures[task] += calls
    return Comparison(
        policy=names.get(revision, ""),
        revision=revision,
        shadow_policy=names.get(shadow, ""),
        shadow_revision=shadow,
        since=datetime.fromtimestamp(min(pair.since_s), UTC),
        until=datetime.fromtimestamp(max(pair.until_s), UTC),
        days=len(pair.until_s),
        counts=tuple(sorted(counts, key=lambda row: (-row.calls, row.task, row.rule, row.shadow_rule))),
        failures=dict(failures),
        uncounted=pair.tally.uncounted.total(),
    )
