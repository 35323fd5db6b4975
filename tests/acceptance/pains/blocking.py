"""An async task computes, and every request waits for it. Who finds out which task that is?"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from fastapi import BackgroundTasks
from tests.servers.asgi import Request, opened, until

from .side import Side

COMPUTES_S = 0.2
#: On a machine that stands still there is nothing to be seen of the first ones.
REQUESTS = 10


def what_is_named(side: Side) -> str:
    """Requests leave an async task that awaits nothing, until the log says so."""
    app = side.new_app()
    rendered: list[bool] = []

    async def render_report() -> None:
        ends_s = time.monotonic() + COMPUTES_S
        while time.monotonic() < ends_s:
            pass
        rendered.append(True)

    @app.post("/")
    @side.injects
    async def report(tasks: BackgroundTasks) -> None:
        tasks.add_task(render_report)

    async def main() -> None:
        async with opened(app):
            for _ in range(REQUESTS):
                await Request().serve(app)
                await until(lambda: rendered)
                rendered.clear()
                if any("render_report" in line for line in log):
                    break

    with _logged() as log:
        anyio.run(main)
    return "render_report" if any("render_report" in line for line in log) else "nothing"


@contextmanager
def _logged() -> Iterator[list[str]]:
    """What is logged, with stacks, as a handler of the service's would have it."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Handler()
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)
