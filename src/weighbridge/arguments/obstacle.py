"""An obstacle: a parameter of which no value can cross a process, found in the schema of its type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import CoreSchema

from weighbridge.arguments.kinds import CLOCK, CODE, KEYS, ONCE, Kind, kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A parameter whose values cannot cross, its type, and the kind of that type."""

    parameter: str
    type: str
    kind: Kind

    @property
    def problem(self) -> str:
        """What is wrong with the parameter."""
        return f"is of type {self.type}, which {self.kind.why}"

    def __str__(self) -> str:
        return f"has the parameter {self.parameter!r} of type {self.type}, which {self.kind.why}; {self.kind.instead}"


def name_of(type_: Any) -> str:
    """How a type is called in a sentence."""
    return getattr(type_, "__name__", None) or str(type_)


#: What a core schema says about itself, not about what it holds.
_NOT_HELD: Final = frozenset(
    {"metadata", "config", "serialization", "default", "expected", "members", "computed_fields", "strict_schema"}
)
_ANY: Final = {"type": "any"}
#: A value of these cannot be the key of a JSON object.
_NO_KEYS: Final = frozenset(
    {"tuple", "list", "set", "frozenset", "dict", "model", "dataclass", "typed-dict", "named-tuple"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a schema was found to hold: the first obstacle, if any, and whether it holds pydantic models."""

    obstacle: Obstacle | None
    holds_models: bool


def survey(core_schema: CoreSchema) -> Survey:
    """Look through the schema of all parameters for types that pydantic knows, and that take no JSON."""
    root: Any = core_schema
    search = _Search()
    if root["type"] == "definitions":
        search.definitions.update({each["ref"]: each for each in root["definitions"]})
        root = root["schema"]
    arguments = search.resolved(root["schema"])
    for name, field in arguments["fields"].items():
        for type_, kind in search.refused(field):
            obstacle = Obstacle(parameter=name, type=type_, kind=kind)
            return Survey(obstacle=obstacle, holds_models=search.holds_models)
    return Survey(obstacle=None, holds_models=search.holds_models)


class _Search:
    """Walks core schemas, each definition once, for a type may hold itself."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.holds_models = False
        self._seen: set[str] = set()

    def resolved(self, node: Any) -> Any:
        """The schema itself, where only a reference to it stands."""
        return self.definitions[node["schema_ref"]] if node["type"] == "definition-ref" else node

    def refused(self, node: Any, *, convertible: bool = False) -> Iterator[tuple[str, Kind]]:
        """The types in ``node`` that no JSON can become, each with its kind.

        ``convertible``: a validator runs before, and may make an instance of a class out of what it gets.
        """
        if isinstance(node, list | tuple):
            for each in node:
                yield from self.refused(each, convertible=convertible)
            return
        if not isinstance(node, dict):
            return
        schema_type = node.get("type")
        if not isinstance(schema_type, str):  # fields by name, or choices by tag
            yield from self.refused(list(node.values()), convertible=convertible)
            return
        found = self._refused_itself(node, schema_type)
        if found is not None:
            if not (convertible and schema_type == "is-instance"):
                yield found
            return
        self.holds_models = self.holds_models or schema_type == "model"
        if schema_type in {"model", "dataclass", "typed-dict", "named-tuple"}:
            convertible = False
        elif schema_type in {"function-before", "function-wrap"}:
            convertible = True
        yield from self.refused(self._held(node, schema_type), convertible=convertible)

    def _refused_itself(self, node: dict[str, Any], schema_type: str) -> tuple[str, Kind] | None:
        found: tuple[str, Kind] | None = None
        match schema_type:
            case "is-instance":
                found = name_of(node["cls"]), kind_of(node["cls"])
            case "is-subclass":
                found = f"type[{name_of(node['cls'])}]", CODE
            case "callable":
                found = "Callable", CODE
            case "call" if not isinstance(node["function"], type):  # a NamedTuple may have this schema, too
                found = "Callable", CODE
            case "generator":
                found = "Iterable", ONCE
            case "date" | "datetime" if node.get("now_op") == "future":
                found = f"Future{schema_type.capitalize()}", CLOCK
            case "dict" if (keys := self.resolved(node.get("keys_schema", _ANY))["type"]) in _NO_KEYS:
                found = f"dict with a {keys} as key", KEYS
        return found

    def _held(self, node: dict[str, Any], schema_type: str) -> list[Any]:
        match schema_type:
            case "definition-ref":
                ref = node["schema_ref"]
                if ref in self._seen:
                    return []
                self._seen.add(ref)
                return [self.definitions[ref]]
            case "json-or-python":
                return [node["json_schema"]]
            case _:
                return [part for name, part in node.items() if name not in _NOT_HELD]
