"""The signature of a function as data: its parameters, each with a digest of its type, the same in all processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from weighbridge.arguments.parameters import Parameters

#: Hexadecimal digits of a digest: 48 bits, of which two that differ are never seen alike among a service's types.
DIGITS: Final = 12
#: Stands for the digest of a type that cannot be described.
UNKNOWN: Final = "?"
#: What a JSON Schema says for people, or for a form, and not about what may be passed.
_FOR_PEOPLE: Final = frozenset({"title", "description", "examples", "deprecated", "default", "readOnly", "writeOnly"})
#: Below these words stand names of the user's, which may be words of JSON Schema too.
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs"})
#: Lists below these words are sets, and pydantic gives some of them in the order of Python's.
_UNORDERED: Final = frozenset({"required", "enum"})


class ParameterKind(StrEnum):
    """How a parameter takes its value."""

    POSITIONAL = "positional"
    EITHER = "either"
    KEYWORD = "keyword"
    REST = "rest"
    OTHERS = "others"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSignature:
    """One parameter: whether a call must pass it, and the digest of what it takes."""

    name: str
    kind: ParameterKind
    required: bool
    digest: str


def signature_of(parameters: Parameters, adapter: TypeAdapter[Any]) -> tuple[ParameterSignature, ...]:
    """The parameters: by position in their order, then the others by name.

    Names, kinds and types count; annotations that mean the same to pydantic are the same (``int | None``,
    ``Optional[int]``), and docstrings, titles and default values do not count.
    """
    digests = _digests(adapter)
    by_keyword_only = sorted(parameters.keywords.difference(parameters.positional))
    ends = [name for name in (parameters.rest, parameters.others) if name is not None]
    return tuple(
        ParameterSignature(
            name=name,
            kind=_kind(parameters, name),
            required=name in parameters.required,
            digest=digests.get(name, UNKNOWN),
        )
        for name in (*parameters.positional, *by_keyword_only, *ends)
    )


def _digests(adapter: TypeAdapter[Any]) -> dict[str, str]:
    """The digest of each parameter's type; none if a type's own hook fails."""
    try:
        document = adapter.json_schema(schema_generator=_Generator)
    except Exception:  # noqa: BLE001  # it may raise anything, and calls cross without a JSON Schema
        return {}
    definitions: Mapping[str, Any] = document.get("$defs", {})
    described = _arguments_in(document, definitions)
    return {name: _digest(node, definitions) for name, node in described.items()}


def _kind(parameters: Parameters, name: str) -> ParameterKind:
    if name == parameters.rest:
        return ParameterKind.REST
    if name == parameters.others:
        return ParameterKind.OTHERS
    if name not in parameters.keywords:
        return ParameterKind.POSITIONAL
    return ParameterKind.EITHER if name in parameters.positional else ParameterKind.KEYWORD


class _Generator(GenerateJsonSchema):
    """JSON Schema that never fails: what it has no words for is described by pydantic's own word."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012  # pydantic's own attribute

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> JsonSchemaValue:  # noqa: ARG002
        """A type of the user's own validators, or one without a JSON form: its class, if the schema names one."""
        return {"python": schema["type"], "class": getattr(schema.get("cls"), "__qualname__", None)}


def _arguments_in(document: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of the TypedDict that holds all arguments: it or nothing, as ``schema.py`` makes it."""
    holder = document["anyOf"][0]
    if "$ref" in holder:
        holder = definitions[holder["$ref"].rpartition("/")[2]]
    properties: Mapping[str, Any] = holder.get("properties", {})
    return properties


def _digest(node: Any, definitions: Mapping[str, Any]) -> str:
    text = json.dumps(_Plain(definitions).of(node), sort_keys=True, separators=(",", ":"), default=_kind_of)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:DIGITS]


def _kind_of(value: object) -> str:
    """What stands for a value of a schema that is no JSON; its own text may differ from process to process."""
    return type(value).__qualname__


class _Plain:
    """A schema with its definitions written out where they are first met; the names of those do not count.

    Pydantic names a definition by what else is defined beside it, so the name of a model depends on other parameters.
    """

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._numbers: dict[str, int] = {}

    def of(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.of(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return self._definition(node["$ref"].rpartition("/")[2])
        plain: dict[str, Any] = {}
        for word in sorted(node):
            if word in _FOR_PEOPLE:
                continue
            value = node[word]
            if word == "discriminator":
                plain[word] = value.get("propertyName") if isinstance(value, dict) else value
            elif word in _NAMED and isinstance(value, dict):
                plain[word] = {name: self.of(value[name]) for name in sorted(value)}
            elif word in _UNORDERED and isinstance(value, list):
                plain[word] = sorted(value, key=repr)
            else:
                plain[word] = self.of(value)
        return plain

    def _definition(self, name: str) -> Any:
        if name in self._numbers:
            return {"again": self._numbers[name]}
        self._numbers[name] = len(self._numbers)
        return self.of(self._definitions[name])
