"""The broker goes away: restarted, silent, refusing, full, read-only, loading."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection
from typing import Any, Final

import redis
from tests.faults.account import Answer, Attempt
from tests.faults.load import Load, Request
from tests.faults.rig import wait_until
from tests.faults.trial import Fault, Trial
from tests.faults.work import Kind

#: Seconds in which the service answers a request whose call it cannot enqueue (``ours.py``), and what may come on top.
TIMEOUT_S: Final = 0.5
SLACK_S: Final = 0.05


def restart_broker(trial: Trial) -> None:
    """Kill the server, for longer and longer, while calls come in that fail, are retried and are delayed."""
    outages_s = trial.pick(short=(0.3, 6.0), long=(0.3, 2.0, 8.0, 40.0))
    starts = trial.rig.worker.starts
    load = trial.load(trial.mixed(100_000), per_s=trial.pick(short=100.0, long=150.0))
    for outage_s in outages_s:
        time.sleep(trial.pick(short=0.5, long=4.0))
        trial.load(_caught_by(trial, outage_s)).join()
        trial.rig.server.kill()
        time.sleep(outage_s)
        trial.rig.server.start()
    time.sleep(trial.pick(short=0.5, long=4.0))
    load.stop()
    settled_s = trial.settle()
    trial.figures["outages"] = ", ".join(f"{each:g} s" for each in outages_s)
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    trial.expect(trial.rig.worker.starts == starts, "the worker had to be started again")
    trial.expect(not trial.account().dead, f"{len(trial.account().dead)} dead")


def _caught_by(trial: Trial, outage_s: float) -> Iterator[Request]:
    """Calls that the outage catches: some fail while it lasts, some are delayed until it is over."""
    yield from trial.plain(8, kind=Kind.FAILING, ms=int(min(outage_s, 2.0) * 500))
    for _ in range(8):
        yield Request(call=trial.new_call(), delay_ms=int((outage_s + 1.5) * 1000))


def silence_broker(trial: Trial) -> None:
    """The server takes every byte and answers nothing, while requests with and without queued calls come in."""
    silent_s = trial.pick(short=3.0, long=15.0)
    _lag(trial)
    control = _beside(trial, seconds=silent_s)
    control_lag_ms = _percentile(_lag(trial), 99.9)
    trial.settle()
    trial.rig.server.fall_silent(for_s=silent_s)
    silent = _beside(trial, seconds=silent_s, prefix="silent")
    lag_ms = _percentile(_lag(trial), 99.9)
    settled_s = trial.settle()
    before_ms, during_ms = (
        _percentile([1000 * each.took_s for each in loads["other"]], 99) for loads in (control, silent)
    )
    queued = silent["queued"]
    slowest_s = max(each.took_s for each in queued)
    trial.figures["loop lag p99.9"] = f"{lag_ms:.1f} ms, without the fault {control_lag_ms:.1f} ms"
    trial.figures["p99 of other routes"] = f"{during_ms:.1f} ms, without the fault {before_ms:.1f} ms"
    trial.figures["slowest answer with a queued call"] = f"{slowest_s:.2f} s"
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    # In the short form the machine is busy with other tests, so that form tells only whether anything waits for the
    # silent broker: a third of its silence. The figures that are promised are the long form's.
    lag_limit_ms, least_ms, slack_s = trial.pick(
        short=(silent_s * 1000 / 3, silent_s * 1000 / 3, 0.5), long=(10.0, 0.0, SLACK_S)
    )
    trial.expect(lag_ms <= control_lag_ms + lag_limit_ms, f"the event loop was {lag_ms:.0f} ms late")
    trial.expect(during_ms <= max(1.5 * before_ms, least_ms), f"other routes' p99 {during_ms:.0f} ms")
    trial.expect(slowest_s <= TIMEOUT_S + slack_s, f"an answer took {slowest_s:.2f} s")
    trial.expect(all(each.status == 200 for each in silent["light"]), "a light call's request failed")


def _beside(trial: Trial, *, seconds: float, prefix: str = "control") -> dict[str, list[Attempt]]:
    """Requests of three kinds beside each other for some seconds; their attempts."""
    light = [f"{trial.name}-{prefix}light{number}" for number in range(int(20 * seconds))]
    trial.may_stay.update(light)
    loads = {
        "queued": trial.load(trial.plain(int(20 * seconds)), per_s=20),
        "light": trial.load((Request(call=call, path=f"/light/{call}") for call in light), per_s=20),
        "other": Load(trial.rig.service.port, _others(int(100 * seconds)), per_s=100),
    }
    loads["other"].start()
    for load in loads.values():
        load.join()
    return {name: load.attempts for name, load in loads.items()}


def _others(count: int) -> Iterator[Request]:
    for _ in range(count):
        yield Request(call="", path="/other")


def _lag(trial: Trial) -> list[float]:
    """How late the service's loop was since the last look, in milliseconds."""
    connection = HTTPConnection("127.0.0.1", trial.rig.service.port, timeout=60)
    try:
        connection.request("GET", "/lag")
        lag: list[float] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return lag


def _percentile(values: Iterable[float], per_cent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * per_cent / 100))]


def refuse_connections(trial: Trial) -> None:
    """Nobody listens at the broker's address, for the service and for the worker, while calls come in."""
    refused_s = trial.pick(short=6.0, long=20.0)  # redis-py's own retries, as Dramatiq uses it, last for 5 s
    load = trial.load(trial.mixed(100_000), per_s=100.0)
    for _ in range(trial.pick(short=1, long=3)):
        time.sleep(0.5)
        trial.rig.web_line.refuse()
        trial.rig.worker_line.refuse()
        time.sleep(refused_s)
        trial.rig.web_line.accept()
        trial.rig.worker_line.accept()
    time.sleep(0.5)
    load.stop()
    settled_s = trial.settle()
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    trial.expect(not trial.account().duplicated, f"{len(trial.account().duplicated)} duplicated")


def refuse_writes(trial: Trial) -> None:
    """The server answers, and refuses: out of memory, a read-only replica, loading its data."""
    refused_s = trial.pick(short=1.5, long=10.0)
    client = trial.rig.client
    load = trial.load(trial.mixed(100_000), per_s=100.0)
    time.sleep(0.5)
    client.config_set("maxmemory", 1)
    time.sleep(refused_s)
    client.config_set("maxmemory", 0)
    time.sleep(0.5)
    client.slaveof("127.0.0.1", 1)
    time.sleep(refused_s)
    client.slaveof()
    time.sleep(0.5)
    _restart_slowly(trial, loading_s=refused_s)
    time.sleep(0.5)
    load.stop()
    settled_s = trial.settle()
    answers = [each for each in load.attempts if each.answer is not Answer.ACCEPTED]
    statuses = sorted({each.status for each in answers})
    slowest_s = max((each.took_s for each in answers), default=0.0)
    trial.figures["answers"] = f"{len(answers)} with status {', '.join(map(str, statuses))}"
    trial.figures["slowest of them"] = f"{slowest_s:.2f} s"
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    trial.expect(statuses == [503], f"answers with status {statuses}")
    trial.expect(not trial.account().duplicated, f"{len(trial.account().duplicated)} duplicated")


#: Keys that the server reads back from its snapshot, waiting after each; only there it looks for clients in between.
FILLERS: Final = 2_000


def _restart_slowly(trial: Trial, *, loading_s: float) -> None:
    """Restart the server in such a way that it answers LOADING for some seconds."""
    client = trial.rig.client
    names = [f"filler:{number}" for number in range(FILLERS)]
    client.mset(dict.fromkeys(names, "x" * 100))
    client.bgrewriteaof()
    wait_until(lambda: _is_rewritten(client), what="a new snapshot")
    trial.rig.server.kill()
    delay_us = int(loading_s * 1e6 / FILLERS)
    options = {"key-load-delay": delay_us, "loading-process-events-interval-bytes": 1_024}
    trial.rig.server.start(options=options, loaded=False)
    time.sleep(loading_s / 2)
    client.config_set("key-load-delay", 0)
    trial.rig.server.wait_until_loaded()
    client.delete(*names)


def _is_rewritten(client: redis.Redis) -> bool:
    information: Any = client.info("persistence")
    return not (information["aof_rewrite_in_progress"] or information["aof_rewrite_scheduled"])


FAULTS: Final = (
    Fault(
        name="broker-restart",
        title="the broker (AOF) is killed and started again under load; 15 % of the calls fail and are retried",
        promise="0 lost, 0 stranded, no worker restart",
        act=restart_broker,
    ),
    Fault(
        name="broker-silent",
        title="the broker takes every byte and answers nothing",
        promise="the event loop is not late, other routes are not slower, 503 within 0.55 s",
        act=silence_broker,
    ),
    Fault(
        name="broker-refuses",
        title="nobody listens at the broker's address",
        promise="refused calls never run, accepted ones run once",
        act=refuse_connections,
    ),
    Fault(
        name="broker-refuses-writes",
        title="the broker is out of memory, read-only, loading",
        promise="503, recovers by itself, 0 lost",
        act=refuse_writes,
    ),
)
