"""``weighbridge policy diff``: what the shadow policy would have decided otherwise, by the counts that were kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weighbridge.cli.group import RefusedError
from weighbridge.cli.policy.subject import form_option
from weighbridge.cli.printable import printable
from weighbridge.cli.tasks import LANE_STYLES
from weighbridge.decision import Lane
from weighbridge.policy import OTHERWISE
from weighbridge.settings import Settings
from weighbridge.shadow import (
    KEPT_DAYS,
    MOST_FIELDS,
    Comparison,
    Evidence,
    ShadowCount,
    ShadowStore,
    evidence_of,
    store_in_file,
)

#: Seconds for one exchange with the broker.
TIMEOUT_S: Final = 30.0
BY_LOAD: Final = "by load"


@click.command("diff")
@click.option(
    "--days",
    type=click.IntRange(1, KEPT_DAYS),
    default=7,
    show_default=True,
    help="Look at so many days (UTC), today included.",
)
@click.option(
    "--revision",
    "revisions",
    metavar="REVISION",
    multiple=True,
    help="Compare policies of this revision, or one that begins so, instead of the latest. Twice: one of each policy.",
)
@click.option("--all", "everything", is_flag=True, help="Show the calls too on which both agree.")
@form_option("text", "json")
def diff(*, days: int, revisions: tuple[str, ...], everything: bool, form: Literal["text", "json"]) -> None:
    """Show where the shadow policy would have sent calls down the other lane.

    It reads what the service has counted, in WEIGHBRIDGE_SHADOW_FILE, else in the Redis or Valkey of
    WEIGHBRIDGE_BROKER_URL and WEIGHBRIDGE_NAMESPACE (or of pyproject.toml). No module of yours is imported. People
    are shown one pair of policies, programs all of them with all rows.

    Exit code: 0 shown, whatever the policies say; 2 refused, or the broker does not answer.
    """
    today = datetime.now(UTC).date()
    with _store(Settings()) as store:
        evidence = evidence_of([store.read(today - timedelta(days=ago)) for ago in range(days)])
        place = str(store)
    found = _only(evidence.comparisons, revisions, days)
    if form == "json":
        told = {
            "days": days,
            "beyond": evidence.beyond,
            "unreadable": evidence.unreadable,
            "comparisons": [_as_json(each) for each in found],
        }
        click.echo(json.dumps(told, indent=2))
        return
    console = Console(highlight=False)
    if found:
        _print(console, found[0], everything=everything)
        _print_others(console, found[1:])
    else:
        _say(console, f"Nothing was compared in the last {_counted(days, 'day')}. Looked at: {printable(place)}.")
        _say(console, "A service with a shadow policy writes what it has counted there every 5 seconds.")
    _print_rest(console, evidence)


@contextmanager
def _store(settings: Settings) -> Iterator[ShadowStore]:
    if settings.shadow_file is not None:
        yield store_in_file(settings.shadow_file)
        return
    if settings.broker_url is None:
        raise RefusedError(f"this command knows of no place with counts: no broker is configured. {_KEEP_THEM}")
    # Dramatiq is loaded for its broker alone.
    from weighbridge.lanes.queue import StreamsBroker, connect  # noqa: PLC0415
    from weighbridge.shadow.server_store import ServerStore  # noqa: PLC0415

    broker = connect(settings.broker_url, namespace=settings.namespace, timeout_s=TIMEOUT_S)
    if not isinstance(broker, StreamsBroker):
        raise RefusedError(f"this command knows of no place with counts: RabbitMQ keeps none. {_KEEP_THEM}")
    try:
        yield ServerStore.of(broker)
    finally:
        broker.client.close()


_KEEP_THEM: Final = (
    "Set WEIGHBRIDGE_SHADOW_FILE for the service and for this command, or give both a redis:// WEIGHBRIDGE_BROKER_URL"
)


def _only(found: Sequence[Comparison], revisions: Sequence[str], days: int) -> Sequence[Comparison]:
    """Those between policies of all these revisions."""
    chosen = [
        each
        for each in found
        if all(each.revision.startswith(one) or each.shadow_revision.startswith(one) for one in revisions)
    ]
    if revisions and not chosen:
        known = ", ".join(f"{each.revision} with {each.shadow_revision}" for each in found) or "none"
        asked = " ".join(f"--revision {one}" for one in revisions)
        raise RefusedError(
            f"{asked}: nothing such was compared in the last {_counted(days, 'day')}. There is: {printable(known)}"
        )
    return chosen


# -- for programs -------------------------------------------------------------------------------------------


def _as_json(found: Comparison) -> dict[str, Any]:
    return {
        "policy": found.policy,
        "revision": found.revision,
        "shadow_policy": found.shadow_policy,
        "shadow_revision": found.shadow_revision,
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "days": found.days,
        "calls": found.calls,
        "diverging": found.diverging,
        "uncounted": found.uncounted,
        "failures": dict(found.failures),
        "counts": [
            {
                "task": count.task,
                "calls": count.calls,
                "diverges": count.diverges,
                "lane": count.lane,
                "rule": count.rule,
                "shadow_lane": count.shadow_lane,
                "shadow_rule": count.shadow_rule,
                "by_load": count.by_load,
            }
            for count in found.counts
        ],
    }


# -- for people ---------------------------------------------------------------------------------------------


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)


def _print(console: Console, found: Comparison, *, everything: bool) -> None:
    for role, name, revision in (
        ("policy", found.policy, found.revision),
        ("shadow", found.shadow_policy, found.shadow_revision),
    ):
        told = Text.assemble(f"{role}  ", (printable(name) or "?", "bold"), f", revision {printable(revision)}")
        console.print(told, soft_wrap=True)
    _say(
        console,
        f"{_counted(found.calls, 'call')} compared, from {_shown(found.since)} to {_shown(found.until)} UTC, "
        f"on {_counted(found.days, 'day')}.",
    )
    _say(console, *_summary(found))
    rows = [count for count in found.counts if everything or count.diverges]
    if rows:
        console.print()
        console.print(_table(rows, found.calls_by_task))
    notes = _notes(found, rows)
    if notes:
        console.print()
    for note in notes:
        _say(console, note, "dim")


def _summary(found: Comparison) -> tuple[str, str]:
    """What it comes to, and its style: good news only if all calls were compared."""
    beside = found.uncounted + sum(found.failures.values())
    more = f" {_counted(beside, 'more call')} could not be compared: see below." if beside else ""
    style = "yellow" if beside else ""
    if not found.calls:
        return f"Nothing could be compared.{more}", style
    if not found.diverging:
        return f"The shadow would have sent each of them down the same lane.{more}", style or "green"
    share = _share(found.diverging / found.calls)
    return f"The shadow would have sent {found.diverging:,} of them ({share}) down the other lane.{more}", style


def _share(share: float) -> str:
    """A share that is neither nothing nor all is never shown as such."""
    if share < 0.001:  # noqa: PLR2004  # what the format would round to 0.0 %
        return "less than 0.1%"
    return "more than 99.9%" if 0.999 < share < 1 else f"{share:.1%}"  # noqa: PLR2004  # likewise


def _table(rows: Sequence[ShadowCount], calls_by_task: Mapping[str, int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("task", overflow="fold", ratio=2)
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("of all", justify="right", no_wrap=True)
    table.add_column("policy", overflow="fold", ratio=3)
    table.add_column("shadow", overflow="fold", ratio=3)
    for row in rows:
        shadow = _by(row.shadow_lane, row.shadow_rule)
        if row.by_load:
            shadow.append(f", {BY_LOAD}", "dim")
        of = f"{calls_by_task[row.task]:,}"
        table.add_row(Text(printable(row.task)), f"{row.calls:,}", of, _by(row.lane, row.rule), shadow)
    return table


def _by(lane: Lane, rule: str) -> Text:
    return Text.assemble((lane, LANE_STYLES[lane]), ", ", f"[{rule}]" if rule == OTHERWISE else printable(rule))


def _notes(found: Comparison, rows: Sequence[ShadowCount]) -> list[str]:
    notes = []
    if any(row.by_load for row in rows):
        notes.append(
            f"{BY_LOAD}: a hint only. The shadow looked at how busy the service was (a policy in code: it may have), "
            "and that followed from the policy that is obeyed. Under the shadow it would have been busy in another way."
        )
    for task, calls in sorted(found.failures.items()):
        notes.append(f"The shadow failed about {_counted(calls, 'call')} of {printable(task)}, which are not compared.")
    if found.uncounted:
        notes.append(
            f"{_counted(found.uncounted, 'call')} more may diverge or not: there were more pairs of rules than are "
            "counted apart. That is so with names of rules that a policy in code makes up."
        )
    return notes


def _print_others(console: Console, others: Sequence[Comparison]) -> None:
    if not others:
        return
    _say(console, "\nAlso compared (--revision shows one):")
    for each in others:
        revisions = (
            f"{each.policy or '?'} ({each.revision}), shadow {each.shadow_policy or '?'} ({each.shadow_revision})"
        )
        diverging = f"{each.diverging:,} of {_counted(each.calls, 'call')} diverge"
        _say(console, f"  {printable(revisions)}, to {_shown(each.until)}: {diverging}")


def _print_rest(console: Console, evidence: Evidence) -> None:
    if evidence.beyond:
        more = _counted(evidence.beyond, "more call")
        _say(console, f"{more} came when a day held {MOST_FIELDS:,} rows: a policy in code makes up names of rules.")
    if evidence.unreadable:
        fields = _counted(evidence.unreadable, "field")
        _say(console, f"{fields} could not be read: a later version has written there, or another program.")


def _shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
