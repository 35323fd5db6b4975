"""Pictures of the Mandelbrot set: drawing one takes a processor a while, so a worker does it."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from weighbridge import BackgroundTasks, Dispatcher, Weight, task

SIZE = 96
FOLDER = Path(os.environ.get("PICTURES", "pictures"))


@task(weight=Weight.HEAVY)
def draw(picture_id: int, *, depth: int = 64) -> None:
    """Draw one picture, a file in the PGM format. Its first line names the process that drew it."""
    rows = [" ".join(str(_steps(x, y, depth)) for x in range(SIZE)) for y in range(SIZE)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    finished = _file(picture_id)
    unfinished = finished.with_suffix(".part")
    unfinished.write_text("\n".join(["P2", f"# process {os.getpid()}", f"{SIZE} {SIZE}", f"{depth}", *rows]))
    unfinished.replace(finished)  # in one step: a second run of the same call does no harm


def _steps(x: int, y: int, depth: int) -> int:
    point = complex(3 * x / SIZE - 2.2, 2.4 * y / SIZE - 1.2)
    value = 0j
    for step in range(depth):
        if abs(value) > 2:
            return step
        value = value * value + point
    return depth


def _file(picture_id: int) -> Path:
    return FOLDER / f"{picture_id}.pgm"


dispatcher = Dispatcher()
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])


@app.post("/pictures/{picture_id}", status_code=202)
async def order(picture_id: int, tasks: BackgroundTasks) -> dict[str, object]:
    ticket = tasks.add_task(draw, picture_id)
    return {"call": ticket.id, "lane": ticket.lane, "reason": ticket.reason, "web_process": os.getpid()}


@app.get("/pictures/{picture_id}", response_class=FileResponse)
def fetch(picture_id: int) -> FileResponse:
    if not _file(picture_id).exists():
        raise HTTPException(404, "not drawn yet, or never ordered")
    return FileResponse(_file(picture_id), media_type="image/x-portable-graymap")
