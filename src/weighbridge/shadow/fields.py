"""The fields in which a store keeps counts: each a JSON list that begins with its kind. The one place that knows them.

============================================  =======================================================================
field                                         holds
============================================  =======================================================================
``["calls", <ShadowCount>…, shadow]``         calls of one row; ``shadow`` is the shadow's revision
``["failed", task, revision, shadow]``        calls about which the shadow failed
``["uncounted", revision, shadow]``           calls that were compared and have no row
``["beyond"]``                                calls of any kind for which the day had no field left
``["policy", revision]``                      where the policy with this revision comes from
``["since", revision, shadow]``               from when on the two were compared on this day, in seconds since 1970
``["until", revision, shadow]``               until when they were
``["writer", id]``                            the number of the last delta of a process
============================================  =======================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from weighbridge.decision import Lane
from weighbridge.shadow.shadow import Row, Tally
from weighbridge.shadow.store import Delta


def delta_of(
    tally: Tally, *, shadow: str, names: Mapping[str, str], since: datetime, until: datetime, writer: str, number: int
) -> Delta:
    """What is to be kept of counts that came between two times, the shadow being the policy of revision ``shadow``.

    They stand on the day (UTC) on which they were taken: what waited for a store that was away is not told apart.
    """
    kinds = (
        [("calls", row, row[1], calls) for row, calls in tally.calls.items()],
        [("failed", key, key[1], calls) for key, calls in tally.failed.items()],
        [("uncounted", (revision,), revision, calls) for revision, calls in tally.uncounted.items()],
    )
    added = [each for kind in kinds for each in kind]
    revisions = dict.fromkeys(revision for _, _, revision, _ in added)
    return Delta(
        writer=_field("writer", writer),
        number=number,
        day=until.astimezone(UTC).date(),
        added={_field(kind, *parts, shadow): calls for kind, parts, _, calls in added},
        lowest={_field("since", revision, shadow): round(since.timestamp()) for revision in revisions},
        highest={_field("until", revision, shadow): round(until.timestamp()) for revision in revisions},
        named={_field("policy", known): names[known] for known in (*revisions, shadow) if known in names},
    )


def _field(kind: str, *parts: object) -> str:
    return json.dumps([kind, *parts], separators=(",", ":"))


def parts_of(field: str) -> list[Any]:
    """The kind of a field, and its other parts.

    :raises ValueError: if it is none.
    """
    try:
        parts = json.loads(field)
    except RecursionError:
        parts = None
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str | bool) for part in parts):
        raise ValueError(field)
    return parts


def row_of(parts: list[Any]) -> tuple[Row, str]:
    """The row of a field of the kind ``calls``, without its kind, and the shadow's revision.

    :raises ValueError: if it is of another shape, as a later version may write it.
    """
    *texts, by_load, shadow = parts
    task, revision, rule, lane, shadow_rule, shadow_lane = texts
    if not isinstance(by_load, bool) or not all(isinstance(text, str) for text in (*texts, shadow)):
        raise ValueError(parts)
    return (task, revision, rule, Lane(lane), shadow_rule, Lane(shadow_lane), by_load), shadow
