"""How FastAPI comes by the facade: one provider per request that registers the commit point.

The commit must happen after the endpoint succeeded and its response was validated, and before the first byte is
sent. That is where FastAPI closes its function-scoped dependencies. Two ways lead there:

* the exit stack of function-scoped dependencies, which FastAPI keeps in the ASGI scope under a name of its own
  (``fastapi_function_astack``): a plain provider pushes its exit on it. Cheap, but the name is not documented; this
  module alone knows it, and ``tests/integration/test_injection.py`` is its contract test.
* a public generator dependency with ``scope="function"``: the fallback where that name is gone. It costs about 60 µs
  a request more.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import CodeType, TracebackType
from typing import Any, Final

import fastapi.routing
from fastapi import BackgroundTasks as FastAPIBackgroundTasks
from fastapi import Depends
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import Scope
from starlette.websockets import WebSocketDisconnect

from weighbridge.background.collector import COLLECTOR
from weighbridge.background.facade import BackgroundTasks
from weighbridge.dispatch import Dispatch, DispatchSource, only_open_dispatch
from weighbridge.errors import DispatcherError
from weighbridge.events import emit

logger: Final = logging.getLogger("weighbridge.background")

NOT_OPEN: Final = "background.dispatcher_not_open"

FUNCTION_STACK: Final = "fastapi_function_astack"
REQUEST_STACK: Final = "fastapi_inner_astack"

#: Where a request's :class:`Injected` facade stands in the ASGI scope.
FACADE: Final = "weighbridge.facade"
#: Where the lifespan publishes its dispatcher, in the state that mounted apps see too.
STATE: Final = "weighbridge"

Provider = Callable[..., Awaitable[BackgroundTasks]]


def keeps_exit_stacks() -> bool:
    """Whether the installed FastAPI keeps its exit stacks in the scope under the names that we know."""

    def constants(code: CodeType) -> set[object]:
        found: set[object] = set(code.co_consts)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                found |= constants(constant)
        return found

    handler: Any = fastapi.routing.request_response
    return {FUNCTION_STACK, REQUEST_STACK} <= constants(handler.__code__)


def provider_of(source: DispatchSource | None, *, on_exit_stacks: bool | None = None) -> Provider:
    """A dependency that gives the request's facade; ``source`` is the dispatcher of an app's gate.

    Without a source: the app's gate's, or that of the lifespan state, or the only one open on this loop, or none.
    """
    if keeps_exit_stacks() if on_exit_stacks is None else on_exit_stacks:
        return _provider_on_stacks(source)
    return _provider_on_generators(source)


# -- which dispatcher ---------------------------------------------------------------------------------------


class Injected:
    """The facade of a request, and the dispatch that it uses."""

    __slots__ = ("dispatch", "facade", "is_in_use", "is_websocket", "request_stack", "stack")

    def __init__(self, scope: Scope, source: DispatchSource | None, outer: FastAPIBackgroundTasks) -> None:
        dispatch = _dispatch_for(scope) if source is None else source.dispatch
        if dispatch is None and source is not None:
            remedy = "FastAPI(lifespan=dispatcher.lifespan); in tests: with TestClient(app) as client"
            emit(logger, NOT_OPEN, level=logging.WARNING, remedy=remedy)
        self.dispatch = dispatch
        if dispatch is None or dispatch.runs_like_starlette:
            # FastAPI runs the items of its own list after the response; sharing it keeps Starlette's order.
            self.facade = BackgroundTasks.of(dispatch, tasks=outer.tasks)
        else:
            self.facade = BackgroundTasks.of(dispatch)
        if COLLECTOR in scope:
            scope[COLLECTOR].add(self.facade)
        #: Whether somebody besides gates was given the facade.
        self.is_in_use = False
        # Not the scope, which holds this: a request must leave no cycle of objects behind.
        self.is_websocket = scope["type"] == "websocket"
        self.stack: AsyncExitStack | None = scope.get(FUNCTION_STACK)
        self.request_stack: Any = scope.get(REQUEST_STACK)

    def serves(self, gate: DispatchSource) -> bool:
        """Whether it is what this gate gives. Below an app's gate, a router's of another dispatcher takes over.

        :raises DispatcherError: if that comes too late: FastAPI gives the endpoint what it gave a dependency before.
        """
        if gate.dispatch is self.dispatch:
            return True
        if self.is_in_use:
            raise DispatcherError(
                problem="a dependency was given BackgroundTasks before the gate of another dispatcher was reached",
                remedy="put the gate first: dependencies=[dispatcher.gate, …], on the app or the router",
            )
        return False


def _dispatch_for(scope: Scope) -> Dispatch | None:
    """The dispatch that a request finds without a gate."""
    published = scope.get("state", {}).get(STATE)
    if published is not None:
        known: Dispatch | None = published.dispatch
        return known
    return only_open_dispatch()


# -- on FastAPI's exit stacks -------------------------------------------------------------------------------


def _provider_on_stacks(source: DispatchSource | None) -> Provider:
    async def weighbridge_tasks(connection: HTTPConnection, outer: FastAPIBackgroundTasks) -> BackgroundTasks:
        scope = connection.scope
        stack: AsyncExitStack = scope[FUNCTION_STACK]
        known: _CommitPoint | None = scope.get(FACADE)
        # A scope may be solved more than once, on other stacks; each has a facade of its own.
        if known is None or known.stack is not stack or (source is not None and not known.serves(source)):
            known = scope[FACADE] = _CommitPoint(scope, source, outer)
            stack.push_async_exit(known)
        if source is None:
            known.is_in_use = True
        return known.facade

    return weighbridge_tasks


class _CommitPoint(Injected, AbstractAsyncContextManager[None, None]):
    """Where the endpoint has ended."""

    __slots__ = ()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        facade = self.facade
        if error is not None and not _is_only(error, WebSocketDisconnect):
            facade.discard()
            return
        try:
            if facade.runs_like_starlette or not facade.commit_now():
                await facade.commit_at_gate()
        finally:  # a cancellation may have got through once the commit had succeeded
            if facade.pending:
                self.request_stack.push_async_exit(_HandOver(facade, self.is_websocket))


class _HandOver(AbstractAsyncContextManager[None, None]):
    """Where the response has been sent. An object, for a function costs the stack a failed look-up more."""

    __slots__ = ("_facade", "_is_websocket")

    def __init__(self, facade: BackgroundTasks, is_websocket: bool) -> None:  # noqa: FBT001  # one for each request
        self._facade = facade
        self._is_websocket = is_websocket

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Coroutine[Any, Any, None]:
        if error is None and not self._is_websocket:
            return self._facade.run_accepted()
        return _hand_over(self._facade, error, is_websocket=self._is_websocket)


# -- after the response -------------------------------------------------------------------------------------


async def _hand_over(facade: BackgroundTasks, error: BaseException | None, *, is_websocket: bool) -> None:
    """After the response: start what was accepted, also where the response had a background of its own.

    A client that went away (a cancellation, a failure to send) changes nothing, except for what runs like Starlette,
    where no call has started by then and none will. Any other error means that the request failed after the commit,
    so what stays in process does not run, as in Starlette.
    """
    if not facade.pending:
        return
    if error is not None and _is_only(error, WebSocketDisconnect):
        error = None  # the client has closed, which is how most handlers of a websocket end
    if error is not None:
        client_left = not isinstance(error, Exception) or _is_only(error, OSError, ClientDisconnect)
        if facade.runs_like_starlette or not client_left:
            facade.discard()
            return
    # Nothing follows a websocket's handler, so its end is where its calls are waited for.
    await facade.run_accepted(wait=True if error is None and is_websocket else None)


def _is_only(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether it is of these kinds, or a group of nothing else: a handler may run task groups, as FastAPI's own do."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)


# -- on public generators -----------------------------------------------------------------------------------


def _provider_on_generators(source: DispatchSource | None) -> Provider:  # noqa: C901  # dependencies within one another
    # Dependencies are defaults here: FastAPI could not resolve an annotation that names a local function.
    async def handed_over(
        connection: HTTPConnection, outer: FastAPIBackgroundTasks
    ) -> AsyncIterator[tuple[BackgroundTasks, bool]]:
        scope = connection.scope
        known: Injected | None = scope.get(FACADE)
        injected = known
        if injected is None or (source is not None and not injected.serves(source)):
            injected = scope[FACADE] = Injected(scope, source, outer)
        if source is None:
            injected.is_in_use = True
        facade = injected.facade
        if injected is known:
            yield facade, False
            return
        try:
            yield facade, True
        except BaseException as error:
            await _hand_over(facade, error, is_websocket=injected.is_websocket)
            raise
        else:
            await _hand_over(facade, None, is_websocket=injected.is_websocket)
        finally:
            if known is None:
                del scope[FACADE]  # the scope may be solved once more
            else:
                scope[FACADE] = known

    async def committed(
        outer: FastAPIBackgroundTasks,
        found: tuple[BackgroundTasks, bool] = Depends(handed_over),
    ) -> AsyncIterator[BackgroundTasks]:
        facade, is_first = found
        try:
            yield facade
        except BaseException as error:
            if not _is_only(error, WebSocketDisconnect):  # as at _CommitPoint
                facade.discard()
            elif is_first:
                await facade.commit_at_gate()
            raise
        if is_first:  # the gate's, which exits last
            await facade.commit_at_gate()
            if facade.pending and not facade.runs_like_starlette:
                # Before request-scoped dependencies of the user exit; the gate's own exits after all of them.
                outer.add_task(facade.run_accepted)

    at_the_end: Any = Depends(committed, scope="function")

    # A plain function in front, so that request-scoped dependencies of the user may depend on it.
    async def weighbridge_tasks(facade: BackgroundTasks = at_the_end) -> BackgroundTasks:
        return facade

    return weighbridge_tasks
