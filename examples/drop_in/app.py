"""Written for FastAPI's BackgroundTasks. One line differs: where the name is imported from."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI

from weighbridge import BackgroundTasks  # was: from fastapi import BackgroundTasks

app = FastAPI()
log: list[str] = []


def write_log(line: str) -> None:
    log.append(line)


async def send_mail(address: str, *, subject: str) -> None:
    log.append(f"mail to {address}: {subject}")


def query(tasks: BackgroundTasks, q: str | None = None) -> str | None:
    """A dependency that adds a task of its own to the request's."""
    if q:
        tasks.add_task(write_log, f"found query: {q}")
    return q


@app.post("/notifications/{address}")
async def notify(address: str, tasks: BackgroundTasks, q: Annotated[str | None, Depends(query)]) -> dict[str, str]:
    tasks.add_task(send_mail, address, subject="hello")
    return {"message": "sent in the background", "query": q or "", "log": ", ".join(log)}
