"""The tables of the page on policy files that are made from the code: facts and lanes, between two remarks each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from weighbridge.decision import Lane, Origin
from weighbridge.load.broker_sampler import BROKER_INTERVAL_S, BROKER_STALE_S
from weighbridge.load.loop_sampler import LOOP_INTERVAL_S, LOOP_STALE_S
from weighbridge.policy.fact import FACTS, Fact, Kind

BEGIN: Final = "<!-- made by python -m tests.documentation.generate: {table} -->\n"
END: Final = "<!-- end -->"

#: Of each reading that is taken in the background: seconds from one to the next, and until it is unknown.
SAMPLED: Final = {"loop": (LOOP_INTERVAL_S, LOOP_STALE_S), "broker": (BROKER_INTERVAL_S, BROKER_STALE_S)}
#: Words of the code that are explained elsewhere.
LINKS: Final = {"the breaker": "[the breaker](../concepts/queue-lane.md#the-breaker)"}


def with_tables(page: str) -> str:
    """The page with its tables as the code has them; the rest of it is written by hand.

    :raises ValueError: if the page has no place for one.
    """
    for name, rows in TABLES.items():
        before, begin, rest = page.partition(BEGIN.format(table=name))
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"the page has no place for the table of {name}: write {BEGIN.format(table=name)}{END}")
        page = "".join([before, begin, "\n", *(f"{row}\n" for row in rows), "\n", end, after])
    return page


def _fact_row(fact: Fact) -> str:
    meaning = fact.meaning
    for words, link in LINKS.items():
        meaning = meaning.replace(words, link)
    return f"| `{fact.name}` | {_kind(fact.kind)} | {_default(fact)} | {_changes(fact)} | {meaning} |"


def _kind(kind: Kind) -> str:
    return "tags" if kind is Kind.TAGS else kind.removeprefix("a ")


def _default(fact: Fact) -> str:
    if fact.default is None:
        return "unknown"
    match fact.kind:
        case Kind.NUMBER:
            return f"{fact.default:g}"
        case Kind.TEXT:
            return f'`"{fact.default}"`'
        case Kind.FLAG:
            return str(fact.default).lower()
        case Kind.TAGS:
            return "none"
        case _ as never:
            assert_never(never)


def _changes(fact: Fact) -> str:
    match fact.origin:
        case Origin.DECLARATION:
            return "static, by the declaration"
        case Origin.CALL:
            return "static, by the call"
        case Origin.LIVE:
            return "live"
        case Origin.SAMPLED:
            interval_s, stale_s = SAMPLED[fact.name.partition(".")[0]]
            return f"read every {interval_s:g} s; unknown after {stale_s:g} s"
        case _ as never:
            assert_never(never)


TABLES: Final[Mapping[str, list[str]]] = {
    "facts": [
        "| fact | kind | by default | changes | meaning |",
        "|---|---|---|---|---|",
        *map(_fact_row, FACTS.values()),
    ],
    "lanes": ["| lane | meaning |", "|---|---|", *(f"| `{lane}` | {lane.meaning} |" for lane in Lane)],
}
