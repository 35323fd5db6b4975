"""What is wrong with a setting: misspelt variables, and values that no setting can have, as one error to a reader."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from weighbridge.errors import SettingsError

PREFIX: Final = "WEIGHBRIDGE_"
#: What Kubernetes puts into each pod for a Service named ``weighbridge`` or ``weighbridge-…``.
_SERVICE_LINK: Final = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


def refuse_misspelt_variables(environ: Mapping[str, str], *, known: Mapping[str, object]) -> None:
    """Refuse a variable that begins as the settings' do and names none.

    :raises SettingsError: for the first such variable.
    """
    names = {PREFIX + name.upper() for name in known}
    for variable in environ:
        upper = variable.upper()
        if upper.startswith(PREFIX) and upper not in names:
            remedy = _suggest(upper, names, what="variable")
            if _SERVICE_LINK.fullmatch(upper):
                remedy = (
                    "if Kubernetes has set it, for a Service of such a name, put `enableServiceLinks: false` into "
                    "the pod's spec; else remove it"
                )
            raise SettingsError(setting=variable, problem="is not a setting", remedy=remedy)


def settings_error(error: ValidationError, *, known: Mapping[str, object]) -> SettingsError:
    """The first fault as a SettingsError; the value is left out, since it may hold a password."""
    fault = error.errors(include_input=False, include_url=False)[0]
    own = fault.get("ctx", {}).get("error")
    if isinstance(own, SettingsError):
        return own
    name = str(fault["loc"][0]) if fault["loc"] else "(all)"
    if fault["type"] == "extra_forbidden":
        return SettingsError(
            setting=name, problem="is not a setting", remedy=_suggest(name, set(known), what="setting")
        )
    given = os.environ.get(PREFIX + name.upper())
    source = f"set {PREFIX}{name.upper()} to" if given is not None else "give"
    message = fault["msg"].removeprefix("Value error, ")
    shown = f" ({given!r})" if given is not None and name != "broker_url" else ""
    return SettingsError(
        setting=name,
        problem=f"is not valid{shown}: {message}",
        remedy=f"{source} a value that fits (see the reference page on settings)",
    )


def _suggest(name: str, known: set[str], *, what: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"remove it, or use a known {what}: {', '.join(sorted(known))}"
