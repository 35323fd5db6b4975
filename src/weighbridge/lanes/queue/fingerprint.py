"""The fingerprint of a task: its name, queue and signature, by which the app and its workers compare what they know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from weighbridge.arguments.signature import ParameterKind, ParameterSignature
from weighbridge.task import TaskSpec


class Fit(StrEnum):
    """What becomes of an app's calls in a worker that knows the task by a certain fingerprint."""

    SAME = "same"
    """Both signatures are the same."""
    TAKES_MORE = "takes_more"
    """The worker's signature takes all that the app sends, and something besides: it was deployed first."""
    DIFFERS = "differs"
    """Some call of the app would not fit, and become a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """One task as one process knows it. Its text is the same in every process and Python version."""

    task: str
    queue: str
    parameters: tuple[ParameterSignature, ...]

    @classmethod
    def of(cls, spec: TaskSpec) -> Self:
        """The fingerprint of a task that can be queued.

        :raises ArgumentError: if no call of it can cross.
        """
        return cls(task=spec.name, queue=spec.queue, parameters=spec.codec.signature())

    def to_plain(self) -> dict[str, Any]:
        """As plain JSON: the queue, and for each parameter its name, kind, whether it is required, its digest."""
        return {
            "queue": self.queue,
            "parameters": [[each.name, each.kind, each.required, each.digest] for each in self.parameters],
        }

    @classmethod
    def from_plain(cls, task: str, plain: Mapping[str, Any]) -> Self:
        """The fingerprint that :meth:`to_plain` gave."""
        parameters = (
            ParameterSignature(name=name, kind=ParameterKind(kind), required=bool(required), digest=digest)
            for name, kind, required, digest in plain["parameters"]
        )
        return cls(task=task, queue=plain["queue"], parameters=tuple(parameters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An app's fingerprint against a worker's; ``differences`` for a person, in the words of the worker's side."""

    fit: Fit
    differences: tuple[str, ...] = ()


def compare(app: Fingerprint, worker: Fingerprint) -> Comparison:
    """Whether the calls that the app can make fit the worker's signature."""
    if app.parameters == worker.parameters:
        return Comparison(fit=Fit.SAME)
    theirs = {each.name: each for each in worker.parameters}
    ours = {each.name: each for each in app.parameters}
    wrong = [text for each in app.parameters if (text := _misfit(each, theirs.get(each.name))) is not None]
    added = [each for each in worker.parameters if each.name not in ours]
    wrong += [f"it also needs {each.name!r}" for each in added if each.required]
    if not wrong and not _same_order(app.parameters, worker.parameters):
        wrong.append("its parameters by position come in another order")
    if wrong:
        return Comparison(fit=Fit.DIFFERS, differences=tuple(wrong))
    more = [f"it also takes {each.name!r}" for each in added]
    more += [f"it no longer needs {each.name!r}" for each in app.parameters if _is_relaxed(each, theirs[each.name])]
    return Comparison(fit=Fit.TAKES_MORE, differences=tuple(more))


def _misfit(ours: ParameterSignature, theirs: ParameterSignature | None) -> str | None:
    if theirs is None:
        return f"it does not take {ours.name!r}"
    if ours.digest != theirs.digest:
        return f"{ours.name!r} is of another type"
    if ours.kind is not theirs.kind and theirs.kind is not ParameterKind.EITHER:
        return f"{ours.name!r} is passed in another way ({theirs.kind})"
    if theirs.required and not ours.required:
        return f"it needs {ours.name!r}, which calls may leave out"
    return None


def _is_relaxed(ours: ParameterSignature, theirs: ParameterSignature) -> bool:
    return ours.required and not theirs.required


def _same_order(ours: Iterable[ParameterSignature], theirs: Iterable[ParameterSignature]) -> bool:
    """Whether a value by position reaches the same parameter in the worker."""
    by_position = (ParameterKind.POSITIONAL, ParameterKind.EITHER)
    first = [each.name for each in ours if each.kind in by_position]
    second = [each.name for each in theirs if each.kind in by_position]
    return second[: len(first)] == first
