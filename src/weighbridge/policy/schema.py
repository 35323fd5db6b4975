"""The JSON Schema of policy files, with which an editor completes keys and marks mistakes while they are made."""

from __future__ import annotations

from typing import Any, Final, assert_never

from weighbridge.policy.example import SIGNED
from weighbridge.policy.fact import FACTS, GROUPS, Fact, Kind
from weighbridge.policy.scanner import MAX_NUMBER
from weighbridge.policy.shipped import shipped_names
from weighbridge.policy.table import PolicyTable

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def policy_schema() -> dict[str, Any]:
    """The schema, as a new dictionary: what the tables of a policy file check, and each fact with its type.

    It cannot say all that is wrong with a file: loading it also reads the expressions and tries the examples.
    """
    schema = _plain(PolicyTable.model_json_schema())
    properties, tables = schema["properties"], schema["$defs"]
    properties["extends"]["enum"] = list(shipped_names())
    facts = tables["ExampleTable"]["properties"]["facts"]
    facts["additionalProperties"] = False
    facts["properties"] = _facts()
    return {
        "$schema": DIALECT,
        **schema,
        "title": "weighbridge policy file",
        "anyOf": [{"required": ["otherwise"]}, {"required": ["extends"]}],
    }


def _plain(part: Any) -> Any:
    """Without what TOML has no word for (``null``), and without the titles that only repeat the keys."""
    if isinstance(part, list):
        return [_plain(each) for each in part]
    if not isinstance(part, dict):
        # Descriptions are docstrings too, which write code in two backticks.
        return part.replace("``", "`") if isinstance(part, str) else part
    optional = [each for each in part.get("anyOf", ()) if each != {"type": "null"}]
    if optional:
        part = {**{key: value for key, value in part.items() if key not in ("anyOf", "default")}, **optional[0]}
    # A title is text; a property of this name would be a table.
    return {key: _plain(value) for key, value in part.items() if not (key == "title" and isinstance(value, str))}


def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, fact in FACTS.items():
        group, _, part = name.rpartition(".")
        if group:
            empty = {"type": "object", "additionalProperties": False, "properties": {}}
            facts.setdefault(group, empty)["properties"][part] = _fact(fact)
        else:
            facts[name] = _fact(fact)
    assert facts.keys() >= GROUPS.keys()
    return facts


def _fact(fact: Fact) -> dict[str, Any]:
    match fact.kind:
        case Kind.NUMBER:
            lowest = -MAX_NUMBER if fact.name in SIGNED else 0
            return {"type": "integer" if fact.whole else "number", "minimum": lowest, "maximum": MAX_NUMBER}
        case Kind.TEXT:
            return {"type": "string"}
        case Kind.FLAG:
            return {"type": "boolean"}
        case Kind.TAGS:
            return {"type": "array", "items": {"type": "string"}}
        case _ as never:
            assert_never(never)
