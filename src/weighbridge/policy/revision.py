"""The revision of a policy: what tells one content of it from another."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, TypeGuard

from weighbridge.errors import PolicyError
from weighbridge.policy.code_text import code_text
from weighbridge.policy.protocol import Policy, declared, source_of
from weighbridge.policy.value_text import shown_object

#: The longest revision that a policy in code may give itself, in characters.
MAX_REVISION: Final = 100
_REVISION: Final = re.compile(rf"[!-~](?:[ -~]{{0,{MAX_REVISION - 2}}}[!-~])?")


def revision_of(policy: Policy) -> str:
    """What tells this content of a policy from another: its own ``revision``, or else a hash of its code and values.

    What the hash sees, :func:`~weighbridge.policy.code_text.code_text` says. It does not see what the policy uses of
    other modules, nor what is in an object of their classes that is no plain value; and the same policy has another one
    in another version of Python, and with ``-O``. Where that matters, the policy declares a ``revision`` of its own.

    :raises PolicyError: if its own is no text of 1 to 100 printable ASCII characters, or its values cannot be read, or
        are more than can be looked at in about a second.
    """
    revision = declared(policy, "revision")
    if revision is None:
        return content_hash(_made(policy))
    if is_revision(revision):
        return revision
    raise PolicyError(
        source=source_of(policy),
        where="revision",
        problem=f"it is {shown_object(revision)}",
        remedy=f"give 1 to {MAX_REVISION} printable ASCII characters, no blank first or last, or leave it out",
    )


def is_revision(value: object) -> TypeGuard[str]:
    """Whether it can be a revision: a short text that can stand in a log."""
    return isinstance(value, str) and _REVISION.fullmatch(value) is not None


def content_hash(content: str) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a text in UTF-8."""
    return sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _made(policy: Policy) -> str:
    try:
        return code_text(policy)
    except Exception as error:  # what a class of somebody's own may do to who looks into it
        raise PolicyError(
            source=source_of(policy),
            where="revision",
            problem=f"it has none, and to make one from its values raised {type(error).__name__}: {error}",
            remedy="declare one, as in revision = 'v1'",
        ) from error
