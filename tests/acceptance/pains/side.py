"""The two sides of a pain: FastAPI's own ``BackgroundTasks`` in a plain app, weighbridge's in one with a dispatcher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, ClassVar, TypeVar

from fastapi import BackgroundTasks, FastAPI

import weighbridge

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Side(ABC):
    """How an app is made there, and what ``BackgroundTasks`` is in it."""

    name: ClassVar[str]
    #: What a parameter is annotated with.
    annotation: ClassVar[Any]
    #: What a parameter is annotated with for a class that extends FastAPI's, and whose ``add_task`` gives an id.
    extended: ClassVar[Any]

    @abstractmethod
    def new_app(self, *, lifespan: Lifespan | None = None) -> FastAPI:
        """An app that is ready for background tasks; ``lifespan`` is the service's own."""

    @abstractmethod
    def new_tasks(self) -> BackgroundTasks:
        """Tasks that are made by hand."""

    def injects(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint as it is with this side's import of ``BackgroundTasks`` at the head of its module."""
        annotations = endpoint.__annotations__
        replaced = [name for name, annotation in annotations.items() if annotation == BackgroundTasks.__name__]
        assert replaced, f"{endpoint} asks for no BackgroundTasks"
        annotations.update(dict.fromkeys(replaced, self.annotation))
        return endpoint


class _WithId(BackgroundTasks):
    def add_task(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        super().add_task(func, *args, **kwargs)
        return len(self.tasks)


class Stock(Side):
    """What comes with FastAPI."""

    name = "stock"
    annotation = BackgroundTasks
    extended = _WithId

    def new_app(self, *, lifespan: Lifespan | None = None) -> FastAPI:
        return FastAPI(lifespan=lifespan)

    def new_tasks(self) -> BackgroundTasks:
        return BackgroundTasks()


class Ours(Side):
    """The import changed, and a dispatcher at its defaults."""

    name = "weighbridge"
    annotation = weighbridge.BackgroundTasks
    extended = weighbridge.BackgroundTasks

    def new_app(self, *, lifespan: Lifespan | None = None) -> FastAPI:
        dispatcher = weighbridge.Dispatcher()

        @asynccontextmanager
        async def both(app: FastAPI) -> AsyncIterator[None]:
            async with dispatcher, lifespan(app) if lifespan else nullcontext():
                yield

        return FastAPI(lifespan=both, dependencies=[dispatcher.gate])

    def new_tasks(self) -> BackgroundTasks:
        return weighbridge.BackgroundTasks()


STOCK = Stock()
WEIGHBRIDGE = Ours()
SIDES = {side.name: side for side in (STOCK, WEIGHBRIDGE)}
