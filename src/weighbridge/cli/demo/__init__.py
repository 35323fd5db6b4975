"""``weighbridge demo``: a real service under real requests, three times, with a policy each."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import click

from weighbridge.cli.group import RefusedError


@click.command("demo")
def command() -> None:
    """Watch calls land where they belong: a real service, a real worker, real requests, in half a minute.

    Starts a server (or takes WEIGHBRIDGE_BROKER_URL), the orders example under uvicorn and one worker; sends
    it some hundred requests; shows where each task ran and how long it took; then does the same with
    everything in process, and with everything queued. Leaves nothing behind.

    Exit code: 0 if every accepted call ran exactly once, where its ticket said; 1 if not, naming the calls.
    """
    missing = [name for name in ("httpx", "uvicorn") if find_spec(name) is None]
    if missing:
        raise RefusedError(f"the demo needs {' and '.join(missing)}: python -m pip install 'weighbridge[demo]'")
    from weighbridge.cli.demo.show import Show  # noqa: PLC0415  # httpx is optional, and was looked for above

    sys.exit(Show().run())
