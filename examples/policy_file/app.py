"""Two tasks, and no word about lanes: the policy file decides."""

from __future__ import annotations

from fastapi import FastAPI

from weighbridge import BackgroundTasks, Dispatcher, task


@task(weight=2, tags=["mail"])
def send_invoice(order_id: int) -> None:
    print("invoice of order", order_id)


@task(weight=30)
def update_statistics(order_id: int) -> None:
    print("statistics with order", order_id)


dispatcher = Dispatcher()
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])


@app.post("/orders/{order_id}", status_code=202)
async def place(order_id: int, tasks: BackgroundTasks) -> dict[str, str]:
    return {
        "send_invoice": tasks.add_task(send_invoice, order_id).reason,
        "update_statistics": tasks.add_task(update_statistics, order_id).reason,
    }
