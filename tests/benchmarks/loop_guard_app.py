"""A plain service whose loop sampler, guard and all, is switched on and off, for ``bench_loop_guard.py``."""

from __future__ import annotations

import time

import fastapi

from weighbridge.load.loop_blocks import LoopBlockCounter
from weighbridge.load.loop_sampler import LoopSampler

app = fastapi.FastAPI()
samplers: list[LoopSampler] = []


async def nothing() -> None: ...


@app.get("/work")
async def work(tasks: fastapi.BackgroundTasks) -> dict[str, int]:
    tasks.add_task(nothing)
    return {"answer": 1}


@app.get("/block")
async def block() -> None:
    time.sleep(1.0)  # noqa: ASYNC251  # what the guard looks at


@app.get("/on")
async def on() -> None:
    samplers.append(LoopSampler.of_running_loop(clock=time.monotonic, block_s=0.1, counter=LoopBlockCounter()))
    samplers[-1].start()


@app.get("/off")
async def off() -> None:
    samplers.pop().stop()


@app.get("/cpu")
async def cpu() -> float:
    """Seconds of CPU time of all threads of this process."""
    return time.process_time()
