"""``weighbridge policy explain``: why a call of a task takes its lane, and what would have to change."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import click

from weighbridge.appointed import static_facts_of
from weighbridge.cli.group import RefusedError
from weighbridge.cli.policy.subject import dispatcher_option, form_option, module_option, subject_of
from weighbridge.constraint import constraint_of
from weighbridge.decision import Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy import FACTS, facts_from
from weighbridge.policy.explanation import Explanation, deciding, explain
from weighbridge.policy.fact import GROUPS, Kind
from weighbridge.policy.fact_values import values_of
from weighbridge.task import OnUnavailable, TaskSpec, registry

#: How a value is written where a fact is given.
_AS_IN: Final = {
    Kind.NUMBER: "12",
    Kind.TEXT: "'\"mail\"'",
    Kind.FLAG: "true",
    Kind.TAGS: "'[\"billing\"]'",
}


@click.command("explain")
@click.argument("task")
@click.option(
    "--fact",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="The value of a fact, as TOML: --fact in_process.waiting=120; repeatable.",
)
@click.option("--weight", type=float, help="The weight of the call in milliseconds: short for --fact weight=….")
@click.option("--policy", metavar="POLICY", help="Default: that of the dispatcher in the modules, or of the settings.")
@module_option
@dispatcher_option
@form_option("text", "json")
def explain_task(
    task: str,
    *,
    given: tuple[str, ...],
    weight: float | None,
    policy: str | None,
    modules: tuple[str, ...],
    dispatcher: str | None,
    form: Literal["text", "json"],
) -> None:
    """Explain why a call of TASK takes its lane: the rules as they are tried, and what would give the other lane.

    The facts are those that the declaration of TASK fixes, an idle process, and readings that are unknown; others are
    given with --fact.
    """
    subject = subject_of(modules, policy=policy, dispatcher=dispatcher)
    if not subject.modules:
        raise RefusedError(
            "no module to look at: name the one that declares the task (--module app.tasks), "
            "or set WEIGHBRIDGE_MODULES, or modules in [tool.weighbridge]"
        )
    spec = _found(task, subject.modules)
    facts = _facts(spec, given, weight)
    by_policy = explain(subject.policy, facts)
    constraint = constraint_of(spec)
    told = (
        by_policy
        if constraint is None
        else Explanation.of(constraint.decision, facts=facts, constraint=constraint.reason)
    )
    if form == "json":
        click.echo(json.dumps(_as_json(spec, told, by_policy), indent=2, ensure_ascii=False))
        return
    click.echo(f"A call of {spec.name}: {told}")
    if told.lane is not by_policy.lane:
        click.echo(f"The policy would choose {by_policy.lane}, by {deciding(by_policy.rule)}; it is not asked.")
    if constraint is None and told.lane is Lane.QUEUE and spec.on_unavailable is OnUnavailable.RUN_HERE:
        click.echo("\nWhile the queue is not available it runs here all the same: on_unavailable='run_here'.")


def _found(task: str, modules: Sequence[str]) -> TaskSpec:
    spec = registry.get(task)
    if spec is not None:
        return spec
    names = [each.name for each in registry]
    ends = [name for name in names if name.rpartition(".")[2] == task.rpartition(".")[2]]
    near = ends or difflib.get_close_matches(task, names, n=1)
    hint = f"did you mean {' or '.join(near)}?" if near else "`weighbridge tasks` lists them"
    raise RefusedError(f"no task {task!r} is declared in {', '.join(modules)}; {hint}")


# -- the facts ----------------------------------------------------------------------------------------------


def _facts(spec: TaskSpec, given: Sequence[str], weight: float | None) -> Facts:
    """The facts of a call of ``spec``, with those that were given."""
    table = {**static_facts_of(spec), "tags": list(spec.tags)}
    own: dict[str, object] = dict(map(_parsed, given))
    if weight is not None:
        if "weight" in own:
            raise RefusedError("--weight and --fact weight=… say the same; drop one")
        own["weight"] = weight
    if "weight" not in table | own:
        raise RefusedError(f"the weight of {spec.name} is computed from its arguments; say which: --weight 80")
    try:
        return facts_from(_nested(table | own), source="", where="")
    except PolicyError as error:
        raise RefusedError(f"--fact {error.where.removeprefix(', ')}: {error.problem}; {error.remedy}") from error


def _parsed(given: str) -> tuple[str, object]:
    name, equals, text = given.partition("=")
    name = name.strip()
    if not equals:
        raise RefusedError(f"--fact {given}: it has no value; write --fact {name or 'in_process.waiting'}=12")
    if name in GROUPS:
        raise RefusedError(f"--fact {given}: {name} has parts; name one of them: {', '.join(GROUPS[name])}")
    try:
        return name, tomllib.loads(f"value = {' '.join(text.splitlines())}")["value"]  # one line holds one value
    except ValueError as error:  # TOMLDecodeError is one, and what int() says to thousands of digits another
        example = _AS_IN[FACTS[name].kind] if name in FACTS else _AS_IN[Kind.NUMBER]
        raise RefusedError(f"--fact {given}: the value is not TOML; write it as in --fact {name}={example}") from error


def _nested(table: Mapping[str, object]) -> dict[str, object]:
    """Dotted names as the tables in tables of a policy file."""
    nested: dict[str, Any] = {}
    for name, value in table.items():
        group, _, part = name.rpartition(".")
        if name in FACTS and group:
            nested.setdefault(group, {})[part] = value
        else:
            nested[name] = value
    return nested


# -- for programs -------------------------------------------------------------------------------------------


def _as_json(spec: TaskSpec, told: Explanation, by_policy: Explanation) -> dict[str, Any]:
    return {
        "task": spec.name,
        "lane": told.lane,
        "rule": told.rule,
        "reason": told.reason,
        "revision": told.revision,
        "constraint": told.constraint,
        "on_unavailable": spec.on_unavailable,
        "facts": values_of(told.facts),
        "tried": [
            {
                "name": rule.name,
                "lane": rule.lane,
                "expression": rule.expression,
                "matched": rule.matched,
                "because": rule.because,
                "values": dict(rule.values),
            }
            for rule in by_policy.tried
        ],
        "changes": [
            {
                "values": dict(change.values),
                "instead_of": dict(change.instead_of),
                "lane": change.lane,
                "rule": change.rule,
            }
            for change in told.changes
        ],
        "all_searched": told.all_searched,
    }
