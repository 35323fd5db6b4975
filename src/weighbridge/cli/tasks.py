"""``weighbridge tasks``: the declared tasks, and the lane that each takes by the current policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weighbridge.cli.group import RefusedError
from weighbridge.constraint import constraint_of
from weighbridge.decision import Lane
from weighbridge.dispatcher import Dispatcher
from weighbridge.policy import reads_of
from weighbridge.policy.protocol import source_of
from weighbridge.settings import Settings
from weighbridge.task import TaskSpec, registry
from weighbridge.worker.modules import find_dispatcher, import_modules

#: Facts that are the same for every call of a task; its weight too, unless it is computed from the arguments.
FIXED_FACTS: Final = frozenset({"name", "queue", "priority", "tags", "is_async"})
LANE_STYLES: Final = {Lane.IN_PROCESS: "cyan", Lane.QUEUE: "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One task. ``weight`` in CPU milliseconds, ``None`` if it is computed for each call.

    ``lanes`` are those that its calls can take: two if the policy looks at what differs between calls or
    moments, which ``depends_on`` then names.
    """

    name: str
    weight: float | None
    constraint: str | None
    constraint_reason: str | None
    queue: str
    lanes: tuple[Lane, ...]
    depends_on: tuple[str, ...]


@click.command("tasks")
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@click.option("--module", "more", multiple=True, metavar="MODULE", help="One more module; repeatable.")
@click.option("--dispatcher", metavar="MODULE:NAME", help="The dispatcher, if the modules hold several.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
def command(
    modules: tuple[str, ...], *, more: tuple[str, ...], dispatcher: str | None, form: Literal["table", "json"]
) -> None:
    """List the tasks that these MODULEs declare: weight, constraint, queue, and their lane by the current policy.

    Without a MODULE, those of the setting `modules`. Nothing is connected to, and no task is run. A function without
    @task is not listed: a call of it always stays in process.
    """
    modules = (*modules, *more) or Settings().modules
    if not modules:
        raise RefusedError(
            "no module to look at: name those that declare tasks (weighbridge tasks app.tasks), "
            "or set WEIGHBRIDGE_MODULES, or modules in [tool.weighbridge]"
        )
    found, _ = find_dispatcher(import_modules(modules), chosen=dispatcher)
    rows = [row_of(spec, found) for spec in sorted(registry, key=lambda spec: spec.name)]
    if form == "json":
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    elif not rows:
        click.echo(f"No task is declared in {', '.join(modules)}: decorate a function with @task.")
    else:
        footer = f"\nThe policy is {source_of(found.policy)}. Functions without @task stay in process; none is listed."
        Console().print(_table(rows), Text(footer, style="dim"))


def row_of(spec: TaskSpec, dispatcher: Dispatcher) -> Row:
    """What can be said about a task without a call of it.

    :raises DeclarationError: if it cannot work as declared.
    """
    constraint = constraint_of(spec)
    lanes = sorted(dispatcher.lanes_of(spec))
    return Row(
        name=spec.name,
        weight=None if callable(spec.weight) else spec.weight,
        constraint=constraint.decision.rule if constraint else None,
        constraint_reason=constraint.reason if constraint else None,
        queue=spec.queue,
        lanes=tuple(lanes),
        depends_on=_differing_facts(spec, dispatcher) if len(lanes) > 1 else (),
    )


def _differing_facts(spec: TaskSpec, dispatcher: Dispatcher) -> tuple[str, ...]:
    """The facts that the policy reads and that no declaration fixes."""
    reads = reads_of(dispatcher.policy)
    if reads is None:
        return ()  # it is an object of the user's, and may look at anything
    fixed = FIXED_FACTS if callable(spec.weight) else FIXED_FACTS | {"weight"}
    return tuple(sorted(reads - fixed))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("task", overflow="fold")
    table.add_column("weight", justify="right")
    table.add_column("constraint")
    table.add_column("queue")
    table.add_column("lane by the policy", overflow="fold")
    for row in rows:
        weight = "computed" if row.weight is None else f"{row.weight:g} ms"
        constraint = (row.constraint or "").replace("_", " ")
        queue = row.queue if Lane.QUEUE in row.lanes else ""
        table.add_row(row.name, weight, constraint, queue, _lane(row))
    return table


def _lane(row: Row) -> Text:
    if len(row.lanes) == 1:
        return Text(row.lanes[0], style=LANE_STYLES[row.lanes[0]])
    return Text(f"either, by {', '.join(row.depends_on) if row.depends_on else 'what it finds'}")
