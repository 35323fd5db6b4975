"""A pain: what a service suffers with FastAPI's own ``BackgroundTasks``, as something that can be run on both sides."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .side import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Pain:
    """A service is run once on each side, and what a user notices is compared.

    The scenario is the same code for both sides: a service, and what is done to it. It says in a few words what
    became of the tasks; ``wanted`` are those that a user would like to hear, ``on_stock`` what is the case instead.
    """

    title: str
    because: str
    scenario: Callable[[Side], str]
    wanted: str
    on_stock: str

    def __str__(self) -> str:
        return re.sub(r"\W+", "_", self.title.lower()).strip("_")
