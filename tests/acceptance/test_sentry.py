"""A failing in-process task is one event in Sentry, with its own exception and traceback; the SDK is as it comes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from weighbridge.embedded import EmbeddedServer

SERVICE = Path(__file__).with_name("sentry_service.py")
#: Outside of a request; in an async endpoint and a sync one; where the response waits; where tasks run as in Starlette.
PLACES = ("outside", "async", "sync", "waiting", "stop")
KINDS = {"sync": "fail", "async": "fail_async"}

pytestmark = pytest.mark.xdist_group("sentry")  # for the fixture, which takes seconds


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedServer) -> Mapping[str, list[Any]]:
    """The events of all that the service does, each under what it was doing."""
    file = tmp_path_factory.mktemp("sentry") / "events"
    file.touch()
    all_of_it = [f"{place} {kind}" for place in PLACES for kind in (*KINDS, "retried", "none")]
    ended = subprocess.run(
        [
            *(sys.executable, "-c", "import sys, sentry_service; sentry_service.main(*sys.argv[1:])", str(file)),
            *(*all_of_it, "worker retried", "quiet worker retried"),  # the last, for it stays quiet
        ],
        cwd=SERVICE.parent,
        env={**os.environ, "WEIGHBRIDGE_BROKER_URL": redis_server.url, "WEIGHBRIDGE_NAMESPACE": "sentry"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for line in file.read_text(encoding="utf-8").splitlines():
        found[json.loads(line)["where"]].append(json.loads(line)["event"])
    return found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_task_is_one_event_with_its_exception(events: Mapping[str, list[Any]], place: str, kind: str) -> None:
    [event] = events[f"{place} {kind}"]

    [exception] = event["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("DeclinedError", "card 1 was declined")
    last = exception["stacktrace"]["frames"][-1]
    assert (last["function"], Path(last["filename"]).name) == (KINDS[kind], SERVICE.name)
    assert event["level"] == "error"


@pytest.mark.parametrize("place", PLACES)
def test_a_task_that_fails_after_its_retries_is_one_event(events: Mapping[str, list[Any]], place: str) -> None:
    [event] = events[f"{place} retried"]

    assert event["exception"]["values"][-1]["type"] == "DeclinedError"


@pytest.mark.parametrize("place", PLACES)
def test_tasks_that_succeed_are_no_event(events: Mapping[str, list[Any]], place: str) -> None:
    assert events[f"{place} async"]  # the service has come this far
    assert events[f"{place} none"] == []


@pytest.mark.parametrize("endpoint", ["async", "sync"])
def test_an_event_tells_the_call_and_the_request_that_added_it(events: Mapping[str, list[Any]], endpoint: str) -> None:
    [event] = events[f"{endpoint} async"]

    assert event["logger"] == "weighbridge.in_process"
    assert event["extra"]["task"].endswith("fail_async")
    assert len(event["extra"]["call_id"]) == 36
    assert event["transaction"] == f"/{endpoint}/{{kind}}"


def test_in_a_worker_each_failed_attempt_is_an_event_and_the_dead_letter_is_one(
    events: Mapping[str, list[Any]],
) -> None:
    *attempts, letter = events["worker retried"]

    assert [event["exception"]["values"][-1]["type"] for event in attempts] == ["DeclinedError", "DeclinedError"]
    assert {event["logger"] for event in attempts} == {"dramatiq.worker.WorkerThread"}
    assert (letter["logger"], letter["extra"]["event"]) == ("weighbridge.queue", "queue.dead_letter")


def test_the_dead_letter_alone_is_an_event_if_dramatiqs_line_is_ignored(events: Mapping[str, list[Any]]) -> None:
    [letter] = events["quiet worker retried"]

    assert letter["extra"]["event"] == "queue.dead_letter"
