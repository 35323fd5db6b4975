"""``weighbridge policy explain``: why a call of a task takes its lane, and what would have to change."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import click

from weighbridge.appointed import Appointed, static_facts_of
from weighbridge.cli.group import RefusedError
from weighbridge.cli.policy.subject import dispatcher_option, form_option, module_option, subject_of
from weighbridge.constraint import constraint_of
from weighbridge.decision import Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy import FACTS, facts_from
from weighbridge.policy.explanation import Explanation
from weighbridge.policy.fact import GROUPS, Kind
from weighbridge.policy.fact_values import values_of
from weighbridge.policy.rule import DEFAULT_LANE, deciding
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
    help="The value of a fact, as TOML; repeatable: --fact in_process.waiting=120 --fact broker.available=true. "
    "What is not given is that of an idle process, and unknown of the loop and the broker.",
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

    The facts are those that the declaration of TASK fixes, an idle process with all its threads free, and readings that
    are unknown; others are given with --fact. The answer is what a dispatcher would do: a constraint comes before the
    policy, and a policy in code that fails falls to its default lane.
    """
    subject = subject_of(modules, policy=policy, dispatcher=dispatcher)
    if not subject.modules:
        raise RefusedError(
            "no module to look at: name the one that declares the task (--module app.tasks), "
            "or set WEIGHBRIDGE_MODULES, or modules in [tool.weighbridge]"
        )
    spec = _found(task, subject.modules)
    own = _once(map(_parsed, given))
    facts = _facts(spec, own, weight, threads=subject.threads)
    told = _explained(spec, Appointed(subject.policy), facts, given=own)
    if form == "json":
        click.echo(json.dumps(_as_json(told), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(told)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What a dispatcher would do with a call. ``by_policy`` is what the policy says, unless it fails for good.

    ``failure`` is what a policy in code fails with. ``unread`` are facts that were given, and that the policy does not
    say it reads.
    """

    spec: TaskSpec
    explanation: Explanation
    by_policy: Explanation | None
    failure: str = ""
    unread: tuple[str, ...] = ()


def _explained(spec: TaskSpec, appointed: Appointed, facts: Facts, *, given: Container[str]) -> _Told:
    """As a dispatcher does it: the constraint first, and the policy sees the facts that it reads.

    :raises PolicyError: if there is no constraint, and the policy fails and has no default lane.
    """
    constraint, seen = constraint_of(spec), appointed.seen(facts)
    known, filled = values_of(facts), values_of(seen)
    unread = tuple(name for name, value in known.items() if name in given and filled[name] != value)
    failure, by_policy = "", None
    try:
        by_policy = appointed.explain(seen)
        if by_policy.rule == DEFAULT_LANE:
            appointed.ask(seen)
    except PolicyError as error:
        failure = str(error)
        if constraint is None and by_policy is None:
            raise
    if constraint is not None:
        told = Explanation.of(constraint.decision, facts=facts, constraint=constraint.reason)
    else:
        assert by_policy is not None  # else it was raised
        told = by_policy
    return _Told(spec=spec, explanation=told, by_policy=by_policy, failure=failure, unread=unread)


def _lines(told: _Told) -> Iterator[str]:
    explanation, by_policy = told.explanation, told.by_policy
    yield f"A call of {told.spec.name}: {explanation}"
    if by_policy is None:
        yield "The policy would fail; it is not asked."
    elif explanation.lane is not by_policy.lane:
        yield f"The policy would choose {by_policy.lane}, by {deciding(by_policy.rule)}; it is not asked."
    if told.failure:
        yield f"\nIt fails: {told.failure}"
    if told.unread and not explanation.constraint:
        yield f"\nThe policy does not say that it reads {', '.join(told.unread)}, so a dispatcher leaves that out."
    runs_here = told.spec.on_unavailable is OnUnavailable.RUN_HERE
    if not explanation.constraint and explanation.lane is Lane.QUEUE and runs_here:
        yield "\nWhile the queue is not available it runs here all the same: on_unavailable='run_here'."


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


def _facts(spec: TaskSpec, own: Mapping[str, object], weight: float | None, *, threads: int) -> Facts:
    """The facts of a call of ``spec`` in an idle process of so many threads, with those that were given."""
    table = {**static_facts_of(spec), "tags": list(spec.tags), "in_process.threads_free": threads}
    table |= own
    if weight is not None:
        if "weight" in own:
            raise RefusedError("--weight and --fact weight=… say the same; drop one")
        table["weight"] = weight
    if "weight" not in table:
        raise RefusedError(f"the weight of {spec.name} is computed from its arguments; say which: --weight 80")
    try:
        return facts_from(_nested(table), source="", where="")
    except PolicyError as error:
        raise RefusedError(f"--fact {error.where.removeprefix(', ')}: {error.problem}; {error.remedy}") from error


def _once(parsed: Iterable[tuple[str, object]]) -> dict[str, object]:
    table: dict[str, object] = {}
    for name, value in parsed:
        if name in table:
            raise RefusedError(f"--fact {name}=… is given twice; drop one")
        table[name] = value
    return table


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


def _as_json(whole: _Told) -> dict[str, Any]:
    told = whole.explanation
    return {
        "task": whole.spec.name,
        "lane": told.lane,
        "rule": told.rule,
        "reason": told.reason,
        "revision": told.revision,
        "constraint": told.constraint,
        "on_unavailable": whole.spec.on_unavailable,
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
            for rule in (whole.by_policy.tried if whole.by_policy else ())
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
        "failure": whole.failure or None,
    }
