"""The decision header: what was decided about a request's calls, on its response, for development."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weighbridge.background.collector import COLLECTOR, Collector, Decides
from weighbridge.background.commit import Standing
from weighbridge.background.decided import DecidedCall
from weighbridge.background.structured_field import number, text
from weighbridge.call import Call
from weighbridge.decision import Lane

#: Its name, as ASGI wants it: in bytes and lower case.
HEADER: Final = b"weighbridge-decision"
#: The longest value, in bytes. Servers and proxies bound all headers of a response together: nginx to 4 KiB, by default
#: (``proxy_buffer_size``), and answers 502 for more.
MAX_BYTES: Final = 2_048
#: The longest name of a task or rule, in characters, of which a member shows the beginning if there are more.
MAX_TEXT: Final = 100
#: What the last member says if the others do not tell of all calls, but for the number of the rest.
MORE: Final = "more;calls="
_ROOM_FOR_MORE: Final = len(f", {MORE}") + 12

#: What calls that share a member have in common.
_Shared = tuple[Lane, str, str, float, str, Standing]


class DecisionHeaderMiddleware:
    """ASGI middleware that says on each response what was decided about its request's calls. For development only.

    ``app.add_middleware(DecisionHeaderMiddleware)``, for FastAPI, Starlette or any other ASGI app. The header
    ``Weighbridge-Decision`` tells everybody who gets the response the names of tasks and rules. It is a list by RFC
    9651 whose members are the calls in the order added, ``queue;task="app.render";rule="heavy work";weight=80`` and
    more; a response without calls does not have it.

    It says how things stand when the response starts: what is added later is not in it. It is 2,048 bytes long at most.
    Added twice, around a mounted app too, it is one header. Websockets are left alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or whatever else a scope stands for."""
        if scope["type"] != "http" or COLLECTOR in scope:  # the outer one of two tells
            await self.app(scope, receive, send)
            return
        collector = scope[COLLECTOR] = Collector()

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start" and (facades := collector.close()):
                message = _with_header(message, header_value(_in_order(facades)))
            await send(message)

        try:
            with collector.open_here():
                await self.app(scope, receive, send_with_header)
        finally:
            scope.pop(COLLECTOR, None)  # a server, or a test, may serve one scope again


def _with_header(message: Message, value: bytes) -> Message:
    return {**message, "headers": [*message.get("headers", ()), (HEADER, value)]} if value else message


def _in_order(facades: Sequence[Decides]) -> Iterable[DecidedCall]:
    """The calls of a request, as they were added; one that lies in the lists of two facades is told once."""
    found: dict[Call, DecidedCall] = {}
    for facade in facades:
        for decided in facade.decided():
            if decided.call not in found or decided.standing is Standing.ACCEPTED:
                found[decided.call] = decided
    # Of one facade they are in order already, also where a clock is too coarse to tell.
    return found.values() if len(facades) == 1 else sorted(found.values(), key=_added_at_s)


def _added_at_s(decided: DecidedCall) -> float:
    return decided.call.added_at_s


def header_value(calls: Iterable[DecidedCall]) -> bytes:
    """The value of the header: a member for each run of calls that differ in nothing shown; empty if there are none.

    At most :data:`MAX_BYTES` long: what does not fit is counted by the last member.
    """
    members: list[str] = []
    room, left_out = MAX_BYTES - _ROOM_FOR_MORE, 0
    for shared, alike in groupby(calls, key=_shared):
        number_of_calls = sum(1 for _ in alike)
        member = "" if left_out else _member(shared, number_of_calls)
        if left_out or len(member) + 2 > room:  # with the comma and the blank between two
            left_out += number_of_calls
            continue
        members.append(member)
        room -= len(member) + 2
    if left_out:
        members.append(f"{MORE}{left_out}")
    return ", ".join(members).encode("ascii")


def _shared(decided: DecidedCall) -> _Shared:
    call = decided.call
    return decided.lane, call.name, decided.rule, call.weight, decided.revision, decided.standing


def _member(shared: _Shared, number_of_calls: int) -> str:
    lane, task, rule, weight, revision, standing = shared
    parts = [str(lane), f"task={_shown(task)}", f"rule={_shown(rule)}", f"weight={number(weight)}"]
    if revision:
        parts.append(f"revision={_shown(revision)}")
    if standing is not Standing.ACCEPTED:
        parts.append(f"commit={standing}")
    if number_of_calls > 1:
        parts.append(f"calls={number_of_calls}")
    return ";".join(parts)


def _shown(value: str) -> str:
    return text(value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}...")
