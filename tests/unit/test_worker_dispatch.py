"""Dispatch inside a worker, at its edges; how it works is shown by the tests of ``current_call()``."""

from __future__ import annotations

import pytest

from weighbridge import task
from weighbridge.background.outside import OutsideTasks
from weighbridge.errors import NotOpenError
from weighbridge.lanes.queue import connect
from weighbridge.policy import load_policy
from weighbridge.settings import Settings
from weighbridge.task import registry
from weighbridge.worker_dispatch import WorkerDispatch


@task(weight=100)
def note_a_page(page: int) -> None: ...


def test_a_run_that_outlives_its_worker_is_told_that_its_calls_are_not_in_the_queue() -> None:
    broker = connect("redis://127.0.0.1:1/0", namespace="test", timeout_s=0.5)
    dispatch = WorkerDispatch.over(
        broker,
        registry=registry,
        policy=load_policy("by-weight"),
        settings=Settings(broker_url="redis://127.0.0.1:1/0"),
    )

    tasks = OutsideTasks(dispatch.opened())
    tasks.__enter__().add_task(note_a_page, 1)
    dispatch.close()

    with pytest.raises(NotOpenError, match="has shut down"):
        tasks.__exit__(None, None, None)
