"""The service and the tasks for ``bench_protect_latency.py``: run by uvicorn and by ``weighbridge worker``."""

from __future__ import annotations

import os
import time
from typing import Final

from fastapi import FastAPI

from weighbridge import BackgroundTasks, Dispatcher, Lane, current_call, task

# Before there is a thread, which would keep the CPUs that it was started with.
if cpus := os.environ.get("PROTECT_LATENCY_CPUS"):
    os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})

#: Milliseconds of CPU time, as declared, which by-weight keeps: on a thread, and (the last) on the loop.
MIDDLE_WEIGHTS: Final = (10, 20, 30, 40, 4)
LIGHT_WEIGHT: Final = 4


def run(number: int, weight: int) -> None:
    """One run: CPU time of this process, or of a machine that is not this one."""
    call = current_call()
    assert call is not None
    if call.lane is Lane.QUEUE:
        # The machine of the worker is another one: what it computes takes as long, but nothing of this one's CPUs.
        time.sleep(weight / 1_000)
    else:
        enough_s = time.thread_time() + weight / 1_000
        while time.thread_time() < enough_s:
            pass
    with open(os.environ["PROTECT_LATENCY_JOURNAL"], "ab", buffering=0) as journal:  # noqa: PTH123  # no Path on each run
        journal.write(f"{number} {call.lane}\n".encode())


@task(name="protect_latency.on_a_thread")
def on_a_thread(number: int, weight: int) -> None:
    run(number, weight)


@task(name="protect_latency.on_the_loop")
async def on_the_loop(number: int, weight: int) -> None:
    run(number, weight)


dispatcher = Dispatcher()
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/middle/{number}", status_code=202)
async def add_middle(number: int, tasks: BackgroundTasks) -> None:
    weight = MIDDLE_WEIGHTS[number % len(MIDDLE_WEIGHTS)]
    task_of_weight = on_the_loop if weight == LIGHT_WEIGHT else on_a_thread
    tasks.options(weight=weight).add_task(task_of_weight, number, weight)


@app.post("/light/{number}", status_code=202)
async def add_light(number: int, tasks: BackgroundTasks) -> None:
    tasks.options(weight=LIGHT_WEIGHT).add_task(on_the_loop, number, LIGHT_WEIGHT)


@app.post("/policy/{name:path}")
async def use(name: str) -> None:
    dispatcher.policy = name


@app.get("/broker")
async def broker() -> bool:
    """Whether the broker is known to be there."""
    assert dispatcher.dispatch is not None
    assert dispatcher.dispatch.queue is not None
    return bool(dispatcher.dispatch.queue.available())
