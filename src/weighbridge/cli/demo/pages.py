"""What the demo shows: its introduction, a table for each policy, and the comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from weighbridge.cli.demo.figures import PolicyFigures, TaskFigures, Times
from weighbridge.cli.demo.traffic import COUNTS, SPREAD_S, Kind
from weighbridge.decision import Lane

#: The example's tasks: how each is declared, and what it does.
TASKS: Final = {
    "audit": ("weight 1 ms", "appends a line to a file"),
    "count_sale": ("shares memory", "changes a counter that lives in the web process"),
    "charge": ("durable", "takes money, so it must survive a crash"),
    "render_report": ("weight 150 ms", "draws a chart: 150 ms of a processor"),
}
LANE_STYLES: Final = {Lane.IN_PROCESS: "cyan", Lane.QUEUE: "yellow"}
#: Ratios below the first count as the same, for so much do two runs differ; above the second they are striking.
SAME_BELOW: Final = 1.5
STRIKING_FROM: Final = 3.0
FAULTS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One line of the comparison: what it is called, and where it stands in a policy's figures."""

    name: str
    value: Callable[[PolicyFigures], float]


PROBE: Final = Measure(name="a health probe is answered", value=lambda figures: figures.probes.p99)
AUDIT: Final = Measure(name="an audit line is written", value=lambda figures: figures.tasks["audit"].to_done.p99)
MEASURES: Final = (
    PROBE,
    Measure(name="a page view is answered", value=lambda figures: figures.views.p99),
    AUDIT,
    Measure(name="a charge is taken", value=lambda figures: figures.tasks["charge"].to_done.p99),
    Measure(name="a report is drawn", value=lambda figures: figures.tasks["render_report"].to_done.p99),
)


def introduction(policies: Sequence[str], *, server: str) -> RenderableType:
    """What is about to happen, for somebody who has never seen it."""
    requests = sum(COUNTS.values()) - COUNTS[Kind.PROBE]
    lanes = Text.assemble(
        "An orders service adds background tasks to its requests. Each call takes one of two lanes: ",
        ("in_process", LANE_STYLES[Lane.IN_PROCESS]),
        ", in the web process after the response, or ",
        ("queue", LANE_STYLES[Lane.QUEUE]),
        ", in a Dramatiq worker. Tasks are declared by what they need; a policy chooses the lane.\n",
    )
    tasks = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for task, (declared, what) in TASKS.items():
        tasks.add_row(task, Text(declared, style="bold"), Text(what, style="dim"))
    plan = Text.assemble(
        f"\nNow {requests} requests and {COUNTS[Kind.PROBE]} health probes are sent within {SPREAD_S:.0f} s, and ",
        f"the same ones again under {_listed(policies[1:])}. ",
        (f"All of it is real: uvicorn, a worker, {server}, an HTTP client.", "dim"),
        "\nTimes count from the moment when a request is due: p50 is the median, p99 what 99 of 100 stay within.\n",
    )
    return Group(Rule("weighbridge demo", style="dim"), lanes, Padding(tasks, (0, 0, 0, 2)), plan)


def policy_page(figures: PolicyFigures, *, description: str) -> RenderableType:
    """The table of one policy, and what became of its calls."""
    table = _table()
    for header in ("task", "calls", "lane", "ran in"):
        table.add_column(f"\n{header}", justify="right" if header == "calls" else "left", no_wrap=True)
    for header in ("ms to response", "ms to done"):
        table.add_column(f"{header}\n{_pair('p50', 'p99')}", justify="right", no_wrap=True)
    for name, task in figures.tasks.items():
        processes = _processes(task, figures.web_pid)
        table.add_row(name, str(task.calls), _lanes(task), processes, _times(task.to_response), _times(task.to_done))
    probes = str(COUNTS[Kind.PROBE])
    table.add_row("health probe", probes, "", f"web {figures.web_pid}", _times(figures.probes), "", style="dim")
    return Group(Text.assemble((figures.policy, "bold"), f": {description}"), table, _verdict(figures))


def comparison(all_figures: Sequence[PolicyFigures]) -> RenderableType:
    """The same measurements side by side, and in words."""
    first = all_figures[0]
    table = _table()
    table.add_column("ms until (p99)")
    for figures in all_figures:
        table.add_column(figures.policy, justify="right", no_wrap=True)
    for measure in MEASURES:
        table.add_row(measure.name, *(_compared(measure, figures, first) for figures in all_figures))
    words = [Padding(Text(f"• {sentence}"), (0, 0, 0, 2)) for sentence in _sentences(all_figures)]
    return Group(Rule("What the policy buys", style="dim"), table, *words)


def faults(figures: PolicyFigures) -> RenderableType:
    """What is missing, double or misplaced, by name."""
    lines = []
    for kind, items in figures.account.faults.items():
        lines.append(Text(f"{figures.policy}: {len(items)} {kind}", style="bold red"))
        lines += [Text(f"    {item}") for item in items[:FAULTS_SHOWN]]
        if len(items) > FAULTS_SHOWN:
            lines.append(Text(f"    … and {len(items) - FAULTS_SHOWN} more"))
    return Group(*lines)


def farewell(*, took_s: float) -> RenderableType:
    """The last lines."""
    return Text(
        f"\nTook {took_s:.0f} s; all processes are stopped and their files removed.\n"
        "The service is examples/orders, its policy policies/by-weight.toml. A service chooses by WEIGHBRIDGE_POLICY.\n"
        "Your own app with all that it needs: weighbridge dev app:app",
        style="dim",
    )


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")


def _verdict(figures: PolicyFigures) -> Text:
    account = figures.account
    if account.faults:
        found = ", ".join(f"{len(items)} {kind}" for kind, items in account.faults.items())
        return Text(f"✗ {account.accepted} calls accepted; {found}\n", style="bold red")
    return Text.assemble(
        ("✓", "bold green"),
        f" {account.accepted} calls were accepted, and each ran exactly once, where it says above.\n",
    )


def _lanes(task: TaskFigures) -> Text:
    several = len(task.lanes) > 1
    return Text("\n").join(
        Text(f"{lane} {count}" if several else lane, style=LANE_STYLES[lane])
        for lane, count in sorted(task.lanes.items())
    )


def _processes(task: TaskFigures, web_pid: int) -> str:
    return "\n".join(f"{'web' if pid == web_pid else 'worker'} {pid}" for pid in task.pids)


def _times(times: Times) -> str:
    return _pair(_ms(times.p50), _ms(times.p99))


def _pair(left: str, right: str) -> str:
    return f"{left:>6} {right:>6}"


def _ms(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004  # three digits say enough


def _compared(measure: Measure, figures: PolicyFigures, first: PolicyFigures) -> Text:
    ratio = _ratio(measure, figures, first)
    text = Text(_ms(measure.value(figures)))
    if ratio >= SAME_BELOW:
        text.append(
            f"  {_times_as(ratio):>4} \N{MULTIPLICATION SIGN}", style="bold red" if ratio >= STRIKING_FROM else ""
        )
    elif figures is not first:
        text.append(" " * 8)
    return text


def _ratio(measure: Measure, figures: PolicyFigures, first: PolicyFigures) -> float:
    """How many times as long it took as under the first policy; NaN if either was not measured."""
    return measure.value(figures) / measure.value(first)


def _times_as(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"  # noqa: PLR2004  # two digits say enough


def _sentences(all_figures: Sequence[PolicyFigures]) -> Iterator[str]:
    """Where the calls ran, and what came of it; nothing that was not measured."""
    first, *others = all_figures
    for task, measure, lane, told in (
        ("render_report", PROBE, Lane.IN_PROCESS, "the reports were drawn in the web process"),
        ("audit", AUDIT, Lane.QUEUE, "the audit lines went to the worker"),
    ):
        for other in others:
            if set(other.tasks[task].lanes) == {lane} != set(first.tasks[task].lanes):
                yield f"With {other.policy}, {told}, and {_outcome(measure, other, first)}."
    kept = {"count_sale": Lane.IN_PROCESS, "charge": Lane.QUEUE}
    if all(set(figures.tasks[task].lanes) == {lane} for figures in all_figures for task, lane in kept.items()):
        yield "count_sale stayed and charge was queued every time: no policy overrides what they are declared."


def _outcome(measure: Measure, figures: PolicyFigures, first: PolicyFigures) -> str:
    ratio = _ratio(measure, figures, first)
    if ratio >= SAME_BELOW:
        return f"{measure.name} {_times_as(ratio)} times as late as with {first.policy}"
    return f"{measure.name} no later than with {first.policy}, by this measurement"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
