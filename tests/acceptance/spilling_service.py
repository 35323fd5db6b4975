"""A service whose calls wait in this process until it is told to let them go, and run at once in a worker.

For ``test_spill_over.py``, which runs it under uvicorn and under ``weighbridge worker``.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from fastapi import FastAPI

from weighbridge import BackgroundTasks, Dispatcher, Lane, current_call, task

JOURNAL = Path(os.environ["SPILLING_JOURNAL"])
let_go = threading.Event()


@task(weight=1)
def work(number: int) -> None:
    call = current_call()
    if call.lane is Lane.IN_PROCESS:
        let_go.wait()
    line = f"{number} {call.id} {call.lane} {os.getpid()}\n"
    with JOURNAL.open("a") as journal:
        journal.write(line)


# One request writes a thousand messages, on a machine that may be busy.
dispatcher = Dispatcher(policy="spill-over", in_process_threads=2, enqueue_timeout_s=30)
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])


@app.get("/counts")
async def counts() -> dict[str, int]:
    assert dispatcher.dispatch is not None
    reading = dispatcher.dispatch.in_process.reading()
    return {"running": reading.running, "waiting": reading.waiting, "pid": os.getpid()}


@app.post("/calls/{number}", status_code=202)
def add(
    number: int, tasks: BackgroundTasks
) -> dict[str, str]:  # on a thread, so that requests decide beside each other
    ticket = tasks.add_task(work, number)
    return {"id": ticket.id, "lane": ticket.lane, "reason": ticket.reason}


@app.post("/many-calls/{count}", status_code=202)
def add_many(count: int, tasks: BackgroundTasks) -> list[dict[str, str]]:
    tickets = [tasks.add_task(work, number) for number in range(count)]
    return [{"id": ticket.id, "lane": ticket.lane, "reason": ticket.reason} for ticket in tickets]


@app.post("/go")
async def go() -> None:
    let_go.set()
