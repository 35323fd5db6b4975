"""``weighbridge demo``: a real service under real requests, three times, with a policy each."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

import click

from weighbridge.cli.group import RefusedError

#: What a shell shows for a command that Ctrl-C has ended: 128 and SIGINT's number.
INTERRUPTED: Final = 130


@click.command("demo")
def command() -> None:
    """Watch calls land where they belong: a real service, a real worker, real requests, in half a minute.

    Starts a server (or takes WEIGHBRIDGE_BROKER_URL), the orders example under uvicorn and one worker; sends
    it some hundred requests; shows where each task ran and how long it took; then does the same with
    everything in process, and with everything queued. Leaves nothing behind.

    Exit code: 0 if every accepted call ran exactly once, where its ticket said; 1 if not, naming the calls; 130 if
    Ctrl-C ended it.
    """
    missing = [name for name in ("httpx", "uvicorn") if find_spec(name) is None]
    if missing:
        raise RefusedError(f"the demo needs {' and '.join(missing)}: python -m pip install 'weighbridge[demo]'")
    from weighbridge.cli.demo.show import Show  # noqa: PLC0415  # httpx is optional, and was looked for above

    try:
        status = Show().run()
    except KeyboardInterrupt:
        click.echo("\nended by Ctrl-C; nothing is left behind", err=True)
        status = INTERRUPTED
    sys.exit(status)
