"""Calls where no dispatcher is open: what may stay stays, and what must be queued is refused."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from weighbridge.call import Call, CallOptions
from weighbridge.chooser import Chooser
from weighbridge.dispatch import new_call
from weighbridge.task import registry

_chooser: Final = Chooser(registry=registry, policy=None)


def call_without_dispatcher(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], options: CallOptions
) -> tuple[Call, float]:
    """The call and its weight. Raises what :meth:`Chooser.choose` raises."""
    return new_call(_chooser, func, args, kwargs, options, new_id=_new_id, clock=time.monotonic)


def _new_id() -> str:
    return str(uuid.uuid4())
