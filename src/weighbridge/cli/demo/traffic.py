"""The demo's traffic: the same requests at the same moments for every policy, sent by a real HTTP client."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import anyio
import httpx

from weighbridge.decision import Lane

#: Seconds over which the requests are spread, and how many of each kind there are: 54 a second, and 20 probes.
SPREAD_S: Final = 6.0
COUNTS: Final = {"order": 120, "view": 180, "report": 22, "probe": 120}
CONNECTIONS: Final = 8
#: Seconds for getting all requests ready before the first is due.
LEAD_S: Final = 0.2
REQUEST_TIMEOUT_S: Final = 30.0
SEED: Final = 20

PRODUCTS: Final = ("kettle", "lamp", "teapot", "vase")


class Kind(StrEnum):
    """What a request asks for."""

    ORDER = "order"
    VIEW = "view"
    REPORT = "report"
    PROBE = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A request, and its moment in seconds after the start."""

    at_s: float
    kind: Kind
    request_id: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCall:
    """A call that a 2xx response named, with the lane that its ticket told."""

    task: str
    request_id: str
    lane: Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a request. Times are from its planned moment, so a wait for a connection counts."""

    request: Planned
    sent_at_s: float  # on the wall clock, which the service's processes share
    response_s: float
    calls: tuple[AcceptedCall, ...] = ()
    problem: str | None = None


@dataclass(slots=True, kw_only=True)
class Traffic:
    """All answers so far."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def calls(self) -> list[AcceptedCall]:
        """All accepted calls."""
        return [call for answer in self.answers for call in answer.calls]

    @property
    def problems(self) -> list[str]:
        """Each request that was not answered as it should, in words."""
        return [
            f"{answer.request.method} {answer.request.path} ({answer.request.request_id}): {answer.problem}"
            for answer in self.answers
            if answer.problem is not None
        ]

    def pieces_ordered(self) -> int:
        """The pieces in all accepted orders, which the service's counter in memory must show."""
        return sum(
            answer.request.body["pieces"]
            for answer in self.answers
            if answer.request.kind is Kind.ORDER and answer.problem is None and answer.request.body is not None
        )


def plan(prefix: str) -> list[Planned]:
    """The requests, by their moment; the same but for the ids, which start with ``prefix``."""
    chance = random.Random(SEED)  # noqa: S311  # nothing here is secret: every run shall be the same
    requests = []
    for kind in Kind:
        for number in range(COUNTS[kind]):
            request_id = f"{prefix}-{kind}-{number:03}"
            requests.append(_planned(kind, request_id, chance))
    return sorted(requests, key=lambda request: request.at_s)


def _planned(kind: Kind, request_id: str, chance: random.Random) -> Planned:
    at_s = chance.uniform(0, SPREAD_S)
    product = chance.choice(PRODUCTS)
    match kind:
        case Kind.ORDER:
            body = {"product": product, "pieces": chance.randint(1, 5), "cents": chance.randint(500, 9_900)}
            return Planned(at_s=at_s, kind=kind, request_id=request_id, method="POST", path="/orders", body=body)
        case Kind.VIEW:
            return Planned(at_s=at_s, kind=kind, request_id=request_id, method="GET", path=f"/products/{product}")
        case Kind.REPORT:
            body = {"values": [round(chance.uniform(10, 100), 1) for _ in range(24)]}
            return Planned(at_s=at_s, kind=kind, request_id=request_id, method="POST", path="/reports", body=body)
        case Kind.PROBE:
            return Planned(at_s=at_s, kind=kind, request_id=request_id, method="GET", path="/health")


async def send(base_url: str, requests: Sequence[Planned], traffic: Traffic) -> None:
    """Send each request at its moment, over eight kept-alive connections, and the probes over one of their own."""
    async with (
        _client(base_url, connections=CONNECTIONS) as client,
        _client(base_url, connections=1) as prober,
        anyio.create_task_group() as group,
    ):
        await _open_connections(client, prober)
        started_at_s, started_s = time.time() + LEAD_S, anyio.current_time() + LEAD_S

        async def one(request: Planned) -> None:
            await anyio.sleep_until(started_s + request.at_s)
            calls, problem = await _ask(prober if request.kind is Kind.PROBE else client, request)
            traffic.answers.append(
                Answer(
                    request=request,
                    sent_at_s=started_at_s + request.at_s,
                    response_s=anyio.current_time() - started_s - request.at_s,
                    calls=calls,
                    problem=problem,
                )
            )

        for request in requests:
            group.start_soon(one, request)


async def _open_connections(client: httpx.AsyncClient, prober: httpx.AsyncClient) -> None:
    """The service is to be measured, and not the time in which a client connects."""

    async def connect(each: httpx.AsyncClient) -> None:
        with contextlib.suppress(httpx.HTTPError):  # a service that does not answer shows in the requests
            await each.get("/health")

    async with anyio.create_task_group() as group:
        for each in [prober] + [client] * CONNECTIONS:
            group.start_soon(connect, each)


def _client(base_url: str, *, connections: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(base_url=base_url, limits=limits, timeout=REQUEST_TIMEOUT_S, trust_env=False)


async def _ask(client: httpx.AsyncClient, request: Planned) -> tuple[tuple[AcceptedCall, ...], str | None]:
    """The calls that the response names, or what was wrong with it."""
    try:
        response = await client.request(
            request.method, request.path, json=request.body, headers={"X-Request-ID": request.request_id}
        )
    except httpx.HTTPError as error:
        return (), f"{type(error).__name__} {error}".strip()
    if not response.is_success:
        return (), f"{response.status_code} {response.text[:200]}"
    calls: Mapping[str, Any] = response.json().get("calls", {})
    return tuple(
        AcceptedCall(task=task, request_id=request.request_id, lane=Lane(ticket["lane"]))
        for task, ticket in calls.items()
    ), None
