"""The shape of a policy file: its tables and keys, as pydantic checks them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from weighbridge.decision import Lane
from weighbridge.policy.expression import Unknown

#: The longest name of a rule and the longest reason, in characters: both go into logs and answers.
MAX_NAME: int = 100
MAX_REASON: int = 500

_LaneKey = Annotated[Lane, Field(strict=False, description="Where the calls run: `in_process` or `queue`.")]
_ReasonKey = Annotated[
    str, Field(max_length=MAX_REASON, description="What tickets and logs tell in the place of the expression.")
]


class Table(BaseModel):
    """A table of the file: an unknown key is an error, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RuleTable(Table):
    """One ``[[rule]]``. The first rule whose ``when`` holds decides."""

    name: str = Field(
        min_length=1, max_length=MAX_NAME, description="What decisions, logs and errors call the rule; unique."
    )
    when: str = Field(description="A statement about facts, as in `weight >= 50 and not is_async`.")
    lane: _LaneKey
    reason: _ReasonKey = ""
    unknown: Annotated[Unknown, Field(strict=False)] = Field(
        default=Unknown.NO_MATCH,
        description="What holds when a reading is unknown and the statement therefore neither true nor false: "
        '`"no match"`, or `"match"`.',
    )


class OtherwiseTable(Table):
    """``[otherwise]``: the last word, for the calls that no rule matches."""

    lane: _LaneKey
    reason: _ReasonKey = ""


class ExampleTable(Table):
    """One ``[[example]]``, which is tried whenever the file is loaded."""

    facts: dict[str, Any] = Field(
        description="Facts of a call, as in `{ weight = 80, in_process = { waiting = 9 } }`; the others have "
        "their defaults, and readings without one are unknown."
    )
    lane: _LaneKey


class PolicyTable(Table):
    """A whole policy file."""

    schema_number: Literal[1] = Field(alias="schema", description="The version of this format: 1.")
    description: str = Field(default="", description="What the policy is for, in a sentence.")
    extends: str | None = Field(
        default=None, description="A shipped policy, whose rules are tried after those of the file."
    )
    rule: list[RuleTable] = Field(default=[], description="The rules, in the order in which they are tried.")
    otherwise: OtherwiseTable | None = Field(
        default=None,
        description="The last word, for the calls that no rule matches; needed unless the file `extends` another.",
    )
    example: list[ExampleTable] = Field(default=[], description="What the policy says about itself.")

    @field_validator("schema_number", mode="before")
    @classmethod
    def _whole(cls, value: object) -> object:
        if type(value) is not int:  # to Python true and 1.0 equal 1
            raise PydanticCustomError("literal_error", "the schema is a whole number")
        return value
