"""What no policy may override: the lane that a function's declaration, or its very shape, fixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final, assert_never

from weighbridge.crossing import call_is_async, shape_obstacle
from weighbridge.decision import Decision, Lane
from weighbridge.errors import ConstraintError, DeclarationError
from weighbridge.task import Registry, TaskSpec

#: More layers than this are taken for a cycle of ``__wrapped__``, which must not hang a request.
_DEEPEST: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """The one lane that a function may take, as the decision that no policy takes part in."""

    decision: Decision

    @classmethod
    def to(cls, lane: Lane, *, rule: str, reason: str) -> Constraint:
        """The constraint that fixes ``lane``: it takes the decision from every policy."""
        return cls(decision=Decision(lane=lane, reason=reason, rule=rule))

    @property
    def lane(self) -> Lane:
        """The lane that is fixed."""
        return self.decision.lane

    @property
    def reason(self) -> str:
        """Why, as the end of a sentence that starts with "it"."""
        return self.decision.reason

    def refusal(self, task: str, asked: str) -> ConstraintError:
        """The error for a call that asks for the other lane."""
        match self.lane:
            case Lane.QUEUE:
                problem = f"cannot run in process ({asked}): it {self.reason}"
            case Lane.IN_PROCESS:
                problem = f"cannot be queued ({asked}): it {self.reason}"
            case _ as never:
                assert_never(never)
        return ConstraintError(task=task, problem=problem, remedy=f"drop {asked} for this task")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What ``add_task`` was given, looked at once: its declaration, if any, and its constraint, if any."""

    name: str
    spec: TaskSpec | None
    is_async: bool
    constraint: Constraint | None


def target_of(func: Callable[..., Any], registry: Registry) -> Target:
    """Look at a function: its declaration and what that forbids.

    :raises DeclarationError: if a decorator above ``@task`` hides the declaration, if a durable task is given
        in a form that cannot be queued (a method, a partial), or if an annotation of it cannot be resolved.
    """
    spec = registry.of(func)
    if spec is not None:
        displaced = _displaced(spec, registry)
        if displaced is not None:
            return displaced
        return Target(name=spec.name, spec=spec, is_async=spec.is_async, constraint=constraint_of(spec))
    inner = _declared_inside(func, registry)
    if inner is None:
        obstacle = _undeclared_obstacle(func)
        constraint = Constraint.to(Lane.IN_PROCESS, rule="cannot_cross", reason=obstacle)
        return Target(name=_name_of(func), spec=None, is_async=call_is_async(func), constraint=constraint)
    if not isinstance(func, MethodType | partial):
        raise DeclarationError(
            task=inner.name,
            problem="is hidden by a decorator above @task, so its declaration would not be obeyed",
            remedy="make @task the topmost decorator",
        )
    obstacle = shape_obstacle(func) or "is not the declared function itself"
    if inner.durable:
        raise DeclarationError(
            task=inner.name,
            problem=f"is durable, so it must be queued, and what was given {obstacle}",
            remedy="give add_task the declared function and its arguments",
        )
    constraint = Constraint.to(Lane.IN_PROCESS, rule="cannot_cross", reason=obstacle)
    return Target(name=inner.name, spec=inner, is_async=inner.is_async, constraint=constraint)


def _displaced(spec: TaskSpec, registry: Registry) -> Target | None:
    """The target of a task whose name belongs to another function by now: a worker would run that one."""
    if registry.get(spec.name) is spec:
        return None
    obstacle = "lost its name to a later declaration, which a worker would run instead; give one another name"
    if spec.durable:
        raise DeclarationError(
            task=spec.name, problem=f"is durable, so it must be queued, and it {obstacle}", remedy="with @task(name=…)"
        )
    constraint = Constraint.to(Lane.IN_PROCESS, rule="cannot_cross", reason=obstacle)
    return Target(name=spec.name, spec=spec, is_async=spec.is_async, constraint=constraint)


def constraint_of(spec: TaskSpec) -> Constraint | None:
    """The constraint of a declared task; ``None`` where a policy may choose.

    :raises DeclarationError: if a durable task turns out to be unable to cross (its annotations could not be
        resolved when it was declared), or if an annotation cannot be resolved at all.
    """
    if spec.shares_memory:
        reason = "is declared shares_memory, so it needs this process's memory"
        return Constraint.to(Lane.IN_PROCESS, rule="shares_memory", reason=reason)
    obstacle = shape_obstacle(spec.func) or spec.codec.obstacle(final=True)
    if spec.durable:
        if obstacle is not None:
            raise DeclarationError(
                task=spec.name,
                problem=f"is durable, so it must be queued, and it {obstacle}",
                remedy="or drop durable=True",
            )
        return Constraint.to(
            Lane.QUEUE, rule="durable", reason="is declared durable, so it must survive a crash of this process"
        )
    if obstacle is not None:
        return Constraint.to(Lane.IN_PROCESS, rule="cannot_cross", reason=obstacle)
    return None


def _undeclared_obstacle(func: Callable[..., Any]) -> str:
    shape = shape_obstacle(func)
    if shape is not None:
        return shape
    return "is not declared with @task, so a worker does not know it by name"


def _declared_inside(func: Callable[..., Any], registry: Registry) -> TaskSpec | None:
    """The declared task below partials, bound methods and ``functools.wraps`` layers."""
    inner: Any = func
    for _ in range(_DEEPEST):
        if isinstance(inner, partial):
            inner = inner.func
        elif isinstance(inner, MethodType):
            inner = inner.__func__
        elif hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        else:
            return None
        spec = registry.of(inner)
        if spec is not None:
            return spec
    return None


def _name_of(func: Callable[..., Any]) -> str:
    while isinstance(func, partial):
        func = func.func
    if isinstance(func, FunctionType | MethodType):
        return f"{func.__module__}.{func.__qualname__}"
    named = func if hasattr(func, "__qualname__") else type(func)
    return f"{named.__module__}.{named.__qualname__}"
