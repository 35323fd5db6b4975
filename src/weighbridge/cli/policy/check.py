"""``weighbridge policy check``: whether a policy can be used, and what it does with the declared tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weighbridge.cli.policy.subject import Subject, dispatcher_option, form_option, module_option, subject_of
from weighbridge.cli.policy.task_outlook import TaskOutlook, idle_rules, outlook_of
from weighbridge.cli.tasks import LANE_STYLES
from weighbridge.decision import Lane
from weighbridge.outlook import check_tasks
from weighbridge.policy import OTHERWISE, RulePolicy, rules_of, source_of
from weighbridge.policy.coverage import UnreachableRule, leaving_nothing, matching_first, unreachable
from weighbridge.policy.revision import revision_of
from weighbridge.policy.rule import deciding, title_of
from weighbridge.task import registry


@click.command("check")
@click.argument("policy", required=False)
@module_option
@dispatcher_option
@form_option("table", "json")
def check(
    policy: str | None, *, modules: tuple[str, ...], dispatcher: str | None, form: Literal["table", "json"]
) -> None:
    """Check POLICY, and say of each declared task which rule decides, and what the lane depends on.

    Without POLICY, that of the dispatcher in the modules, or of the settings. All that is checked when a service
    starts is checked here: keys, expressions, and the policy's own examples. Rules that can never decide are told too,
    those of a base as well, which may be meant so. Without a module only the policy is checked.

    A dispatcher in the modules is checked with the settings of here: without a broker, it is refused if a task could be
    queued. Where there is no dispatcher, or POLICY is given, that is a note.

    Exit code: 0 the policy can be used, 2 it cannot, or a module cannot be imported, or the dispatcher not be opened.
    """
    subject = subject_of(modules, policy=policy, dispatcher=dispatcher)
    findings = unreachable(rules.rules) if (rules := rules_of(subject.policy)) else ()
    specs = sorted(registry, key=lambda spec: spec.name) if subject.modules else []
    outlooks = [outlook_of(spec, subject.policy) for spec in specs]
    notes = list(_notes(subject, outlooks))
    if form == "json":
        click.echo(json.dumps(_as_json(subject, findings, outlooks, notes), indent=2, ensure_ascii=False))
    else:
        _print(subject, findings, outlooks, notes)
    if subject.opens:  # last, for what is told is of use all the same
        check_tasks(registry, subject.policy, has_broker=subject.has_broker)


def _notes(subject: Subject, outlooks: Sequence[TaskOutlook]) -> Iterator[str]:
    """What need not be wrong, and is good to know."""
    for each in outlooks:
        if each.overruled:
            why = f"a constraint beats every rule: it {each.constraint_reason}"
            yield f"{each.name}: {each.overruled}; harmless, for {why}"
    if outlooks:
        for rule in idle_rules(subject.policy, outlooks):
            yield f"{deciding(rule)} decides about none of these tasks"
    last = leaving_nothing(rules.rules) if (rules := rules_of(subject.policy)) else ()
    if last:
        first = matching_first(last)
        yield f"{deciding(OTHERWISE)} never decides: {first}, whatever the facts are; harmless if that is meant"
    queued = sum(Lane.QUEUE in each.lanes for each in outlooks)
    if queued and not subject.has_broker:
        tasks = "1 task" if queued == 1 else f"{queued} tasks"
        yield f"{tasks} could be queued, and no broker is configured here: set WEIGHBRIDGE_BROKER_URL where it runs"


def _as_json(
    subject: Subject, findings: Sequence[UnreachableRule], outlooks: Sequence[TaskOutlook], notes: Sequence[str]
) -> dict[str, Any]:
    policy = subject.policy
    told: dict[str, Any] = {"policy": source_of(policy), "revision": revision_of(policy)}
    if rules := rules_of(policy):
        told |= {"rules": len(rules.rules), "examples": len(rules.examples)}
    told["findings"] = [{**asdict(each), "problem": each.problem, "remedy": each.remedy} for each in findings]
    told["tasks"] = [asdict(each) for each in outlooks]
    told["notes"] = list(notes)
    return told


def _print(
    subject: Subject, findings: Sequence[UnreachableRule], outlooks: Sequence[TaskOutlook], notes: Sequence[str]
) -> None:
    console = Console(highlight=False)
    policy = subject.policy
    head = Text.assemble((source_of(policy), "bold"), f", revision {revision_of(policy)}")
    if rules := rules_of(policy):
        head.append(f": {_counted(rules)}")
    console.print(head)
    if subject.found_in:
        more = "" if subject.opens else " A file is checked by its name: weighbridge policy check ours.toml"
        console.print(Text(f"No policy was given, so this is the one of {subject.found_in}.{more}", style="dim"))
    for each in findings:
        console.print(Text.assemble(("! ", "yellow"), f"{_named(each)}: {each.problem}; {each.remedy}"))
    if outlooks:
        console.print()
        console.print(_table(outlooks))
    elif subject.modules:
        console.print(f"No task is declared in {', '.join(subject.modules)}: decorate a function with @task.")
    else:
        console.print(Text("No module was given (--module), so no task was looked at.", style="dim"))
    if notes:
        console.print()
        console.print(_listed(notes))


def _named(finding: UnreachableRule) -> str:
    return deciding(finding.rule) + (f" of {finding.origin}" if finding.origin else "")


def _counted(policy: RulePolicy) -> str:
    rules = "1 rule" if len(policy.rules) == 1 else f"{len(policy.rules)} rules"
    examples = "its example holds" if len(policy.examples) == 1 else f"its {len(policy.examples)} examples hold"
    return f"{rules}; {examples if policy.examples else 'it has no example'}"


def _table(outlooks: Sequence[TaskOutlook]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("task", overflow="fold")
    table.add_column("lane", overflow="fold")
    table.add_column("decided by", overflow="fold")
    for each in outlooks:
        if len(each.lanes) == 1:
            lane = Text(each.lanes[0], style=LANE_STYLES[each.lanes[0]])
        else:
            lane = Text(f"either, by {', '.join(each.depends_on) if each.depends_on else 'what it finds'}")
        table.add_row(Text(each.name), lane, Text(_decider(each)))
    return table


def _decider(outlook: TaskOutlook) -> str:
    if outlook.constraint is not None:
        return f"constraint: {outlook.constraint.replace('_', ' ')}"
    return "\n".join(map(title_of, outlook.decided_by)) or "its code"


def _listed(notes: Sequence[str]) -> Table:
    """One below the other, each with its further lines indented."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for note in notes:
        table.add_row(Text("-", style="dim"), Text(note, style="dim"))
    return table
