"""A misfit: which argument does not fit, where, why, and what to do. Never its value, for passwords pass here."""

from __future__ import annotations

from typing import Any, Final

_LONGEST_KEY: Final = 40


class Misfit(Exception):  # noqa: N818  # never leaves this package: the codec makes an ArgumentError of it
    """Carries the facts of an error up to the codec, which knows the task and the direction.

    ``path`` leads from the argument to the place; ``sent`` and ``arrives`` name the types of a drift.
    ``of_size``: smaller or flatter arguments of the same kinds would have passed.
    """

    def __init__(
        self,
        *,
        argument: str,
        problem: str,
        remedy: str,
        path: str = "",
        sent: str | None = None,
        arrives: str | None = None,
        of_size: bool = False,
    ) -> None:
        self.of_size = of_size
        #: Kept in place of the exception itself, whose traceback would hold the values.
        self.facts: dict[str, Any] = {
            "argument": argument,
            "problem": problem,
            "remedy": remedy,
            "path": path,
            "sent": sent,
            "arrives": arrives,
        }
        super().__init__(argument, problem, remedy)


def article(kind: type) -> str:
    """The name of a type as a sentence takes it: ``an int``, ``a Session``."""
    name = kind.__name__
    return f"{'an' if name[:1] in 'aeiouAEIO' else 'a'} {name}"


def key_step(key: object) -> str:
    """One step of a path, into a mapping.

    Only keys that look like the name of a field are shown: others may be data, such as an address.
    """
    shown = isinstance(key, str) and key.isidentifier() and len(key) <= _LONGEST_KEY
    return f"[{str(key)!r}]" if shown else "[…]"
