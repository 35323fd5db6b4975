"""One function for each promise: it makes the fault on a real server, and says what became of the calls."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.middleware import MiddlewareError
from tests.promises.standing import Kind, Standing
from tests.servers.calls import open_lane, recorder, worker_on
from tests.servers.redis_fleet import redis_node, wait_until

from weighbridge.errors import EnqueueError

#: Seconds after which a call counts as not offered again.
PATIENCE_S = 60

WORKER = """
import os, time
from pathlib import Path
from weighbridge import Dispatcher, task
{dispatcher}

@task(name={name!r}, queue={queue!r}, durable=True)
def record(number: int) -> None:
    with Path("journal").open("a") as journal:
        journal.write(f"{{os.getpid()}}" + chr(10))
    if number:
        time.sleep(number)
"""


def a_request_is_written_all_or_none(standing: Standing, _: Path) -> str:
    """The third of three messages is refused by a middleware, as a full server or a lost connection would."""

    class RefusesTheThird(dramatiq.Middleware):
        seen = 0

        def before_enqueue(self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None) -> None:
            self.seen += 1
            if self.seen == 3:
                raise MiddlewareError("no third message")

    broker = standing.broker()
    broker.add_middleware(RefusesTheThird())
    with recorder(queue=standing.queue) as record, open_lane(broker, timeout_s=5) as lane:
        try:
            lane.commit_blocking([record.call(number) for number in range(3)])
        except EnqueueError as error:
            fate = "`unknown`" if error.unknown else "`no`"
        else:
            raise AssertionError("the broker has taken what a middleware refused")
        written = standing.waiting()
    return f"yes: 0 of 3 written, 503 {fate}" if written == 0 else f"no: {written} of 3 written, 503 {fate}"


def a_dead_letter_keeps_its_reason(standing: Standing, _: Path) -> str:
    """A task fails for the last time."""
    with recorder(queue=standing.queue, retries=0) as record:
        record.failing.append(7)
        with open_lane(standing.broker(), timeout_s=5) as lane, worker_on(standing.broker(), record.spec):
            lane.commit_blocking([record.call(7)])
            wait_until(standing.dead_letters, what="the call becomes a dead letter")
        [letter] = standing.dead_letters()
    return "the call, the error and the traceback" if "7 fails" in letter else "the call, without its error"


def an_idle_worker_is_woken(standing: Standing, _: Path) -> str:
    """Twenty calls, one after the other, to a worker at Dramatiq's own settings that has nothing to do."""
    taken_s: list[float] = []
    with (
        recorder(queue=standing.queue) as record,
        open_lane(standing.broker(), timeout_s=5) as lane,
        worker_on(standing.broker(), record.spec, poll_ms=1_000),
    ):
        for number in range(21):
            began_s = time.perf_counter()
            lane.commit_blocking([record.call(number)])
            while number not in record.runs:
                time.sleep(0.0002)
            taken_s.append(time.perf_counter() - began_s)
            time.sleep(0.05 + 0.037 * (number % 7))  # at another moment of its poll each time
    return f"{statistics.median(taken_s[1:]) * 1000:.2g} ms"  # the first one waits for the worker's start


def a_dead_workers_call_is_offered_again(standing: Standing, folder: Path) -> str:
    """A worker process is killed in the middle of a run; a second worker lives."""
    with recorder(queue=standing.queue) as record:
        text = WORKER.format(dispatcher=standing.module(), name=record.name, queue=standing.queue)
        (folder / "promise.py").write_text(text)
        journal = folder / "journal"
        journal.write_text("")
        command = [sys.executable, "-m", "weighbridge", "worker", "promise", "--processes", "2", "--threads", "1"]
        worker = subprocess.Popen([*command, "--grace", "1"], cwd=folder, stderr=subprocess.DEVNULL)
        try:
            with open_lane(standing.broker(), timeout_s=5) as lane:
                lane.commit_blocking([record.call(300)])
            wait_until(lambda: journal.read_text().splitlines(), what="the run begins", within_s=30)
            os.kill(int(journal.read_text().splitlines()[0]), 9)
            began_s = time.monotonic()
            while len(journal.read_text().splitlines()) < 2:
                if time.monotonic() - began_s > PATIENCE_S:
                    return f"not within {PATIENCE_S} s"
                time.sleep(0.05)
            return f"after {time.monotonic() - began_s:.1f} s"
        finally:
            worker.terminate()
            worker.wait(30)


def what_was_accepted_survives_a_kill_of_the_server(standing: Standing, folder: Path) -> str:
    """A server with ``appendfsync always`` is killed and started again, with 50 calls in it."""
    if standing.kind is Kind.RABBITMQ:
        return "not run here: its server is shared"
    with redis_node(folder, "appendonly yes", "appendfsync always") as node:
        own = Standing(standing.kind, redis_url=node.url)
        with recorder(queue=own.queue) as record, open_lane(own.broker(), timeout_s=5) as lane:
            lane.commit_blocking([record.call(number) for number in range(50)])
        node.kill()
        node.start()
        node.wait_for_answer()
        kept = own.waiting()
        own.client.close()
    return f"{kept} of 50"


Probe = Callable[[Standing, Path], str]

#: Whose outcome is the same in each run: the short form compares it with the page.
CHEAP: dict[str, Probe] = {
    "A request's calls are written all or none": a_request_is_written_all_or_none,
    "What is kept of a call that failed for good": a_dead_letter_keeps_its_reason,
    "Accepted calls that are there after `kill -9` of the server (AOF, `appendfsync always`)": (
        what_was_accepted_survives_a_kill_of_the_server
    ),
}
#: Figures of one run, and what takes long.
LONG: dict[str, Probe] = {
    "A call whose worker was killed (`kill -9`) begins again": a_dead_workers_call_is_offered_again,
    "An idle worker begins a call (median, with its commit)": an_idle_worker_is_woken,
}
