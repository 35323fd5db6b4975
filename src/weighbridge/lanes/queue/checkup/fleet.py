"""What is wrong between an app and its workers: tasks that none knows or knows otherwise, queues that none serves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from weighbridge.lanes.queue.checkup.finding import Finding, Promise, Severity, error, ok, unknown, warning
from weighbridge.lanes.queue.checkup.queues import QueueState
from weighbridge.lanes.queue.fingerprint import Fingerprint, Fit, compare
from weighbridge.lanes.queue.register import WorkerRecord

DEPLOY: Final = "deploy the workers before the app, from the same source"
#: Seconds after which a process may well be dead: it gives a sign of life every 20.
SILENT_S: Final = 30.0
#: Names that one line shows.
SHOWN: Final = 5


def fleet_findings(
    *,
    app: Sequence[Fingerprint],
    workers: Sequence[WorkerRecord] | None,
    queues: Sequence[QueueState],
    versions: Mapping[str, str],
) -> tuple[Finding, ...]:
    """Compare the tasks of the app (none: they were not given) with what live workers say; ``None``: none can say."""
    if workers is None:
        return (*_unseen(queues, app), *_dead(queues))
    served = tuple(_served(app, workers, queues))
    known = tuple(_known(app, workers, versions))
    if app and workers and not any(each.severity is Severity.ERROR for each in (*served, *known)):
        known = (*known, ok("tasks", f"the workers know all {len(app)} of the app, and take its calls"))
    return (*served, *_silent(workers), *known, *_versions(workers, versions), *_dead(queues))


def _served(
    app: Sequence[Fingerprint], workers: Sequence[WorkerRecord], queues: Sequence[QueueState]
) -> Iterator[Finding]:
    served = {queue for worker in workers for queue in worker.queues}
    needed = {task.queue for task in app} | {state.name for state in queues if state.waiting or state.delayed}
    missing = sorted(needed - served)
    if not workers:
        text = "no worker process is alive, so no queued call runs"
        remedy = "start one: weighbridge worker MODULE"
        yield (
            error("workers", text, Promise.QUEUED_CALLS, remedy=remedy)
            if needed
            else warning("workers", text, remedy=remedy)
        )
    elif missing:
        text = f"no live worker serves {_named('queue', missing)}"
        remedy = "start a worker for it (weighbridge worker MODULE --queue NAME), or one without --queue"
        yield error("workers", text, Promise.QUEUED_CALLS, remedy=remedy)
    elif any(each.silent_s <= SILENT_S for each in workers):
        heard_s = [each.silent_s for each in workers if each.silent_s <= SILENT_S]
        said = f"{len(heard_s)} live, each heard of in the last {max(1, math.ceil(max(heard_s)))} s"
        yield ok("workers", f"{said}, for {_named('queue', sorted(served))}")


def _silent(workers: Sequence[WorkerRecord]) -> Iterator[Finding]:
    """A host that went down takes its processes out of the register only when their time is over."""
    silent = [each for each in workers if each.silent_s > SILENT_S]
    if silent:
        longest_s = max(each.silent_s for each in silent)
        text = f"nothing was heard for up to {longest_s:.0f} s of {_whom(silent)}: dead, perhaps; listed for 60 s"
        if len(silent) == len(workers):
            text = f"no process is certainly alive: {text}"
        yield warning("workers", text, Promise.QUEUED_CALLS, remedy="look again in a minute")


def _known(
    app: Sequence[Fingerprint], workers: Sequence[WorkerRecord], versions: Mapping[str, str]
) -> Iterator[Finding]:
    for task in app:
        serving = [worker for worker in workers if task.queue in worker.queues]
        if not serving:
            continue  # told of the queue
        without = [worker for worker in serving if worker.fingerprint(task.task) is None]
        if without:
            who = "no live worker of its queue" if len(without) == len(serving) else _whom(without)
            knows = "knows" if len(without) == len(serving) else "does not know"
            text = f"{task.task}: {who} {knows} it, so a call waits there, and is a dead letter after five minutes"
            yield error("tasks", text, Promise.QUEUED_CALLS, remedy=DEPLOY)
        yield from _signatures(task, serving, versions)


def _signatures(task: Fingerprint, serving: Sequence[WorkerRecord], versions: Mapping[str, str]) -> Iterator[Finding]:
    told: dict[tuple[Fit, tuple[str, ...]], list[WorkerRecord]] = {}
    for worker in serving:
        theirs = worker.fingerprint(task.task)
        if theirs is not None:
            found = compare(task, theirs)
            told.setdefault((found.fit, found.differences), []).append(worker)
    for (fit, differences), those in told.items():
        shown = "; ".join(differences)
        if fit is Fit.TAKES_MORE:
            yield ok("tasks", f"{task.task}: the signature in {_whom(those)} is newer, and takes the app's ({shown})")
        elif fit is Fit.DIFFERS:
            text = f"{task.task}: the signature in {_whom(those)} differs ({shown}); such calls become dead letters"
            schemas = {worker.versions.get("pydantic") for worker in those} - {versions.get("pydantic")}
            if schemas:
                text += f". pydantic there is {', '.join(sorted(map(str, schemas)))}, which may be all"
            yield error("tasks", text, Promise.QUEUED_CALLS, remedy=DEPLOY)


def _versions(workers: Sequence[WorkerRecord], versions: Mapping[str, str]) -> Iterator[Finding]:
    for name in ("weighbridge", "python"):
        found = {_major(name, each.versions.get(name, "?")) for each in workers}
        here = _major(name, versions.get(name, "?"))
        if found - {here}:
            text = f"{name} is {', '.join(sorted(found))} in the workers, and {here} here"
            yield warning("versions", text, remedy="deploy one version everywhere; a mix is for the time of a deploy")


def _dead(queues: Sequence[QueueState]) -> Iterator[Finding]:
    soon = {state.name: state.dead_soon for state in queues if state.dead_soon}
    if soon:
        text = f"{sum(soon.values()):,} dead letters are deleted within a day, by their age ({', '.join(soon)})"
        yield warning("dead letters", text, remedy="look at them, and requeue what shall run")


def _unseen(queues: Sequence[QueueState], app: Sequence[Fingerprint]) -> Iterator[Finding]:
    """On a broker without a register there may still be a count of who reads a queue."""
    needed = {task.queue for task in app} | {state.name for state in queues if state.waiting}
    counted = {state.name: state.consumers for state in queues if state.consumers is not None}
    missing = sorted(name for name in needed if counted.get(name, 0) == 0) if counted else []
    if missing:
        text = f"nobody reads {_named('queue', missing)}"
        yield error("workers", text, Promise.QUEUED_CALLS, remedy="start a worker: weighbridge worker MODULE")
    text = "what live workers know cannot be compared: this broker keeps no register of them"
    yield unknown("tasks", text, remedy=DEPLOY)


def _major(name: str, version: str) -> str:
    return ".".join(version.split(".")[:2]) if name == "python" else version


def _named(noun: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    return f"{noun} {shown}" if len(names) == 1 else f"{noun}s {shown}"


def _whom(workers: Sequence[WorkerRecord]) -> str:
    shown = ", ".join(f"{each.host}:{each.pid}" for each in workers[:SHOWN])
    return f"worker {shown}{', …' if len(workers) > SHOWN else ''}"
