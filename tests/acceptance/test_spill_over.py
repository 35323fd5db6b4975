"""The shipped policy ``spill-over``, end to end: a real uvicorn, a real worker, a real server, and a burst."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.documentation.blocks import ROOT
from tests.servers.redis_fleet import HOST, free_ports, wait_until

THRESHOLD = 8
THREADS = 2
CONCURRENT = 12
SPILLS = "policy spill-over, rule 'spill over while this process is busy': in_process.waiting >= 8"
STAYS = "policy spill-over, otherwise: no rule matches"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one call, as its task has noted it."""

    number: int
    call_id: str
    lane: str
    pid: int


class Site:
    """The service and one worker, whose calls note their runs in one journal."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self._journal = folder / "journal"
        [port] = free_ports(1)
        self.url = f"http://{HOST}:{port}"
        ours = {
            "WEIGHBRIDGE_BROKER_URL": redis_url,
            "WEIGHBRIDGE_NAMESPACE": f"spill-{uuid.uuid4().hex}",
            "SPILLING_JOURNAL": str(self._journal),
        }
        module = "tests.acceptance.spilling_service"
        web = ("uvicorn", f"{module}:app", "--host", HOST, "--port", str(port), "--log-level", "warning")
        worker = ("weighbridge", "worker", module, "--processes", "1")
        self._processes = [
            subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, env={**os.environ, **ours})
            for words in (web, worker)
        ]
        wait_until(self._serves, what="the service serves", within_s=60)

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)

    def runs(self) -> list[Run]:
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        return [
            Run(number=int(number), call_id=call_id, lane=lane, pid=int(pid))
            for number, call_id, lane, pid in (line.split() for line in lines)
        ]

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = httpx.get(f"{self.url}/counts").json()
        return counts

    def burst(self, requests: int) -> list[dict[str, str]]:
        """Send requests, a dozen at a time; their answers by number."""
        with httpx.Client(timeout=60) as http, ThreadPoolExecutor(CONCURRENT) as senders:
            answers = list(senders.map(lambda number: http.post(f"{self.url}/calls/{number}"), range(requests)))
        assert {answer.status_code for answer in answers} == {202}
        return [answer.json() for answer in answers]

    def request_of_many(self, calls: int) -> list[dict[str, str]]:
        """Send one request that adds so many calls; their tickets."""
        response = httpx.post(f"{self.url}/many-calls/{calls}", timeout=60)
        assert response.status_code == 202
        tickets: list[dict[str, str]] = response.json()
        return tickets

    def let_go(self) -> None:
        httpx.post(f"{self.url}/go").raise_for_status()

    def _serves(self) -> bool:
        try:
            return httpx.get(f"{self.url}/counts", timeout=1).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Iterator[Site]:
    site = Site(tmp_path, redis_url)
    yield site
    site.stop()


def lanes(answers: list[dict[str, str]]) -> Counter[Any]:
    return Counter(answer["lane"] for answer in answers)


def test_a_burst_waits_here_up_to_the_threshold_and_the_rest_is_run_by_a_worker(site: Site) -> None:
    answers = site.burst(120)

    # No call that runs here has ended, so what waits now is the most that has ever waited.
    counts = site.counts()
    stayed = lanes(answers)["in_process"]
    assert counts["running"] == THREADS
    assert counts["waiting"] == stayed - THREADS
    # Each request that decides beside others may have looked before their calls were accepted.
    assert THRESHOLD <= counts["waiting"] <= THRESHOLD + CONCURRENT
    assert {(answer["lane"], answer["reason"]) for answer in answers} == {("in_process", STAYS), ("queue", SPILLS)}

    # The worker runs what was spilled while this process is as busy as before.
    wait_until(lambda: len(site.runs()) == 120 - stayed, what="the worker runs what was spilled", within_s=60)
    assert {run.lane for run in site.runs()} == {"queue"}
    assert counts["pid"] not in {run.pid for run in site.runs()}

    site.let_go()
    wait_until(lambda: len(site.runs()) >= 120, what="the calls of this process run", within_s=60)
    ran = sorted((run.number, run.call_id, run.lane) for run in site.runs())
    assert ran == [(number, answer["id"], answer["lane"]) for number, answer in enumerate(answers)]
    assert {run.pid for run in site.runs() if run.lane == "in_process"} == {counts["pid"]}


def test_a_burst_that_is_over_leaves_nothing_behind_and_calls_stay_again(site: Site) -> None:
    assert lanes(site.burst(40))["queue"] > 0
    site.let_go()
    wait_until(lambda: len(site.runs()) == 40, what="all calls run", within_s=60)
    wait_until(lambda: site.counts()["waiting"] == site.counts()["running"] == 0, what="the process is idle")

    [answer] = site.burst(1)

    assert (answer["lane"], answer["reason"]) == ("in_process", STAYS)


def test_one_request_with_a_thousand_calls_keeps_as_many_as_the_threshold_says_and_spills_the_rest(site: Site) -> None:
    tickets = site.request_of_many(1_000)

    expected = [("in_process", STAYS)] * THRESHOLD + [("queue", SPILLS)] * (1_000 - THRESHOLD)
    assert [(ticket["lane"], ticket["reason"]) for ticket in tickets] == expected
    counts = site.counts()  # its calls run one at a time
    assert (counts["running"], counts["waiting"]) == (1, THRESHOLD - 1)
    wait_until(lambda: len(site.runs()) == 1_000 - THRESHOLD, what="the worker runs what was spilled", within_s=60)

    site.let_go()
    wait_until(lambda: len(site.runs()) >= 1_000, what="the calls of this process run", within_s=60)
    ran = sorted((run.number, run.call_id, run.lane) for run in site.runs())
    assert ran == [(number, ticket["id"], ticket["lane"]) for number, ticket in enumerate(tickets)]
