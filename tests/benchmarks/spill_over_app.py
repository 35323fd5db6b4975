"""The service and the task for ``bench_spill_over.py``: run by uvicorn and by ``weighbridge worker``."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI

from weighbridge import BackgroundTasks, Dispatcher, current_call, task

#: Of one run: as for an answer of another service, and as for a little work with it.
WAITS_S: Final = 0.020
COMPUTES_S: Final = 0.0005
#: Between a request's decision and its commit, as for a query of a database: others decide meanwhile.
ENDPOINT_WAITS_S: Final = 0.002
SAMPLE_EVERY_S: Final = 0.005


@task(weight=1, name="spill_over.work")
def work(number: int) -> None:
    enough_s = time.thread_time() + COMPUTES_S
    while time.thread_time() < enough_s:
        pass
    time.sleep(WAITS_S)
    # The monotonic clock is one for all processes of a machine (Linux: since its start).
    line = f"{number} {time.monotonic()} {current_call().lane}\n".encode()
    with open(os.environ["SPILL_OVER_JOURNAL"], "ab", buffering=0) as journal:  # noqa: PTH123  # no Path on each run
        journal.write(line)


class Meter:
    """How many calls have waited in process, and how many requests were between decision and commit at one time."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int]] = []
        self.deciding = self.most_deciding = self.most_waiting = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="meter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def waiting(self) -> int:
        assert dispatcher.dispatch is not None
        waiting = dispatcher.dispatch.in_process.reading().waiting
        self.most_waiting = max(self.most_waiting, waiting)
        return waiting

    def take(self) -> dict[str, Any]:
        taken = {"samples": self.samples, "deciding": self.most_deciding, "waiting": self.most_waiting}
        self.samples, self.most_deciding, self.most_waiting = [], 0, 0
        return taken

    def _sample(self) -> None:
        while not self._stopped.wait(SAMPLE_EVERY_S):
            self.samples.append((time.monotonic(), self.waiting()))


dispatcher = Dispatcher()
meter = Meter()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with dispatcher:
        meter.start()
        yield
        meter.stop()


app = FastAPI(lifespan=lifespan, dependencies=[dispatcher.gate])


@app.post("/calls/{number}", status_code=202)
async def add(number: int, tasks: BackgroundTasks) -> None:
    meter.deciding += 1
    meter.most_deciding = max(meter.most_deciding, meter.deciding)
    tasks.add_task(work, number)
    await asyncio.sleep(ENDPOINT_WAITS_S)
    meter.deciding -= 1
    meter.waiting()  # exact, beside the samples: calls come to wait at the end of a request and nowhere else


@app.post("/policy/{name}")
async def use(name: str) -> None:
    dispatcher.policy = name


@app.get("/samples")
async def samples() -> dict[str, Any]:
    return meter.take()
