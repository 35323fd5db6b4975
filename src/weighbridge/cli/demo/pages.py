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
#: The requests: what each is called, the tasks that it adds, and what it is.
REQUESTS: Final = {
    Kind.ORDER: ("order", "audit, count_sale, charge", "somebody buys something"),
    Kind.VIEW: ("page view", "audit", "somebody looks at a product"),
    Kind.REPORT: ("report", "render_report", "somebody asks for a chart"),
    Kind.PROBE: ("health probe", "no task", "asks whether the app answers"),
}
LANE_STYLES: Final = {Lane.IN_PROCESS: "cyan", Lane.QUEUE: "yellow"}
#: Up to this factor two times count as about the same, for so much do two runs differ; from the next on it is striking.
SAME_BELOW: Final = 1.5
STRIKING_FROM: Final = 3.0
FACTOR: Final = "\N{MULTIPLICATION SIGN}"
FAULTS_SHOWN: Final = 10
#: Where the clocks of a policy's table start and stop, and why the second may stop first. Fits into 80 columns.
CLOCKS: Final = (
    "ms from the moment planned for sending the request; a wait to send it counts.\n"
    "A run may end before the client has read the response."
)
#: Fewer times than this have no 99th of a hundred: the nearest is their maximum.
ENOUGH_FOR_P99: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One line of the comparison: what it is called, in short too, and where it stands in a policy's figures."""

    name: str
    short: str
    times: Callable[[PolicyFigures], Times]

    def value(self, figures: PolicyFigures) -> float:
        """What is compared, in milliseconds."""
        return self.times(figures).p99


MEASURES: Final = (
    Measure(name="a health probe is answered", short="health probes", times=lambda figures: figures.probes),
    Measure(name="a page view is answered", short="page views", times=lambda figures: figures.views),
    Measure(name="an audit line is written", short="audit lines", times=lambda figures: _done(figures, "audit")),
    Measure(name="a sale is counted", short="sales", times=lambda figures: _done(figures, "count_sale")),
    Measure(name="a charge is taken", short="charges", times=lambda figures: _done(figures, "charge")),
    Measure(name="a report is drawn", short="reports", times=lambda figures: _done(figures, "render_report")),
)


def _done(figures: PolicyFigures, task: str) -> Times:
    return figures.tasks[task].to_done


def introduction(policies: Sequence[str], *, server: str) -> RenderableType:
    """What is about to happen, for somebody who has never seen it."""
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
    requests = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    requests.add_column(justify="right")
    for kind, (name, added, what) in REQUESTS.items():
        requests.add_row(str(COUNTS[kind]), name, Text(added, style="bold"), Text(what, style="dim"))
    plan = Text(
        f"\nNow these requests are sent within {SPREAD_S:.0f} s, "
        f"and the same ones again under {_listed(policies[1:])}:\n",
    )
    real = Text.assemble(
        (f"\nAll of it is real: uvicorn, a worker, {server}, an HTTP client. ", "dim"),
        "p50 is the median, p99 what 99 of 100 stay within: of fewer than 100 their maximum (max).\n",
    )
    indented = (Padding(table, (0, 0, 0, 2)) for table in (tasks, requests))
    return Group(Rule("weighbridge demo", style="dim"), lanes, next(indented), plan, next(indented), real)


def policy_page(figures: PolicyFigures, *, description: str) -> RenderableType:
    """The table of one policy, and what became of its calls."""
    table = _table()
    for header in ("task", "calls", "lane", "ran in"):
        table.add_column(f"\n{header}", justify="right" if header == "calls" else "left", no_wrap=True)
    for header in ("response read", "run ended"):
        table.add_column(f"{header}\n{_pair('p50', 'p99')}", justify="right", no_wrap=True)
    for name, task in figures.tasks.items():
        processes = _processes(task, figures.web_pid)
        table.add_row(name, str(task.calls), _lanes(task), processes, _times(task.to_response), _times(task.to_done))
    for kind, times in ((Kind.VIEW, figures.views), (Kind.PROBE, figures.probes)):
        count, web = str(COUNTS[kind]), f"web {figures.web_pid}"
        table.add_row(REQUESTS[kind][0], count, "", web, _times(times), "", style="dim")
    title = Text.assemble((figures.policy, "bold"), f": {description}")
    return Group(title, table, Text(CLOCKS, style="dim"), _verdict(figures))


def comparison(all_figures: Sequence[PolicyFigures]) -> RenderableType:
    """The same measurements side by side, what is better and what is worse, and in words."""
    first, *others = all_figures
    table = _table()
    table.add_column("ms until (p99)")
    for figures in all_figures:
        table.add_column(figures.policy, justify="right", no_wrap=True)
    for measure in MEASURES:
        compared = (_compared(measure, figures, first) for figures in others)
        few = 0 < measure.times(first).count < ENOUGH_FOR_P99
        table.add_row(f"{measure.name} (max)" if few else measure.name, _ms(measure.value(first)), *compared)
    legend = Text(
        f"{FACTOR} is against {first.policy}: above 1 later, below 1 sooner; "
        f"from {1 / SAME_BELOW:.2f} to {SAME_BELOW:g} about the same.",
        style="dim",
    )
    words = [Padding(Text(f"• {sentence}"), (0, 0, 0, 2)) for sentence in _sentences(all_figures)]
    return Group(Rule("What the policy changes", style="dim"), table, legend, *words)


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
    """The time, and how many times as long it is as under the first policy."""
    ratio = _ratio(measure, figures, first)
    text = Text(_ms(measure.value(figures)))
    if not math.isnan(ratio):
        style = "bold red" if ratio >= STRIKING_FROM else "bold green" if ratio <= 1 / STRIKING_FROM else ""
        text.append(f"  {_times_as(ratio):>4} {FACTOR}", style=style)
    return text


def _ratio(measure: Measure, figures: PolicyFigures, first: PolicyFigures) -> float:
    """How many times as long it took as under the first policy; NaN if either was not measured."""
    return measure.value(figures) / measure.value(first)


def _times_as(ratio: float) -> str:
    """Two significant digits: a time that nearly vanishes beside the first policy's is still a number."""
    decimals = 1 - math.floor(math.log10(ratio)) if ratio > 0 else 1
    return f"{ratio:.{max(0, decimals)}f}"


def _sentences(all_figures: Sequence[PolicyFigures]) -> Iterator[str]:
    """Where the calls ran, and what came later or sooner for it; nothing that was not measured."""
    first, *others = all_figures
    for other in others:
        ratios = {measure.short: _ratio(measure, other, first) for measure in MEASURES}
        later = [name for name, ratio in ratios.items() if ratio >= SAME_BELOW]
        sooner = [name for name, ratio in ratios.items() if ratio <= 1 / SAME_BELOW]
        same = [name for name, ratio in ratios.items() if 1 / SAME_BELOW < ratio < SAME_BELOW]
        yield (
            f"{other.policy}{_moved(other, first)}. Later than with {first.policy}: {_listed(later)}; "
            f"sooner: {_listed(sooner)}; about the same: {_listed(same)}."
        )
        queued, before = _queued(other), _queued(first)
        if queued > before:
            yield (
                f"The price of {other.policy} is not in these times: {queued} calls instead of {before} took a write "
                "to the broker before their response and a worker's thread, and a broker that is down refuses them all."
            )
    kept = {"count_sale": Lane.IN_PROCESS, "charge": Lane.QUEUE}
    if all(set(figures.tasks[task].lanes) == {lane} for figures in all_figures for task, lane in kept.items()):
        yield "count_sale stayed and charge was queued every time: no policy overrides what they are declared."


def _queued(figures: PolicyFigures) -> int:
    return sum(task.lanes.get(Lane.QUEUE, 0) for task in figures.tasks.values())


def _moved(figures: PolicyFigures, first: PolicyFigures) -> str:
    """What ran in another lane than under the first policy."""
    told = [
        words
        for task, lane, words in (
            ("render_report", Lane.IN_PROCESS, "the reports were drawn in the web process"),
            ("audit", Lane.QUEUE, "the audit lines were written by the worker"),
        )
        if set(figures.tasks[task].lanes) == {lane} != set(first.tasks[task].lanes)
    ]
    return f": {_listed(told)}" if told else ""


def _listed(parts: Sequence[str]) -> str:
    if not parts:
        return "nothing"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
