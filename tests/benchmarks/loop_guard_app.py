"""A plain service whose loop sampler, guard and all, is switched on and off, for ``bench_loop_guard.py``."""

from __future__ import annotations

import threading
import time
from contextvars import copy_context

import fastapi

from weighbridge.call import Call, on_loop
from weighbridge.decision import Decision, Lane
from weighbridge.load.loop_blocks import LoopBlockCounter
from weighbridge.load.loop_sampler import LoopSampler

app = fastapi.FastAPI()
samplers: list[LoopSampler] = []


async def nothing() -> None: ...


async def blocks() -> None:
    """Block the loop, under as many frames as an application may have."""
    deeper(50)


def deeper(frames: int) -> None:
    if frames:
        deeper(frames - 1)
    else:
        time.sleep(1.0)


CALL = Call(
    id="1",
    name="bench.blocks",
    func=blocks,
    args=(),
    kwargs={},
    spec=None,
    is_async=True,
    decision=Decision(lane=Lane.IN_PROCESS, reason="a benchmark", rule="benchmark"),
    context=copy_context(),
    added_at_s=0.0,
)


@app.get("/work")
async def work(tasks: fastapi.BackgroundTasks) -> dict[str, int]:
    tasks.add_task(nothing)
    return {"answer": 1}


@app.get("/block")
async def block() -> None:
    await on_loop(CALL, blocks)  # as the lane runs a call: the guard finds it, takes its stack and tells of it


@app.get("/on")
async def on() -> None:
    samplers.append(LoopSampler.of_running_loop(clock=time.monotonic, block_s=0.1, counter=LoopBlockCounter()))
    samplers[-1].start()


@app.get("/off")
async def off() -> float:
    """Seconds of CPU time that the sampler's thread has taken (where the system tells, which is not macOS)."""
    (ident,) = [thread.ident for thread in threading.enumerate() if thread.name == "weighbridge-loop-sampler"]
    assert ident is not None
    took_s = time.clock_gettime(time.pthread_getcpuclockid(ident))
    samplers.pop().stop()
    return took_s


@app.get("/cpu")
async def cpu() -> float:
    """Seconds of CPU time of all threads of this process."""
    return time.process_time()
