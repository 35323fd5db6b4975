"""A policy file: TOML that is read, checked, compiled and tried against its own examples."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from weighbridge.errors import ExpressionError, PolicyError, PolicyNotFoundError
from weighbridge.excerpt import marked
from weighbridge.policy.example import facts_from
from weighbridge.policy.expression import Expression
from weighbridge.policy.fault import fault_of, rule_place
from weighbridge.policy.rule import OTHERWISE, Example, Rule, RulePolicy, last_word
from weighbridge.policy.table import ExampleTable, PolicyTable, RuleTable

#: The largest file that is read, in bytes.
MAX_BYTES: Final = 262_144
#: How much of a path an error message repeats, in characters, from its end.
LONGEST_PATH: Final = 200

#: How tomllib writes a key: as the tuple of its parts.
_KEY: Final = re.compile(r"\((?:'[^']*'(?:, )?,?)+\)")
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
#: What tomllib says, and what to do about it.
_SYNTAX: Final = (
    ("Invalid value", 'put text in quotes, as in lane = "queue"'),
    ("after a statement", "one line holds one key; inside \"…\" write texts as '…'"),
    ("Expected '='", 'a key is followed by =, as in lane = "queue"'),
    ("Cannot overwrite", "a key can stand only once in a table, and every rule starts with [[rule]]"),
    ("Cannot declare", "a table can stand only once; every rule starts with [[rule]], in two brackets"),
    ("string", "close it with the same quote on the same line"),
    ("Illegal character", "close texts with the same quote on the same line"),
    ("Expected ']", "a line in brackets is [otherwise], [[rule]] or [[example]]"),
    ("inline table", "a table in { … } stands on one line, with commas between its keys"),
)
_SMALLEST: Final = 'the smallest policy is schema = 1, [otherwise], lane = "in_process", each on its own line'


def read_policy(path: str | os.PathLike[str]) -> RulePolicy:
    """The policy in a file; its name is the file's, less ``.toml``.

    :raises PolicyNotFoundError: if there is no such file.
    :raises PolicyError: if it cannot be read, or :func:`parse_policy` refuses what is in it.
    """
    file = Path(path)
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
    return parse_policy(_decoded(content, source), name=file.stem, source=source)


def parse_policy(text: str, *, name: str, source: str) -> RulePolicy:
    """The policy that a file's text writes. ``name`` stands in its reasons, ``source`` in its errors.

    :raises PolicyError: with the place, for text that is not TOML, an unknown or missing key, a wrong value,
        a rule that is no statement about facts, two rules of one name, an example that comes out otherwise.
    """
    table = _toml(text, source)
    try:
        checked = PolicyTable.model_validate(table)
    except ValidationError as error:
        raise fault_of(error, table=table, source=source) from None
    rules = tuple(
        _rule(rule, policy=name, source=source, place=rule_place(number, rule.name))
        for number, rule in enumerate(checked.rule, 1)
    )
    _refuse_shared_names(rules, source)
    policy = RulePolicy(
        name=name,
        source=source,
        description=checked.description,
        rules=rules,
        otherwise=last_word(policy=name, lane=checked.otherwise.lane, reason=checked.otherwise.reason),
        examples=tuple(
            _example(example, source=source, place=f"example {number}")
            for number, example in enumerate(checked.example, 1)
        ),
    )
    _try_examples(policy, checked.example)
    return policy


def _example(example: ExampleTable, *, source: str, place: str) -> Example:
    return Example(facts=facts_from(example.facts, source=source, where=f"{place}, facts"), lane=example.lane)


def _decoded(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")  # editors on Windows put a mark in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(
            source=source,
            where=f"line {line}",
            problem=f"it is not UTF-8 (the byte 0x{content[error.start]:02x})",
            remedy="save it as UTF-8",
        ) from None


def _toml(text: str, source: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, str(error), source) from None
    except RecursionError:
        problem, remedy = "brackets are nested too deep", "a policy needs no more than two"
        raise PolicyError(source=source, problem=problem, remedy=remedy) from None
    except ValueError:  # the other thing that tomllib leaves to int()
        problem, remedy = "a number has thousands of digits", "write a shorter one"
        raise PolicyError(source=source, problem=problem, remedy=remedy) from None
    if not table:
        raise PolicyError(source=source, problem="it is empty", remedy=_SMALLEST)
    return table


def _syntax_error(text: str, message: str, source: str) -> PolicyError:
    text = text.replace("\r\n", "\n")  # as tomllib counts
    place = _PLACE.search(message)
    problem = _KEY.sub(lambda key: ".".join(re.findall(r"'([^']*)'", key[0])), _PLACE.sub("", message))
    if place is not None and place[1]:
        line, column = int(place[1]), int(place[2])
        offset = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
    else:
        offset = len(text.rstrip())
        line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
    return PolicyError(
        source=source,
        where=f"line {line}, column {column}",
        problem=f"it is not TOML: {problem[:1].lower()}{problem[1:]}",
        excerpt=marked(text, offset=offset),
        remedy=next((remedy for part, remedy in _SYNTAX if part in problem), "see https://toml.io"),
    )


def _rule(rule: RuleTable, *, policy: str, source: str, place: str) -> Rule:
    if rule.name != rule.name.strip() or not rule.name.isprintable():
        raise PolicyError(
            source=source,
            where=f"{place}, name",
            problem=f"it is {rule.name!r}",
            remedy="write printable characters on one line, without blanks at its ends",
        )
    if rule.name == OTHERWISE:
        problem, remedy = "the name means [otherwise]", "give the rule another"
        raise PolicyError(source=source, where=f"{place}, name", problem=problem, remedy=remedy)
    try:
        when = Expression.parse(rule.when)
    except ExpressionError as error:
        raise PolicyError(
            source=source,
            where=f"{place}, when",
            problem=error.problem,
            excerpt=error.excerpt,
            remedy=error.remedy,
        ) from error
    return Rule.of(policy=policy, name=rule.name, when=when, lane=rule.lane, reason=rule.reason)


def _refuse_shared_names(rules: Sequence[Rule], source: str) -> None:
    numbers: dict[str, int] = {}
    for number, rule in enumerate(rules, 1):
        first = numbers.setdefault(rule.name, number)
        if first != number:
            raise PolicyError(
                source=source,
                where=f"rule {number}, name",
                problem=f"rule {first} has the name {rule.name!r} too",
                remedy="give each rule its own, since decisions call it by its name",
            )


def _try_examples(policy: RulePolicy, tables: Sequence[ExampleTable]) -> None:
    for number, (example, table) in enumerate(zip(policy.examples, tables, strict=True), 1):
        decision = policy.decide(example.facts)
        if decision.lane is not example.lane:
            by = "[otherwise]" if decision.rule == OTHERWISE else f"rule {decision.rule!r}"
            raise PolicyError(
                source=policy.source,
                where=f"example {number}",
                problem=f"expected {example.lane}, got {decision.lane} by {by}, for {_written(table.facts)}",
                remedy="correct the example, or the rules",
            )


def _written(facts: Mapping[str, object]) -> str:
    """Facts as the file writes them."""
    parts = ", ".join(
        f"{name} = {_written(value)}" if isinstance(value, Mapping) else f"{name} = {_literal(value)}"
        for name, value in facts.items()
    )
    return f"{{ {parts} }}" if parts else "{ }"


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _shown_path(file: Path) -> str:
    shown = "".join(char if char.isprintable() else "\ufffd" for char in str(file))
    return shown if len(shown) <= LONGEST_PATH else f"…{shown[-LONGEST_PATH:]}"


def _not_found(file: Path, source: str) -> PolicyNotFoundError:
    folder = file.absolute().parent
    if not folder.is_dir():
        remedy = f"there is no folder {folder} either"
    else:
        near = difflib.get_close_matches(file.stem, [each.stem for each in folder.glob("*.toml")], n=1)
        remedy = f"did you mean {file.with_name(near[0])}.toml?" if near else f"looked in {folder}"
    return PolicyNotFoundError(source=source, problem="there is no such file", remedy=remedy)
