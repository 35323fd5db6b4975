"""``BackgroundTasks``: the class to call, and the annotation to inject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends

from weighbridge.background import facade as _facade
from weighbridge.background import injection as _injection
from weighbridge.background.decision_header import DecisionHeaderMiddleware
from weighbridge.background.options_view import OptionsView

if TYPE_CHECKING:
    # A type checker sees the class, since it refuses to call an alias. At run time it is one: for isinstance() there is
    # Starlette's BackgroundTasks, and a subclass as an annotation is FastAPI's to instantiate, as it is of its own.
    from weighbridge.background.facade import BackgroundTasks
else:
    # FastAPI makes its own class for an annotation that is a subclass of its own, so ours comes as a dependency.
    # Calling the alias makes the class's instance, as with any generic alias.
    # It yields nothing, so its scope changes nothing ("request", for dependencies of either scope may depend on it).
    # Said here, it is not found out anew for every request, which takes some 3 µs.
    BackgroundTasks = Annotated[_facade.BackgroundTasks, Depends(_injection.provider_of(None), scope="request")]

__all__ = ["BackgroundTasks", "DecisionHeaderMiddleware", "OptionsView"]
