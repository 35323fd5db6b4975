"""The JSON Schema of policy files: right files satisfy it, and wrong ones do not."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.documentation.blocks import blocks_of, pages

from weighbridge.decision import Lane
from weighbridge.errors import PolicyError
from weighbridge.policy import FACTS, parse_policy, policy_schema, shipped_names
from weighbridge.policy.shipped import shipped_text

SCHEMA = policy_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
SHOWN = {block.place: block.code for page in pages() for block in blocks_of(page) if block.language == "toml"}
POLICIES = {place: code for place, code in SHOWN.items() if "schema" in tomllib.loads(code)}
HEAD = "schema = 1\n"
OTHERWISE = "[otherwise]\nlane = 'queue'\n"
RULE = "[[rule]]\nname = 'a'\nwhen = 'is_async'\nlane = 'queue'\n"
WRONG = {
    "no schema": OTHERWISE,
    "another schema": "schema = 2\n" + OTHERWISE,
    "a misspelt table": HEAD + RULE.replace("rule", "rules") + OTHERWISE,
    "a misspelt key": HEAD + RULE.replace("name", "nmae") + OTHERWISE,
    "an unknown key in the last word": HEAD + OTHERWISE + "when = 'is_async'\n",
    "a misspelt lane": HEAD + "[otherwise]\nlane = 'inprocess'\n",
    "no last word": HEAD + RULE,
    "an empty name": HEAD + RULE.replace("'a'", "''") + OTHERWISE,
    "a misspelt unknown": HEAD + RULE + "unknown = 'never'\n" + OTHERWISE,
    "a base that is not shipped": HEAD + "extends = 'ours'\n",
    "an example without a lane": HEAD + OTHERWISE + "[[example]]\nfacts = { }\n",
    "a misspelt fact": HEAD + OTHERWISE + "[[example]]\nfacts = { wieght = 5 }\nlane = 'queue'\n",
    "a misspelt part of a reading": HEAD + OTHERWISE + "[[example]]\nfacts.loop.lag = 5\nlane = 'queue'\n",
    "a negative weight": HEAD + OTHERWISE + "[[example]]\nfacts = { weight = -5 }\nlane = 'queue'\n",
    "a weight that is too large": HEAD + OTHERWISE + f"[[example]]\nfacts = {{ weight = {10**400} }}\nlane = 'queue'\n",
    "a priority that is too low": HEAD
    + OTHERWISE
    + f"[[example]]\nfacts = {{ priority = -{10**16} }}\nlane = 'queue'\n",
    "a reading in quotes": HEAD + OTHERWISE + "[[example]]\nfacts = { 'loop.lag_ms' = 5 }\nlane = 'queue'\n",
    "a weight in quotes": HEAD + OTHERWISE + "[[example]]\nfacts = { weight = '5' }\nlane = 'queue'\n",
    "tags that are one text": HEAD + OTHERWISE + "[[example]]\nfacts = { tags = 'a' }\nlane = 'queue'\n",
}


def mistakes(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(tomllib.loads(text))]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["title"] == "weighbridge policy file"


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_file_satisfies_it(name: str) -> None:
    assert mistakes(shipped_text(name)) == []


@pytest.mark.parametrize("place", POLICIES)
def test_every_policy_of_the_pages_satisfies_it(place: str) -> None:
    assert mistakes(POLICIES[place]) == []


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_does_not_and_is_refused_when_it_is_loaded_too(text: str) -> None:
    assert mistakes(text) != []
    with pytest.raises(PolicyError):
        parse_policy(text, name="wrong", source="wrong.toml")


def test_a_file_that_extends_another_needs_no_last_word() -> None:
    assert mistakes(HEAD + "extends = 'by-weight'\n") == []


def test_every_fact_stands_in_it() -> None:
    facts: dict[str, Any] = SCHEMA["$defs"]["ExampleTable"]["properties"]["facts"]["properties"]
    named = {f"{name}.{part}" for name, fact in facts.items() for part in fact.get("properties", ())}
    named |= {name for name, fact in facts.items() if "properties" not in fact}
    assert named == set(FACTS)


def test_every_key_has_a_description_and_nothing_is_null() -> None:
    tables = [SCHEMA, *(table for name, table in SCHEMA["$defs"].items() if name.endswith("Table"))]
    for table in tables:
        assert [key for key, value in table["properties"].items() if "description" not in value] == []
    assert "null" not in repr(SCHEMA)
    assert SCHEMA["$defs"]["Lane"]["enum"] == list(Lane)
