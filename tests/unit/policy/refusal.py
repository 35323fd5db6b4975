"""The refusal of a policy file, which the tables of wrong files compare in full."""

from __future__ import annotations

from typing import Final

import pytest

from weighbridge.errors import PolicyError
from weighbridge.policy import parse_policy

SCHEMA: Final = "schema = 1\n"
OTHERWISE: Final = '[otherwise]\nlane = "in_process"\n'


def refusal_of(text: str) -> PolicyError:
    """The error that a file with this text is refused with, as that of ``ours.toml``."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, name="ours", source="ours.toml")
    return caught.value
