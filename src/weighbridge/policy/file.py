"""A policy file: TOML that is read, checked, compiled and tried against its own examples."""

from __future__ import annotations

import codecs
import difflib
import os
import pathlib
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from weighbridge.decision import Lane
from weighbridge.errors import ExpressionError, PolicyError, PolicyNotFoundError
from weighbridge.excerpt import marked
from weighbridge.policy.coverage import unreachable
from weighbridge.policy.example import facts_from
from weighbridge.policy.expression import Expression
from weighbridge.policy.fact import FACTS, GROUPS
from weighbridge.policy.fault import fault_of, otherwise_missing, rule_place
from weighbridge.policy.places import Path, Places, Span
from weighbridge.policy.rule import OTHERWISE, RESERVED, Example, Rule, RulePolicy, deciding, last_word, title_of
from weighbridge.policy.shipped import SUFFIX, shipped_names, shipped_source, shipped_text
from weighbridge.policy.table import ExampleTable, PolicyTable, RuleTable
from weighbridge.policy.text import PolicyText
from weighbridge.policy.value_text import shown_given, toml_value

#: The largest file that is read, in bytes.
MAX_BYTES: Final = 262_144
#: How much of a path an error message repeats, in characters, from its end.
LONGEST_PATH: Final = 200


def read_policy(path: str | os.PathLike[str]) -> RulePolicy:
    """The policy in a file; its name is the file's, less ``.toml``.

    :raises PolicyNotFoundError: if there is no such file.
    :raises PolicyError: if it cannot be read, or :func:`parse_policy` refuses what is in it.
    """
    file = pathlib.Path(path)
    return policy_from(content_of(file), file)


def content_of(file: pathlib.Path) -> bytes:
    """What is in a policy's file now.

    :raises PolicyNotFoundError, PolicyError: as :func:`read_policy`, if it cannot be read.
    """
    source = _shown_path(file)
    try:
        if not file.exists():
            raise _not_found(file, source)
        if file.is_dir():
            inside = sorted(each.name for each in file.glob("*.toml"))
            remedy = f"name a file in it: {', '.join(inside)}" if inside else "name a TOML file"
            raise PolicyError(source=source, problem="it is a directory", remedy=remedy)
        if not file.is_file():  # reading a pipe or a device might never end
            raise PolicyError(source=source, problem="it is not a regular file", remedy="name a TOML file")
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, PolicyError):
            raise
        cause = getattr(error, "strerror", None) or str(error)
        problem, remedy = f"it cannot be read ({cause})", "make it readable for this process"
        raise PolicyError(source=source, problem=problem, remedy=remedy) from error
    if len(content) > MAX_BYTES:
        problem = f"it has more than {MAX_BYTES:_} bytes"
        raise PolicyError(source=source, problem=problem, remedy="a policy is a page of rules; is this one?")
    return content


def policy_from(content: bytes, file: pathlib.Path) -> RulePolicy:
    """The policy that was found in a file.

    :raises PolicyError: as :func:`read_policy`, for what is in it.
    """
    source = _shown_path(file)
    return parse_policy(_decoded(content, source), name=file.stem, source=source)


def parse_policy(text: str, *, name: str, source: str) -> RulePolicy:
    """The policy that a file's text writes. ``name`` stands in its reasons, ``source`` in its errors.

    :raises PolicyError: with the line, for text that is not TOML, an unknown or missing key, a wrong value,
        a rule that is no statement about facts or never decides, two rules of one name, an example that comes out
        otherwise.
    """
    content = PolicyText(text, source=source)
    table = content.table()
    try:
        checked = PolicyTable.model_validate(table)
    except ValidationError as error:
        raise fault_of(error, table=table, text=content) from None
    base = None if checked.extends is None else _base(checked.extends, content)
    if checked.otherwise is None and base is None:
        raise otherwise_missing(content)
    revision = content.revision("" if base is None else base.revision)
    rules = [
        _rule(rule, number, policy=name, revision=revision, text=content) for number, rule in enumerate(checked.rule)
    ]
    _refuse_shared_names(rules, base, content)
    _refuse_unreachable(rules, content)
    lane, reason, origin = _last_word(checked, base)
    policy = RulePolicy(
        name=name,
        source=source,
        description=checked.description,
        rules=(*rules, *_taken(base, policy=name, revision=revision)),
        otherwise=last_word(policy=name, lane=lane, reason=reason, origin=origin, revision=revision),
        otherwise_reason=reason,
        otherwise_origin=origin,
        examples=tuple(_example(example, number, content) for number, example in enumerate(checked.example)),
        extends=checked.extends or "",
        revision=revision,
    )
    _try_examples(policy, checked.example, content)
    return policy


# -- the policy that a file extends -------------------------------------------------------------------------


def _base(name: str, text: PolicyText) -> RulePolicy:
    names = shipped_names()
    if name in names:
        return parse_policy(shipped_text(name), name=name, source=shipped_source(name))
    shipped = f"shipped are {', '.join(names)}"
    near = difflib.get_close_matches(name.strip().lower().removesuffix(SUFFIX), names, n=1)
    if "/" in name or "\\" in name or (name.endswith(SUFFIX) and not near):
        problem, remedy = (
            f"{shown_given(name)} is a path",
            f"only a shipped policy can be extended, by its name; {shipped}",
        )
    else:
        problem = f"there is no shipped policy {shown_given(name)}"
        remedy = f"did you mean {near[0]}? ({shipped})" if near else f"write the name of one; {shipped}"
    raise text.error(text.places.value(("extends",)), where="extends", problem=problem, remedy=remedy)


def _taken(base: RulePolicy | None, *, policy: str, revision: str) -> list[Rule]:
    if base is None:
        return []
    return [rule.taken(policy=policy, origin=base.name, revision=revision) for rule in base.rules]


def _last_word(checked: PolicyTable, base: RulePolicy | None) -> tuple[Lane, str, str]:
    """The lane, the reason and the origin of what stands in ``[otherwise]``: the file's, or else its base's."""
    if checked.otherwise is not None:
        return checked.otherwise.lane, checked.otherwise.reason, ""
    assert base is not None
    return base.otherwise.lane, base.otherwise_reason, base.otherwise_origin or base.name


# -- rules --------------------------------------------------------------------------------------------------


def _rule(rule: RuleTable, number: int, *, policy: str, revision: str, text: PolicyText) -> Rule:
    path, place = ("rule", number), rule_place(number + 1, rule.name)
    if rule.name != rule.name.strip() or not rule.name.isprintable():
        problem = f"it is {rule.name!r}"
        remedy = "write printable characters on one line, without blanks at its ends"
        raise text.error(text.places.value((*path, "name")), where=f"{place}, name", problem=problem, remedy=remedy)
    if rule.name in RESERVED:
        meant = title_of(rule.name) if rule.name == OTHERWISE else "what decides without a rule"
        problem, remedy = f"the name means {meant}", "give the rule another"
        raise text.error(text.places.value((*path, "name")), where=f"{place}, name", problem=problem, remedy=remedy)
    try:
        when = Expression.parse(rule.when, unknown=rule.unknown)
    except ExpressionError as error:
        raise _no_statement(error, (*path, "when"), f"{place}, when", text) from error
    if "unknown" in rule.model_fields_set and not when.can_be_unknown:
        problem, span = "no fact in its when can be unknown", text.places.key((*path, "unknown"))
        raise text.error(span, where=f"{place}, unknown", problem=problem, remedy="leave it out")
    return Rule.of(policy=policy, name=rule.name, when=when, lane=rule.lane, reason=rule.reason, revision=revision)


def _no_statement(error: ExpressionError, path: Path, where: str, text: PolicyText) -> PolicyError:
    """The error for a ``when``: at its place in the file, or, if escapes hide that, in the expression itself."""
    span, excerpt = text.places.inside(path, error.offset, error.length), ""
    if not error.expression.strip():
        span = text.places.value(path)
    elif span is None:
        span, excerpt = text.places.key(path), error.excerpt
    return text.error(span, where=where, problem=error.problem, remedy=error.remedy, excerpt=excerpt)


def _refuse_shared_names(rules: Sequence[Rule], base: RulePolicy | None, text: PolicyText) -> None:
    taken = {} if base is None else {rule.name: f"{base.name} has a rule {rule.name!r} too" for rule in base.rules}
    for number, rule in enumerate(rules):
        if rule.name in taken:
            raise text.error(
                text.places.value(("rule", number, "name")),
                where=f"rule {number + 1}, name",
                problem=taken[rule.name],
                remedy="give each rule its own, since decisions call it by its name",
            )
        taken[rule.name] = f"rule {number + 1} has the name {rule.name!r} too"


def _refuse_unreachable(rules: Sequence[Rule], text: PolicyText) -> None:
    """Only of the file's own: that a rule of its base decides nothing any more may be what the file is for."""
    for each in unreachable(rules):
        raise text.error(
            text.places.value(("rule", each.number - 1, "when")),
            where=f"{rule_place(each.number, each.rule)}, when",
            problem=each.problem,
            remedy=each.remedy,
        )


# -- examples -----------------------------------------------------------------------------------------------


def _example(example: ExampleTable, number: int, text: PolicyText) -> Example:
    where = f"example {number + 1}, facts"
    try:
        facts = facts_from(example.facts, source=text.source, where=where)
    except PolicyError as error:
        name = error.where.removeprefix(f"{where}, ")
        span = _fact_span(("example", number, "facts"), name, text.places)
        raise text.error(span, where=error.where, problem=error.problem, remedy=error.remedy) from None
    return Example(facts=facts, lane=example.lane)


def _fact_span(facts: Path, name: str, places: Places) -> Span:
    """A key that is wrong (it names no fact, or stands in quotes as a whole), or else the value of a fact."""
    whole = (*facts, name)
    if "." in name and whole in places.keys:
        return places.key(whole)
    path = (*facts, *name.split("."))
    return places.value(path) if name in FACTS or name in GROUPS else places.key(path)


def _try_examples(policy: RulePolicy, tables: Sequence[ExampleTable], text: PolicyText) -> None:
    for number, (example, table) in enumerate(zip(policy.examples, tables, strict=True)):
        decision = policy.decide(example.facts)
        if decision.lane is not example.lane:
            by = deciding(decision.rule)
            raise text.error(
                text.places.key(("example", number)),
                where=f"example {number + 1}",
                problem=f"expected {example.lane}, got {decision.lane} by {by}, for {toml_value(table.facts)}",
                remedy="correct the example, or the rules",
            )


# -- reading ------------------------------------------------------------------------------------------------


def _decoded(content: bytes, source: str) -> str:
    content = content.removeprefix(codecs.BOM_UTF8)  # editors on Windows put it in front
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = len(content[: error.start].decode("utf-8"))
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(
            source=source,
            where=f"line {line}",
            problem=f"it is not UTF-8 (the byte 0x{content[error.start]:02x})",
            excerpt=marked(content.decode("utf-8", "replace"), offset=before),
            remedy="save it as UTF-8",
        ) from None


def _shown_path(file: pathlib.Path) -> str:
    shown = "".join(char if char.isprintable() else "\ufffd" for char in str(file))
    return shown if len(shown) <= LONGEST_PATH else f"…{shown[-LONGEST_PATH:]}"


def _not_found(file: pathlib.Path, source: str) -> PolicyNotFoundError:
    folder = file.absolute().parent
    if not folder.is_dir():
        remedy = f"there is no folder {folder} either"
    else:
        near = difflib.get_close_matches(file.stem, [each.stem for each in folder.glob("*.toml")], n=1)
        remedy = f"did you mean {file.with_name(near[0])}.toml?" if near else f"looked in {folder}"
    return PolicyNotFoundError(source=source, problem="there is no such file", remedy=remedy)
