"""The app that ``weighbridge dev`` has uvicorn serve: the user's, with the decision header around it.

Not in the package of that command, which the app's process has no use for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from weighbridge.background import DecisionHeaderMiddleware

#: Names the user's app to this module in another process. It has not our prefix, for what has that is a setting.
VARIABLE: Final = "_WEIGHBRIDGE_DEV_APP"
#: The interface of the user's app, where the user names one; that of the header around it is asgi3.
_INTERFACE: Final = "_WEIGHBRIDGE_DEV_INTERFACE"
_UVICORNS: Final = "UVICORN_INTERFACE"


def with_header(reference: str) -> tuple[str, Mapping[str, str]]:
    """What uvicorn is to serve instead of the app ``module:name``, and the variables that it needs for that."""
    # Not a factory, whatever the user's app is: that is found out within.
    variables = {VARIABLE: reference, "UVICORN_FACTORY": ""}
    match os.environ.get(_UVICORNS):
        case "asgi3" | "asgi2" | "wsgi" as interface:  # else it is found out within, or uvicorn refuses it
            variables |= {_INTERFACE: interface, _UVICORNS: "asgi3"}
    return f"{__name__}:app", variables


def _found(reference: str, interface: Any) -> Any:
    """The app as uvicorn looks it up. What is wrong with it is said by uvicorn, which ends the process, or let out."""
    import uvicorn  # noqa: PLC0415  # an optional dependency

    # Of all that uvicorn does with an app only the look-up; the rest is for the one that serves.
    config = uvicorn.Config(
        reference, interface=interface, log_config=None, proxy_headers=False, ws="none", lifespan="off"
    )
    config.load()
    return config.loaded_app


# Taken away, so that what the app starts does not serve it too.
_reference: Final = os.environ.pop(VARIABLE, None)
_interface: Final = os.environ.pop(_INTERFACE, "auto")
if _reference is not None:
    # At import: what that raises uvicorn lets out, but an error while it reads an attribute it takes for a missing one.
    app: Final = DecisionHeaderMiddleware(_found(_reference, _interface))
