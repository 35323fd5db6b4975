"""A call that stays in process, in the form that Starlette and FastAPI know."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, update_wrapper

from starlette.background import BackgroundTask

from weighbridge.call import Call, on_loop
from weighbridge.decision import IN_PROCESS
from weighbridge.run import CurrentCall, running


class CallTask(BackgroundTask):
    """A call that stays in process, as the item of ``.tasks`` that Starlette and FastAPI know."""

    def __init__(self, call: Call) -> None:
        # Set, not passed on: a task may have a parameter named func, and whether it is async is known.
        self.func = call.func
        self.args = call.args  # type: ignore[assignment]  # P is bound for a call, not for an attribute
        self.kwargs = call.kwargs  # type: ignore[assignment]  # as above
        self.is_async = call.is_async
        if "func" in call.kwargs:  # a word that Starlette's way to a thread keeps for itself
            self.func = update_wrapper(partial(call.func, **call.kwargs), call.func)
            self.kwargs = {}  # type: ignore[assignment]  # as above
        self.call = call
        #: Whether it runs, or somebody has it who will run it: it runs once, however many lists hold it.
        self.begun = False
        #: Whose it is to run, if somebody has claimed it. That one should not hold this item: a request must leave no
        #: cycle of objects behind.
        self.owner: object = None

    async def __call__(self) -> None:
        """Run as Starlette would: in the request, and let the failure out."""
        if self.begun:
            return
        self.begun = True
        call = self.call
        with running(CurrentCall(call.id, call.name, 1, IN_PROCESS, call.decision.revision)):
            await on_loop(call, super().__call__)  # which tracers hook into


def calls_of(tasks: Sequence[BackgroundTask]) -> list[Call]:
    """The calls behind items of ``.tasks``, but those that were put there by hand."""
    return [task.call for task in tasks if isinstance(task, CallTask)]


def none_begun(tasks: Sequence[BackgroundTask]) -> bool:
    """Whether there are items, and none has run; of one that was put there by hand nobody knows."""
    return bool(tasks) and not any(getattr(task, "begun", True) for task in tasks)
