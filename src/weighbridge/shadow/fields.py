"""The fields in which a store keeps counts: each a JSON list that begins with its kind. The one place that knows them.

============================================  =======================================================================
field                                         holds
============================================  =======================================================================
``["calls", <ShadowCount>…, shadow]``         calls of one row; ``shadow`` is the shadow's revision
``["failed", task, revision, shadow]``        calls about which the shadow failed
``["uncounted", revision, shadow]``           calls that were compared, beyond the last row
``["policy", revision]``                      where the policy with this revision comes from
``["since", revision, shadow]``               when counts of the two came first on this day, in seconds since 1970
``["until", revision, shadow]``               when they came last
``["writer", id]``                            the number of the last delta of a process
============================================  =======================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from weighbridge.decision import Lane
from weighbridge.shadow.shadow import Row, Tally
from weighbridge.shadow.store import Delta


def delta_of(tally: Tally, *, shadow: str, names: Mapping[str, str], now: datetime, writer: str, number: int) -> Delta:
    """What is to be kept of the counts, the shadow being the policy of revision ``shadow``."""
    added = {_field("calls", *row, shadow): calls for row, calls in tally.calls.items()}
    added |= {_field("failed", *key, shadow): calls for key, calls in tally.failed.items()}
    added |= {_field("uncounted", key, shadow): calls for key, calls in tally.uncounted.items()}
    revisions = {row[1] for row in tally.calls} | {key[1] for key in tally.failed} | set(tally.uncounted)
    at = f"{now.timestamp():.0f}"
    policies = {_field("policy", known): names[known] for known in {*revisions, shadow} & names.keys()}
    return Delta(
        writer=_field("writer", writer),
        number=number,
        day=now.astimezone(UTC).date(),
        added=added,
        first={_field("since", revision, shadow): at for revision in revisions},
        last={**policies, **{_field("until", revision, shadow): at for revision in revisions}},
    )


def _field(kind: str, *parts: object) -> str:
    return json.dumps([kind, *parts], separators=(",", ":"))


def parts_of(fields: Mapping[str, str]) -> Iterator[tuple[str, list[Any], str]]:
    """Kind, other parts and value of each field, of kinds that are known here: a later version may write others."""
    for field, value in fields.items():
        kind, *parts = json.loads(field)
        yield kind, parts, value


def row_of(parts: list[Any]) -> tuple[Row, str]:
    """The row of a field of the kind ``calls``, and the shadow's revision."""
    task, revision, rule, lane, shadow_rule, shadow_lane, by_load, shadow = parts
    return (task, revision, rule, Lane(lane), shadow_rule, Lane(shadow_lane), by_load), shadow
