"""The demo's figures: what was measured under one policy, task by task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from weighbridge.cli.demo.account import Account, Run
from weighbridge.cli.demo.traffic import Kind, Traffic
from weighbridge.decision import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Measured times in milliseconds, and how many there were; NaN if none."""

    count: int
    p50: float
    p99: float

    @classmethod
    def of(cls, values_s: Sequence[float]) -> Self:
        """The quantiles by nearest rank: each is a time that was measured."""
        p50, p99 = (_quantile(values_s, share) * 1_000 for share in (0.50, 0.99))
        return cls(count=len(values_s), p50=p50, p99=p99)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """One task's calls: how many took which lane, which processes ran them, when they were answered and done."""

    calls: int
    lanes: Mapping[Lane, int]
    pids: Sequence[int]
    to_response: Times
    to_done: Times


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFigures:
    """One run of the traffic under one policy."""

    policy: str
    web_pid: int
    requests: int
    tasks: Mapping[str, TaskFigures]
    views: Times
    probes: Times
    account: Account


def measure(
    policy: str, traffic: Traffic, runs: Sequence[Run], *, account: Account, web_pid: int, tasks: Sequence[str]
) -> PolicyFigures:
    """The figures of a run that has ended."""
    return PolicyFigures(
        policy=policy,
        web_pid=web_pid,
        requests=len(traffic.answers),
        tasks={task: _of_task(task, traffic, runs) for task in tasks},
        views=_responses(traffic, Kind.VIEW),
        probes=_responses(traffic, Kind.PROBE),
        account=account,
    )


def _of_task(task: str, traffic: Traffic, runs: Sequence[Run]) -> TaskFigures:
    sent_at_s, response_s, lanes = {}, [], Counter[Lane]()
    for answer in traffic.answers:
        for call in answer.calls:
            if call.task == task:
                sent_at_s[call.request_id] = answer.sent_at_s
                response_s.append(answer.response_s)
                lanes[call.lane] += 1
    own = [run for run in runs if run.task == task and run.request_id in sent_at_s]
    return TaskFigures(
        calls=len(response_s),
        lanes=lanes,
        pids=sorted({run.pid for run in own}),
        to_response=Times.of(response_s),
        to_done=Times.of([run.ended_at_s - sent_at_s[run.request_id] for run in own]),
    )


def _responses(traffic: Traffic, kind: Kind) -> Times:
    return Times.of([answer.response_s for answer in traffic.answers if answer.request.kind is kind])


def _quantile(values: Sequence[float], share: float) -> float:
    if not values:
        return math.nan
    return sorted(values)[math.ceil(share * len(values)) - 1]
