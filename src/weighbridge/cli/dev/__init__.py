"""``weighbridge dev``: a server, the app with reload, and a worker, in one terminal, for development."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import click

from weighbridge.cli.dev.port import require_free
from weighbridge.cli.dev.session import Session
from weighbridge.cli.group import RefusedError
from weighbridge.errors import ModuleError


@click.command("dev")
@click.argument("app")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that the app listens on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port that the app listens on; 0 takes a free one.",
)
@click.option(
    "--no-decision-header",
    is_flag=True,
    help="Leave out the header Weighbridge-Decision, which says on each response where its calls went.",
)
def command(app: str, *, host: str, port: int, no_decision_header: bool) -> None:
    """Run APP (module:name, as for uvicorn) with all that it needs, for development.

    Starts a server (or takes WEIGHBRIDGE_BROKER_URL), the app under uvicorn with reload, and one worker for
    the app's module, which restarts when a source file below this folder changes, and says when all of them
    are up. One Ctrl-C stops all of them, and says how long that takes at most; another, a second later or more, kills
    them at once. Either way nothing runs any more when the prompt is back. Nothing is kept: what waits in the queue is
    gone with the server.

    Each response whose request has added calls says in the header Weighbridge-Decision where they went.

    Before that it imports APP once, in a process of its own: an app that is not there or cannot be imported is
    refused, and so is a port that is in use. An app that an edit breaks later is waited for. As under uvicorn alone,
    any function passes for an app: one that is none, nor makes one when it is called without arguments, fails at the
    first request.

    Exit code: 0 if it was stopped, 2 if it was refused, otherwise that of the app, or 1 if the server ended.
    """
    if os.name != "posix":
        raise RefusedError("weighbridge dev needs Linux or macOS; on Windows, run it in WSL")
    module, _, name = app.partition(":")
    if not module or not name:
        raise ModuleError(module=app, problem="does not name an app", remedy="write module:name, as in app.main:app")
    if find_spec("uvicorn") is None:
        raise RefusedError("weighbridge dev runs the app under uvicorn: python -m pip install uvicorn")
    require_free(host, port)
    session = Session(app=app, module=module, host=host, port=port, decision_header=not no_decision_header)
    sys.exit(session.run())
