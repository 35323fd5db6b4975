"""``weighbridge policy diff``: what the shadow policy would have decided otherwise, by the counts that were kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weighbridge.cli.group import RefusedError
from weighbridge.cli.tasks import LANE_STYLES
from weighbridge.decision import Lane
from weighbridge.policy import OTHERWISE
from weighbridge.settings import Settings
from weighbridge.shadow import KEPT_DAYS, Comparison, ShadowCount, ShadowStore, comparisons

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
    "--revision", metavar="REVISION", help="Compare with the shadow policy of this revision, instead of the latest."
)
@click.option("--all", "everything", is_flag=True, help="Show the calls too on which both agree.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs: there all pairs of policies with all rows.",
)
def diff(*, days: int, revision: str | None, everything: bool, form: Literal["text", "json"]) -> None:
    """Show where the shadow policy would have sent calls down the other lane.

    It reads what the service has counted, in WEIGHBRIDGE_SHADOW_FILE, else in the Redis or Valkey of
    WEIGHBRIDGE_BROKER_URL and WEIGHBRIDGE_NAMESPACE (or of pyproject.toml). No module of yours is imported. Exit code:
    0 shown, whatever the policies say; 2 refused, or the broker does not answer.
    """
    today = datetime.now(UTC).date()
    with _store(Settings()) as store:
        found = comparisons(_read(store, today, days))
    if revision is not None:
        found = _only(found, revision, days)
    if form == "json":
        click.echo(json.dumps({"days": days, "comparisons": [_as_json(each) for each in found]}, indent=2))
        return
    console = Console(highlight=False)
    if not found:
        console.print(f"Nothing was compared in the last {_counted(days, 'day')}.", soft_wrap=True)
        console.print(
            "A service counts while WEIGHBRIDGE_SHADOW_POLICY names a policy, and writes its counts every 5 seconds.",
            soft_wrap=True,
        )
        return
    _print(console, found[0], everything=everything)
    _print_others(console, found[1:])


def _read(store: ShadowStore, today: date, days: int) -> Iterator[Mapping[str, str]]:
    return (store.read(today - timedelta(days=ago)) for ago in range(days))


@contextmanager
def _store(settings: Settings) -> Iterator[ShadowStore]:
    if settings.shadow_file is not None:
        from weighbridge.shadow.file_store import FileStore  # noqa: PLC0415  # not every Python has SQLite

        yield FileStore(settings.shadow_file)
        return
    if settings.broker_url is None:
        raise RefusedError(f"no counts are kept anywhere: there is no broker. {_KEEP_THEM}")
    from weighbridge.lanes.queue import StreamsBroker, connect  # noqa: PLC0415  # Dramatiq is loaded for its broker alone
    from weighbridge.shadow.server_store import store_of  # noqa: PLC0415  # as above

    broker = connect(settings.broker_url, namespace=settings.namespace, timeout_s=TIMEOUT_S)
    if not isinstance(broker, StreamsBroker):
        raise RefusedError(f"no counts are kept anywhere: RabbitMQ has no place for them. {_KEEP_THEM}")
    try:
        yield store_of(broker)
    finally:
        broker.client.close()


_KEEP_THEM: Final = (
    "Set WEIGHBRIDGE_SHADOW_FILE for the service and for this command, or give both a redis:// WEIGHBRIDGE_BROKER_URL"
)


def _only(found: Sequence[Comparison], revision: str, days: int) -> tuple[Comparison, ...]:
    chosen = tuple(each for each in found if each.shadow_revision.startswith(revision))
    if not chosen:
        known = ", ".join(dict.fromkeys(each.shadow_revision for each in found)) or "none"
        raise RefusedError(
            f"--revision {revision}: no shadow policy of this revision in the last {_counted(days, 'day')}. "
            f"There are counts of: {known}"
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


def _print(console: Console, found: Comparison, *, everything: bool) -> None:
    for role, name, revision in (
        ("policy", found.policy, found.revision),
        ("shadow", found.shadow_policy, found.shadow_revision),
    ):
        console.print(Text.assemble(f"{role}  ", (name or "?", "bold"), f", revision {revision}"), soft_wrap=True)
    console.print(
        f"{_counted(found.calls, 'call')} compared, from {_shown(found.since)} to {_shown(found.until)} UTC, "
        f"on {_counted(found.days, 'day')}.",
        soft_wrap=True,
    )
    console.print(_summary(found), soft_wrap=True)
    rows = [count for count in found.counts if everything or count.diverges]
    if rows:
        console.print()
        console.print(_table(rows, found.calls_by_task))
    notes = _notes(found, rows)
    if notes:
        console.print()
    for note in notes:
        console.print(Text(note, style="dim"), soft_wrap=True)


def _summary(found: Comparison) -> Text:
    if not found.diverging:
        return Text("The shadow would have sent each of them down the same lane.", style="green")
    share = found.diverging / found.calls
    shown = f"{share:.1%}" if share >= 0.001 else "less than 0.1%"  # noqa: PLR2004  # where the format says 0.0 %
    return Text(f"The shadow would have sent {found.diverging:,} of them ({shown}) down the other lane.")


def _table(rows: Sequence[ShadowCount], calls_by_task: Mapping[str, int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("task", overflow="fold", ratio=2)
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("of", justify="right", no_wrap=True)
    table.add_column("policy", overflow="fold", ratio=3)
    table.add_column("shadow", overflow="fold", ratio=3)
    for row in rows:
        shadow = _by(row.shadow_lane, row.shadow_rule)
        if row.by_load:
            shadow.append(f", {BY_LOAD}", "dim")
        table.add_row(Text(row.task), f"{row.calls:,}", f"{calls_by_task[row.task]:,}", _by(row.lane, row.rule), shadow)
    return table


def _by(lane: Lane, rule: str) -> Text:
    return Text.assemble((lane, LANE_STYLES[lane]), ", ", f"[{rule}]" if rule == OTHERWISE else rule)


def _notes(found: Comparison, rows: Sequence[ShadowCount]) -> list[str]:
    notes = []
    if any(row.by_load for row in rows):
        notes.append(
            f"{BY_LOAD}: the shadow looked at load there, and the load was the other policy's: what waited and ran "
            "followed from decisions that the shadow might not have made. Read it as what the shadow would have begun "
            "to do, not as how often it would have done it."
        )
    for task, calls in sorted(found.failures.items()):
        notes.append(f"The shadow failed about {_counted(calls, 'call')} of {task}: they are not among the compared.")
    if found.uncounted:
        notes.append(
            f"{_counted(found.uncounted, 'call')} {'has' if found.uncounted == 1 else 'have'} no row and may diverge: "
            "rules with made-up names took all rows."
        )
    return notes


def _print_others(console: Console, others: Sequence[Comparison]) -> None:
    if not others:
        return
    console.print("\nBefore that (--revision shows one):")
    for each in others:
        told = (
            f"  {each.policy or '?'} ({each.revision}), shadow {each.shadow_policy or '?'} ({each.shadow_revision}), "
            f"to {_shown(each.until)}: {each.diverging:,} of {_counted(each.calls, 'call')} diverge"
        )
        console.print(Text(told), soft_wrap=True)


def _shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
