"""Policy files that a running service follows: what they hold, and the revision of that."""

from __future__ import annotations

from typing import Final

from weighbridge.policy import parse_policy

STAYS: Final = 'schema = 1\n\n[otherwise]\nlane = "in_process"\n'
QUEUED: Final = 'schema = 1\n\n[otherwise]\nlane = "queue"\n'


def revision_of_text(text: str) -> str:
    """The revision of a file with this text; its name makes no difference."""
    return parse_policy(text, name="ours", source="ours.toml").revision
