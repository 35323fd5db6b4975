"""The actor of a task: plain JSON on the wire, values of the declared types in the function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.middleware import AsyncIO, Callbacks, Pipelines
from dramatiq.results import Results

from weighbridge.errors import BrokerError, DuplicateTaskError, PayloadError
from weighbridge.lanes.queue.middleware import end_of_run
from weighbridge.lanes.queue.running_message import running_message
from weighbridge.settings import DEFAULT_ARGUMENTS_LIMIT_BYTES
from weighbridge.task import TaskSpec

#: What the middleware ``Retries`` adds to the options that an actor may have.
_RETRY_OPTIONS = frozenset({"max_retries", "min_backoff", "max_backoff", "throws"})


class TypedActor(dramatiq.Actor[..., Any]):
    """The actor that runs one task. ``spec`` is the task's declaration.

    ``send`` and ``message`` take the values that the function takes, and encode them. A message whose arguments do
    not fit the function, or are more than ``arguments_limit_bytes``, is never retried: it is a dead letter at once.
    """

    def __init__(self, spec: TaskSpec, *, broker: dramatiq.Broker, arguments_limit_bytes: int) -> None:
        self.spec = spec
        self.arguments_limit_bytes = arguments_limit_bytes
        options: dict[str, Any] = {
            "max_retries": spec.queue_retries,
            "min_backoff": _milliseconds(spec.min_backoff_s),
            "max_backoff": _milliseconds(spec.max_backoff_s),
            "throws": (PayloadError,),
        }
        if spec.time_limit_s is not None:
            options["time_limit"] = _milliseconds(spec.time_limit_s)
        super().__init__(
            _decoding(spec, keeps_result=_takes_results(broker), limit_bytes=arguments_limit_bytes),
            broker=broker,
            actor_name=spec.name,
            queue_name=spec.queue,
            priority=spec.priority,
            options=options,
        )

    # Dramatiq's methods of these names take their own ``self`` by keyword too, so a task could not have it.

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the task with the plain values of a message. Every keyword belongs to it."""
        try:
            return self.fn(*args, **kwargs)
        finally:
            end_of_run(self.broker)

    def message(self, /, *args: Any, **kwargs: Any) -> dramatiq.Message[Any]:
        """A message with these values as arguments, encoded; raises what :meth:`message_with_options` does."""
        return self.message_with_options(args=args, kwargs=kwargs)

    def send(self, /, *args: Any, **kwargs: Any) -> dramatiq.Message[Any]:
        """Enqueue such a message; blocks, as Dramatiq's own."""
        return self.send_with_options(args=args, kwargs=kwargs)

    def message_with_options(
        self, *, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, **options: Any
    ) -> dramatiq.Message[Any]:
        """A message with these values as arguments, encoded.

        :raises ArgumentError: if an argument does not survive the way to a worker, or is too large for it.
        """
        encoded_args, encoded_kwargs = self.spec.codec.encode(args, kwargs or {})
        self.spec.codec.check_size(encoded_args, encoded_kwargs, limit_bytes=self.arguments_limit_bytes)
        return super().message_with_options(args=tuple(encoded_args), kwargs=encoded_kwargs, **options)


def bind(
    broker: dramatiq.Broker, spec: TaskSpec, *, arguments_limit_bytes: int = DEFAULT_ARGUMENTS_LIMIT_BYTES
) -> TypedActor:
    """Make ``spec`` known to ``broker``, without I/O. Again changes nothing; a newer declaration replaces.

    Its actor writes and takes arguments of at most ``arguments_limit_bytes``.

    :raises DuplicateTaskError: if an actor of the user's own has the task's name.
    :raises BrokerError: if the broker lacks a middleware without which the declaration would not be obeyed.
    """
    holder = broker.actors.get(spec.name)
    if isinstance(holder, TypedActor) and holder.spec is spec and holder.arguments_limit_bytes == arguments_limit_bytes:
        return holder
    if holder is not None and not isinstance(holder, TypedActor):
        raise DuplicateTaskError(
            task=spec.name, holder=f"the actor {_address(holder.fn)}", claimant=_address(spec.func)
        )
    _check_middleware(broker, spec)
    broker.actors.pop(spec.name, None)
    return TypedActor(spec, broker=broker, arguments_limit_bytes=arguments_limit_bytes)


def _check_middleware(broker: dramatiq.Broker, spec: TaskSpec) -> None:
    if not broker.actor_options >= _RETRY_OPTIONS:
        raise _missing(broker, spec, "Retries", "a failing call would be acknowledged and lost")
    if spec.time_limit_s is not None and "time_limit" not in broker.actor_options:
        raise _missing(broker, spec, "TimeLimit", "its time_limit_s would not be obeyed")
    if spec.is_async and not any(isinstance(middleware, AsyncIO) for middleware in broker.middleware):
        raise _missing(broker, spec, "AsyncIO", "an async function would not run")


def _missing(broker: dramatiq.Broker, spec: TaskSpec, middleware: str, consequence: str) -> BrokerError:
    return BrokerError(
        broker=type(broker).__name__,
        problem=f"has no {middleware} middleware, so of task {spec.name!r} {consequence}",
        remedy=f"add it: broker.add_middleware(dramatiq.middleware.{middleware}())",
    )


def _takes_results(broker: dramatiq.Broker) -> bool:
    """Whether anything would read a return value. Dramatiq warns at each run of one that nothing reads."""
    return any(isinstance(middleware, Results | Pipelines | Callbacks) for middleware in broker.middleware)


def _decoding(spec: TaskSpec, *, keeps_result: bool, limit_bytes: int) -> Callable[..., Any]:
    """The task's function behind the decoding of its arguments.

    Not in a hook before the run: Dramatiq swallows what a hook raises, and runs the function on raw values.
    """
    func = spec.func

    def decoded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        spec.codec.check_size(args, kwargs, limit_bytes=limit_bytes, error=PayloadError)
        return spec.codec.decode(args, kwargs)

    if spec.is_async:

        @functools.wraps(func)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            values, named = decoded(args, kwargs)
            try:
                with running_message(spec):
                    result = await func(*values, **named)
            except (SystemExit, KeyboardInterrupt) as error:
                # On a thread of its own a sync run fails by these as by any other. Here they would end the event
                # loop's thread, and with it each async run, and leave this run's thread waiting.
                raise RuntimeError(f"the task raised {type(error).__name__}") from error
            return result if keeps_result else None

        return run_async

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        values, named = decoded(args, kwargs)
        with running_message(spec):
            result = func(*values, **named)
        return result if keeps_result else None

    return run


def _address(func: Callable[..., Any]) -> str:
    return f"{getattr(func, '__module__', '?')}.{getattr(func, '__qualname__', repr(func))}"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1_000))
