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


def with_header(reference: str) -> tuple[str, Mapping[str, str]]:
    """What uvicorn is to serve instead of the app ``module:name``, and the variables that it needs for that."""
    # Not a factory, whatever the user's app is: that is found out within.
    return f"{__name__}:app", {VARIABLE: reference, "UVICORN_FACTORY": ""}


def _found(reference: str) -> Any:
    """The app as uvicorn looks it up. What is wrong with it is said by uvicorn, which ends the process, or let out."""
    import uvicorn  # noqa: PLC0415  # an optional dependency

    # Of all that uvicorn does with an app only the look-up; the rest is for the one that serves.
    config = uvicorn.Config(reference, log_config=None, proxy_headers=False, ws="none", lifespan="off")
    config.load()
    return config.loaded_app


# Taken away, so that what the app starts does not serve it too.
_reference: Final = os.environ.pop(VARIABLE, None)
if _reference is not None:
    # At import: what that raises uvicorn lets out, but an error while it reads an attribute it takes for a missing one.
    app: Final = DecisionHeaderMiddleware(_found(_reference))
