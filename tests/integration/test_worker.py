from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import anyio
import pika  # type: ignore[import-untyped]  # pika ships no marker of its types
import pytest
import redis

from weighbridge import Dispatcher
from weighbridge.embedded.binary import find_binary
from weighbridge.errors import DispatcherError, ModuleError
from weighbridge.task import registry
from weighbridge.worker.backoff import LONGEST_DELAY_S, Backoff
from weighbridge.worker.control import Channel, ChildOptions, Prepared, Ready, Refused, Share
from weighbridge.worker.modules import find_dispatcher, import_modules
from weighbridge.worker.process import Ending
from weighbridge.worker.signals import StopSignals, Wish

DEADLINE_S = 30.0
RABBITMQ_URL = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672")

TASKS = """
import asyncio, os, time
from pathlib import Path
from weighbridge import task


def write(path: str, *words: object) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(" ".join(map(str, (os.getpid(), *words))) + chr(10))


@task
def note(path: str, text: str) -> None:
    write(path, text)


@task
async def note_async(path: str, text: str) -> None:
    await asyncio.sleep(0)
    write(path, text)


@task(queue="other")
def note_other(path: str, text: str) -> None:
    write(path, text)


@task
def slow(path: str, seconds: float) -> None:
    write(path, "started")
    time.sleep(seconds)
    write(path, "finished")


@task(retries=0)
def leave(code: int) -> None:
    os._exit(code)


@task(shares_memory=True)
def warm() -> None: ...
"""


def wait_until(condition: Callable[[], object], *, what: str, deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {deadline_s} s"
        time.sleep(0.02)


class Worker:
    """A running ``weighbridge worker``. All its processes hold its standard error, so its end tells."""

    def __init__(self, *arguments: str, cwd: Path, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "weighbridge", "worker", *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            self.lines.extend(iter(stderr.readline, ""))

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def events(self, event: str) -> list[str]:
        return [line for line in list(self.lines) if f" {event} " in line]

    def pids(self) -> list[int]:
        """The process ids of all children that have been ready, in that order."""
        return [int(re.findall(r" pid=(\d+)", line)[0]) for line in self.events("worker.ready")]

    def wait_for(self, event: str, *, count: int = 1) -> None:
        try:
            wait_until(
                lambda: len(self.events(event)) >= count or not self._reader.is_alive(),
                what=f"{event} ({count} times)",
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None
        assert len(self.events(event)) >= count, self.log

    def wait_for_the_end(self) -> int:
        """Wait until neither the supervisor nor any child is left; the supervisor's exit code."""
        self._reader.join(DEADLINE_S)
        assert not self._reader.is_alive(), f"a process is left\n{self.log}"
        return self.process.wait(DEADLINE_S)

    def stop(self) -> int:
        self.process.terminate()
        return self.wait_for_the_end()

    def clear_away(self) -> None:
        """End every process, by its id; children notice that the supervisor is gone."""
        if self._reader.is_alive():
            self.process.kill()
            self.process.wait(DEADLINE_S)
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._reader.join(DEADLINE_S)
        self.process.wait(DEADLINE_S)


class StartWorker(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> Worker: ...


class Service:
    """A folder with a module of tasks, on a namespace of its own, and an app's side to add calls from."""

    def __init__(self, folder: Path, *, broker_url: str) -> None:
        self.folder = folder
        self.module = f"tasks_{uuid.uuid4().hex}"
        self.broker_url = broker_url
        self.namespace = f"test-{uuid.uuid4().hex}"
        self.output = folder / "output"
        (folder / f"{self.module}.py").write_text(TASKS, encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        return {"WEIGHBRIDGE_BROKER_URL": self.broker_url, "WEIGHBRIDGE_NAMESPACE": self.namespace}

    def add(self, name: str, *args: Any) -> None:
        """One ``add_task`` for the queue, from an app that is open for just that."""
        func = getattr(importlib.import_module(self.module), name)
        dispatcher = Dispatcher(broker_url=self.broker_url, namespace=self.namespace)

        async def add() -> None:
            async with dispatcher, dispatcher.tasks() as tasks:
                tasks.options(lane="queue").add_task(func, *args)

        anyio.run(add)

    def note(self, text: str, *, task: str = "note") -> None:
        self.add(task, str(self.output), text)

    def written(self) -> dict[str, int]:
        """What tasks have written so far, each text with the process that wrote it."""
        if not self.output.exists():
            return {}
        lines = (line.split(" ", 1) for line in self.output.read_text(encoding="utf-8").splitlines())
        return {text: int(pid) for pid, text in lines}

    def wait_for(self, text: str) -> int:
        """Wait until a task has written this; the process that did."""
        wait_until(lambda: text in self.written(), what=f"{text!r} in {self.output}")
        return self.written()[text]


@pytest.fixture
def service(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = Service(tmp_path, broker_url=redis_url)
    monkeypatch.syspath_prepend(tmp_path)
    yield service
    for spec in registry:
        if spec.func.__module__ == service.module:
            registry.discard(spec.name)


@pytest.fixture
def start(service: Service) -> Iterator[StartWorker]:
    workers: list[Worker] = []

    def start(*arguments: str, **environment: str) -> Worker:
        worker = Worker(*arguments, cwd=service.folder, environment={**service.environment, **environment})
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.clear_away()


@pytest.fixture
def worker(service: Service, start: StartWorker) -> Worker:
    """One child, ready."""
    worker = start(service.module, "--processes", "1")
    worker.wait_for("worker.ready")
    return worker


# -- running calls ------------------------------------------------------------------------------------------


def test_a_queued_call_runs_in_a_child_of_the_supervisor(service: Service, worker: Worker) -> None:
    service.note("hello")

    assert service.wait_for("hello") in worker.pids()
    assert worker.process.pid not in worker.pids()


def test_an_async_task_runs(service: Service, worker: Worker) -> None:
    service.note("hello", task="note_async")

    assert service.wait_for("hello") in worker.pids()


def test_a_ready_child_says_what_it_works_on(service: Service, worker: Worker) -> None:
    (line,) = worker.events("worker.ready")

    assert "number=1" in line
    assert "queues=default,other threads=8 tasks=5 in_process_only=1 dispatcher=settings" in line


def test_a_worker_says_that_it_starts_once_it_will_not_refuse(service: Service, start: StartWorker) -> None:
    worker = start(service.module, "--processes", "2", "--threads", "3")
    worker.wait_for("worker.ready", count=2)

    (starting,) = worker.events("worker.starting")
    assert f"pid={worker.process.pid} processes=2 threads=3" in starting
    assert worker.lines.index(starting) < worker.lines.index(worker.events("worker.ready")[0])


def test_each_of_several_processes_becomes_ready(service: Service, start: StartWorker) -> None:
    worker = start(service.module, "--processes", "2", "--threads", "3")

    worker.wait_for("worker.ready", count=2)

    assert len(set(worker.pids())) == 2
    assert all("threads=3" in line for line in worker.events("worker.ready"))


def test_without_a_module_the_modules_of_the_settings_are_taken(service: Service, start: StartWorker) -> None:
    start("--processes", "1", WEIGHBRIDGE_MODULES=service.module)

    service.note("hello")

    service.wait_for("hello")


def test_only_the_named_queues_are_worked_on(service: Service, start: StartWorker) -> None:
    service.note("left alone")
    service.note("hello", task="note_other")
    worker = start(service.module, "--processes", "1", "--queue", "other")
    service.wait_for("hello")
    worker.stop()
    assert "left alone" not in service.written()

    start(service.module, "--processes", "1", "--queue", "default")

    service.wait_for("left alone")


def test_the_dispatcher_in_the_modules_is_the_one_to_work_for(service: Service, start: StartWorker) -> None:
    (service.folder / "app.py").write_text(
        f"from weighbridge import Dispatcher\nfrom {service.module} import note\n"
        f"dispatcher = Dispatcher(namespace={service.namespace!r})\n",
        encoding="utf-8",
    )
    (service.folder / "other.py").write_text("from app import dispatcher as same\n", encoding="utf-8")
    worker = start("app", "other", "--processes", "1", WEIGHBRIDGE_NAMESPACE="elsewhere")

    service.note("hello")

    service.wait_for("hello")
    worker.wait_for("worker.ready")
    assert "dispatcher=app:dispatcher" in worker.events("worker.ready")[0]


TWO_DISPATCHERS = """
from weighbridge import Dispatcher, task
one = Dispatcher(namespace="one")
two = Dispatcher(namespace="two")

@task
def nothing() -> None: ...
"""


def test_of_several_dispatchers_one_can_be_chosen(service: Service, start: StartWorker) -> None:
    (service.folder / "app.py").write_text(TWO_DISPATCHERS, encoding="utf-8")

    worker = start("app", "--dispatcher", "app:two", "--processes", "1")

    worker.wait_for("worker.ready")
    assert "dispatcher=app:two" in worker.log


# -- the lifespan of a worker process -----------------------------------------------------------------------

LIFESPAN = """
import asyncio, threading
from contextlib import asynccontextmanager, contextmanager
from weighbridge import Dispatcher

OUTPUT = OUTPUT_PATH


@asynccontextmanager
async def asynchronous():
    loop, inside = asyncio.get_running_loop(), asyncio.current_task()
    write(OUTPUT, "entered", id(loop))
    async with asyncio.timeout(None):  # refuses to be left by another task than that which has entered it
        yield
    assert inside is asyncio.current_task()
    write(OUTPUT, "left", id(loop))


@contextmanager
def synchronous():
    write(OUTPUT, "entered", 0)
    yield
    write(OUTPUT, "left", 0)


@contextmanager
def unenterable():
    raise OSError("no database")
    yield


@asynccontextmanager
async def unleavable():
    yield
    raise OSError("no goodbye")


def no_context():
    return 1


@task
async def say_loop(path: str) -> None:
    write(path, "loop", id(asyncio.get_running_loop()))
"""


def with_lifespan(service: Service, name: str) -> None:
    text = LIFESPAN.replace("OUTPUT_PATH", repr(str(service.output)))
    dispatcher = f"\n\ndispatcher = Dispatcher(worker_lifespan={name})\n"
    (service.folder / f"{service.module}.py").write_text(TASKS + text + dispatcher, encoding="utf-8")


def lines_of(service: Service) -> list[list[str]]:
    return [line.split() for line in service.output.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["asynchronous", "synchronous"])
def test_the_lifespan_is_around_all_calls_of_a_process(service: Service, start: StartWorker, name: str) -> None:
    with_lifespan(service, name)
    service.add("slow", str(service.output), 1.0)
    service.add("say_loop", str(service.output))
    worker = start(service.module, "--processes", "1")
    wait_until(lambda: service.output.exists() and len(lines_of(service)) == 3, what="three lines")

    assert worker.stop() == 0

    pid = str(worker.pids()[0])
    first, *others, last = lines_of(service)
    assert (first[:2], last[:2]) == ([pid, "entered"], [pid, "left"])
    assert {words[1] for words in others} == {"started", "finished", "loop"}
    loop = next(words[2] for words in others if words[1] == "loop")
    assert first[2] == last[2] == (loop if name == "asynchronous" else "0")


def test_the_lifespan_is_entered_once_in_each_process_and_not_where_calls_are_added(
    service: Service, start: StartWorker
) -> None:
    with_lifespan(service, "synchronous")
    service.note("hello")
    worker = start(service.module, "--processes", "2")
    worker.wait_for("worker.ready", count=2)
    service.wait_for("hello")
    worker.stop()

    for mark in ("entered", "left"):
        assert sorted(int(words[0]) for words in lines_of(service) if words[1] == mark) == sorted(worker.pids())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unenterable", "worker_lifespan cannot be entered: OSError: no database ("),
        ("no_context", "worker_lifespan cannot be entered: TypeError: it gives a int, and not a context manager"),
    ],
)
def test_a_lifespan_that_cannot_be_entered_refuses_the_start(
    service: Service, start: StartWorker, name: str, reason: str
) -> None:
    with_lifespan(service, name)
    service.note("hello")

    worker = start(service.module, "--processes", "1")

    assert worker.wait_for_the_end() == 2
    assert reason in worker.log
    assert "Traceback" not in worker.log
    assert not service.output.exists()
    if name == "unenterable":
        assert f"{service.module}.py, line" in worker.log


def test_a_lifespan_that_cannot_be_left_is_logged_and_makes_exit_code_1(service: Service, start: StartWorker) -> None:
    with_lifespan(service, "unleavable")
    worker = start(service.module, "--processes", "1")
    worker.wait_for("worker.ready")
    service.note("hello")
    service.wait_for("hello")

    assert worker.stop() == 1

    assert len(worker.events("worker.lifespan_not_left")) == 1
    assert "OSError: no goodbye" in worker.log


def test_what_is_no_function_is_refused_as_a_lifespan() -> None:
    with pytest.raises(DispatcherError, match="worker_lifespan is a int, which cannot be called"):
        Dispatcher(worker_lifespan=1)  # type: ignore[arg-type]  # what it is about


# -- heavy queues -------------------------------------------------------------------------------------------

BOTH_KINDS = (
    TASKS
    + """

@task(weight=200)
def heavy(path: str, seconds: float) -> None:
    write(path, "heavy")
    time.sleep(seconds)
"""
)


def test_light_calls_do_not_wait_behind_heavy_ones(service: Service, start: StartWorker) -> None:
    """As many heavy calls as all processes have threads run for a minute; light ones of two queues are served."""
    (service.folder / f"{service.module}.py").write_text(BOTH_KINDS, encoding="utf-8")
    worker = start(service.module, "--processes", "3", "--grace", "1")
    worker.wait_for("worker.ready", count=3)
    for _ in range(12):
        service.add("heavy", str(service.output), 60.0)
    service.wait_for("heavy")

    service.note("light")
    service.note("light too", task="note_other")

    served = {each.partition(" pid=")[2].partition(" ")[0]: each for each in worker.events("worker.ready")}
    light, other = service.wait_for("light"), service.wait_for("light too")
    assert light == other
    assert "queues=default,other threads=8 tasks=5" in served[str(light)]
    assert "queues=heavy threads=2 tasks=1" in served[str(service.written()["heavy"])]
    (starting,) = worker.events("worker.starting")
    assert "processes=3 threads=8 heavy_processes=2 heavy_threads=2 heavy_queues=heavy" in starting


def test_a_process_for_heavy_queues_that_dies_is_replaced_by_one(service: Service, start: StartWorker) -> None:
    (service.folder / f"{service.module}.py").write_text(BOTH_KINDS, encoding="utf-8")
    worker = start(service.module, "--processes", "2", "--threads", "3")
    worker.wait_for("worker.ready", count=2)
    others, heavy = worker.events("worker.ready")
    assert "number=1" in others
    assert "queues=default,other threads=3" in others
    commands = [Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0") for pid in worker.pids()]
    assert [words[words.index("weighbridge.worker.child") + 1] for words in commands] == ["other", "heavy"]
    os.kill(worker.pids()[1], signal.SIGKILL)

    worker.wait_for("worker.ready", count=3)

    again = worker.events("worker.ready")[2]
    assert "number=2" in heavy
    assert "number=2" in again
    assert "queues=heavy threads=3" in again
    service.add("heavy", str(service.output), 0.0)
    assert service.wait_for("heavy") == worker.pids()[2]
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "arguments", [("--processes", "1"), ("--processes", "2", "--queue", "heavy", "--queue", "other")]
)
def test_one_process_and_named_queues_are_not_divided(
    service: Service, start: StartWorker, arguments: tuple[str, ...]
) -> None:
    (service.folder / f"{service.module}.py").write_text(BOTH_KINDS, encoding="utf-8")
    queues = "heavy,other" if "--queue" in arguments else "default,heavy,other"

    worker = start(service.module, *arguments)

    worker.wait_for("worker.ready", count=int(arguments[1]))
    assert all(f"queues={queues} threads=8" in line for line in worker.events("worker.ready"))
    assert "heavy_processes=0 heavy_threads=0 heavy_queues=-" in worker.events("worker.starting")[0]


# -- logs ---------------------------------------------------------------------------------------------------

FAILS = """
import logging
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.stub import StubBroker
from weighbridge import Dispatcher, task
from weighbridge.lanes.queue.middleware import default_middleware


@task(name="pay", queue="QUEUE", retries=0)
def pay(card: str) -> None:
    raise ValueError("declined")


class SendOne(dramatiq.Middleware):
    def after_worker_boot(self, broker, worker):
        broker.actors["pay"].send("CARD-9876543210")


broker = BROKER
broker.add_middleware(SendOne())
dispatcher = Dispatcher(broker=broker)
"""
OWN_LOGGING = """
logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
logging.getLogger("pika").setLevel(logging.WARNING)
logging.getLogger("dramatiq").addHandler(logging.StreamHandler())
"""
OTHER_BROKERS = {
    "StubBroker": "StubBroker(middleware=default_middleware())",
    "RabbitMQ": f"RabbitmqBroker(url={RABBITMQ_URL!r}, confirm_delivery=True, middleware=default_middleware())",
}


@pytest.fixture
def queue() -> Iterator[str]:
    """A queue of the test's own, removed from RabbitMQ afterwards."""
    queue = f"weighbridge-test-{uuid.uuid4().hex}"
    yield queue
    connection = pika.BlockingConnection(pika.URLParameters(RABBITMQ_URL))
    channel = connection.channel()
    for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
        channel.queue_delete(name)
    connection.close()


@pytest.mark.parametrize("broker", OTHER_BROKERS)
@pytest.mark.parametrize("own_logging", ["", OWN_LOGGING], ids=["default logging", "own logging at DEBUG"])
def test_no_argument_of_a_failed_call_is_logged_on_any_broker(
    service: Service, start: StartWorker, queue: str, broker: str, own_logging: str
) -> None:
    text = FAILS.replace("BROKER", OTHER_BROKERS[broker]).replace("QUEUE", queue)
    (service.folder / "fails.py").write_text(text + own_logging, encoding="utf-8")

    worker = start("fails", "--processes", "1")

    wait_until(lambda: "ValueError: declined" in worker.log, what="the failure in the log")
    worker.stop()
    assert "Failed to process message pay (" in worker.log
    assert "9876543210" not in worker.log


# -- children that die --------------------------------------------------------------------------------------


def test_a_killed_child_is_replaced_by_one_that_works(service: Service, worker: Worker) -> None:
    (killed,) = worker.pids()
    os.kill(killed, signal.SIGKILL)

    worker.wait_for("worker.ready", count=2)
    service.note("hello")

    assert service.wait_for("hello") != killed
    (died,) = worker.events("worker.died")
    assert f"pid={killed} ending='SIGKILL' again_in_s=0.1" in died


def test_a_task_that_exits_like_a_refusal_does_not_stop_the_supervisor(service: Service, worker: Worker) -> None:
    service.add("leave", 2)

    worker.wait_for("worker.ready", count=2)

    assert "ending='exit code 2'" in worker.events("worker.died")[0]


LEAVES_SLOWLY = """

import atexit


@atexit.register
def leave_slowly() -> None:
    Path("leaving").touch()
    time.sleep(1.5)
"""


def test_a_stop_that_a_child_hears_twice_is_clean_however_long_its_interpreter_takes_to_end(
    service: Service, start: StartWorker
) -> None:
    """As of a service manager that signals every process: the supervisor's own word comes when the child is done."""
    with (service.folder / f"{service.module}.py").open("a", encoding="utf-8") as file:
        file.write(LEAVES_SLOWLY)
    worker = start(service.module, "--processes", "1")
    worker.wait_for("worker.ready")
    os.kill(worker.pids()[0], signal.SIGTERM)
    wait_until((service.folder / "leaving").exists, what="the child is at its end")

    assert worker.stop() == 0, worker.log


def test_a_child_that_is_told_to_stop_by_itself_is_replaced(service: Service, worker: Worker) -> None:
    os.kill(worker.pids()[0], signal.SIGTERM)

    worker.wait_for("worker.ready", count=2)

    assert "ending='exit code 0'" in worker.events("worker.died")[0]


def test_a_killed_supervisor_leaves_no_child_and_running_calls_finish(service: Service, worker: Worker) -> None:
    service.add("slow", str(service.output), 1.0)
    service.wait_for("started")

    worker.process.kill()
    worker.wait_for_the_end()

    assert "finished" in service.written()
    assert worker.events("worker.supervisor_gone")


# -- stopping -----------------------------------------------------------------------------------------------


def test_sigterm_finishes_the_running_call_and_exits_0(service: Service, worker: Worker) -> None:
    service.add("slow", str(service.output), 1.0)
    service.wait_for("started")

    assert worker.stop() == 0

    assert "finished" in service.written()
    assert "worker.stopped" in worker.log


def test_ctrl_c_reaches_the_whole_group_and_stops_once(service: Service, worker: Worker) -> None:
    service.add("slow", str(service.output), 1.0)
    service.wait_for("started")

    os.killpg(worker.process.pid, signal.SIGINT)

    assert worker.wait_for_the_end() == 0
    assert "finished" in service.written()
    assert len(worker.events("worker.stopping")) == 1
    assert "Traceback" not in worker.log


def test_a_signal_to_every_process_that_comes_twice_is_one_wish(service: Service, worker: Worker) -> None:
    service.add("slow", str(service.output), 1.0)
    service.wait_for("started")

    for signum in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        for pid in (*worker.pids(), worker.process.pid):
            os.kill(pid, signum)

    assert worker.wait_for_the_end() == 0
    assert "finished" in service.written()


def test_what_outlasts_the_grace_period_is_named_and_what_waited_is_given_back(
    service: Service, start: StartWorker
) -> None:
    worker = start(service.module, "--processes", "1", "--threads", "1", "--grace", "1")
    service.add("slow", str(service.output), 300.0)
    service.wait_for("started")
    service.note("fetched behind it")

    assert worker.stop() == 1

    (cut_off,) = worker.events("worker.call_cut_off")
    assert f"task={service.module}.slow" in cut_off
    assert "finished" not in service.written()
    start(service.module, "--processes", "1")
    service.wait_for("fetched behind it")


def test_a_later_signal_forces_the_end(service: Service, worker: Worker) -> None:
    service.add("slow", str(service.output), 300.0)
    service.wait_for("started")
    worker.process.terminate()
    worker.wait_for("worker.stopping")
    first_s = time.monotonic()
    wait_until(lambda: time.monotonic() > first_s + 1.1, what="a second")

    worker.process.terminate()

    assert worker.wait_for_the_end() == 1
    (killed,) = worker.events("worker.killed")
    assert f"pid={worker.pids()[0]}" in killed


# -- what cannot work ---------------------------------------------------------------------------------------

STAYS = """
from weighbridge import task

@task(shares_memory=True)
def warm() -> None: ...
"""
MISSPELT = """
from weighbridge import Dispatcher
dispatcher = Dispatcher(policy="by-wieght")
"""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "module 'nowhere' is not found from "),
        (["stays"], "module 'stays' declares no task that can be queued (stays.warm is declared shares_memory"),
        (["two"], "the modules hold 2 dispatchers (two:one, two:two), and a worker serves one"),
        (
            ["two", "--dispatcher", "two:one", "--queue", "hevy"],
            "Error: --queue names 'hevy', a queue of no task; the queues are: default",
        ),
        ([], "setting modules is empty, and no module was named; name those that declare tasks"),
        (["misspelt"], "Error: policy 'by-wieght': there is no shipped policy of this name"),
        (["misspelt"], "raised while module 'misspelt' was imported ("),
    ],
    ids=["not found", "no task", "several dispatchers", "unknown queue", "no module", "policy", "place of the policy"],
)
def test_what_cannot_work_as_configured_is_said_once_and_exits_2(
    service: Service, start: StartWorker, arguments: list[str], says: str
) -> None:
    (service.folder / "stays.py").write_text(STAYS, encoding="utf-8")
    (service.folder / "two.py").write_text(TWO_DISPATCHERS, encoding="utf-8")
    (service.folder / "misspelt.py").write_text(MISSPELT, encoding="utf-8")

    worker = start(*arguments, "--processes", "2")

    assert worker.wait_for_the_end() == 2
    assert worker.log.replace("\n", " ").count(says) == 1, worker.log
    assert worker.log.startswith("Error: "), worker.log  # nothing of a start that comes to nothing
    assert " worker." not in worker.log
    assert "Traceback" not in worker.log
    assert not worker.events("worker.died")


def test_a_worker_without_a_broker_says_how_to_configure_one(service: Service) -> None:
    worker = Worker(service.module, cwd=service.folder, environment={})

    assert worker.wait_for_the_end() == 2
    assert "set WEIGHBRIDGE_BROKER_URL" in worker.log


def test_a_module_that_breaks_while_the_worker_runs_stops_it_with_that_error(service: Service, worker: Worker) -> None:
    (service.folder / f"{service.module}.py").write_text("1 / 0", encoding="utf-8")

    os.kill(worker.pids()[0], signal.SIGKILL)

    assert worker.wait_for_the_end() == 2
    assert "ZeroDivisionError: division by zero" in worker.log


def test_an_unreachable_broker_is_logged_and_its_calls_run_once_it_is_back(
    service: Service, start: StartWorker
) -> None:
    directory = tempfile.mkdtemp(prefix="wb-", dir="/tmp")
    address = f"{directory}/s"
    service.broker_url = f"unix://{address}?db=0"
    worker = start(service.module, "--processes", "1")
    worker.wait_for("worker.ready")
    worker.wait_for("queue.broker_lost")
    assert "start it, or correct WEIGHBRIDGE_BROKER_URL" in worker.events("queue.broker_lost")[0]

    command = [str(find_binary()), "--port", "0", "--unixsocket", address, "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            wait_until(Path(address).exists, what="a server")
            service.note("hello")
            service.wait_for("hello")
            worker.wait_for("queue.broker_back")
        finally:
            server.terminate()
    worker.wait_for("queue.broker_lost", count=2)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            worker.wait_for("queue.broker_back", count=2)
            service.note("hello again")
            service.wait_for("hello again")
        finally:
            worker.stop()
            server.terminate()
    assert len(worker.events("queue.broker_lost")) == 2, worker.log
    assert "Consumer encountered" not in worker.log
    assert not worker.events("worker.fetch_failed")
    shutil.rmtree(directory)


def test_a_queue_that_cannot_be_read_though_the_broker_answers_is_told_once(
    service: Service, start: StartWorker, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"{service.namespace}:{{default}}:stream", "not a stream")
    worker = start(service.module, "--processes", "1", "--queue", "default")
    worker.wait_for("worker.fetch_failed")
    time.sleep(3.5)  # Dramatiq's consumer has tried again by then
    (told,) = worker.events("worker.fetch_failed")
    assert "queue=default problem=" in told
    assert "WRONGTYPE" in told
    assert "Consumer encountered" not in worker.log


def test_a_number_of_no_database_is_refused(service: Service, start: StartWorker) -> None:
    service.broker_url = re.sub(r"(db=|/)\d+$", r"\g<1>99", service.broker_url)
    worker = start(service.module, "--processes", "2")
    assert worker.wait_for_the_end() == 2
    assert re.fullmatch(
        r"Error: the broker at redis \S+ \(database 99\) has no database of this number; "
        r"correct it in WEIGHBRIDGE_BROKER_URL \(ResponseError: DB index is out of range\)\n",
        worker.log,
    ), worker.log


# -- modules and dispatchers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 / 0", "MODULE.py, line 1): ZeroDivisionError: division by zero; mend it"),
        ("def broken(:", "MODULE.py, line 1): SyntaxError: "),
        ("import what_is_not_there", "MODULE.py, line 1): ModuleNotFoundError: No module named 'what_is_not_there'"),
        ("raise SystemExit(2)", "ends the process when it is imported (SystemExit (FOLDER/MODULE.py, line 1))"),
    ],
    ids=["raises", "syntax", "misses another", "exits"],
)
def test_a_module_that_fails_is_named_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    name = f"broken_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleError, match=re.escape(says.replace("MODULE", name).replace("FOLDER", str(tmp_path)))):
        import_modules([name])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("./app/tasks.py", "app.tasks"),
        ("orders.py", "orders"),
        ("orders:app", "orders"),
        ("odrers.tasks", "orders.tasks"),
    ],
)
def test_a_misspelt_module_is_answered_with_the_one_that_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    (tmp_path / "orders.py").touch()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ModuleError, match=re.escape(f"did you mean {meant}?")):
        import_modules([name])


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that is imported already."""
    module = ModuleType(f"app_{uuid.uuid4().hex}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_module_without_a_dispatcher_leaves_it_to_the_settings(app: ModuleType) -> None:
    dispatcher, place = find_dispatcher([app], chosen=None)

    assert place == "settings"
    assert dispatcher.settings.namespace == "weighbridge"


def test_one_dispatcher_under_two_names_is_one(app: ModuleType) -> None:
    vars(app)["first"] = vars(app)["second"] = Dispatcher()

    assert find_dispatcher([app, app], chosen=None) == (vars(app)["first"], f"{app.__name__}:first")


def test_a_chosen_dispatcher_may_stand_on_an_object(app: ModuleType) -> None:
    vars(app)["state"] = SimpleNamespace(dispatcher=Dispatcher())
    chosen = f"{app.__name__}:state.dispatcher"

    assert find_dispatcher([], chosen=chosen) == (vars(app)["state"].dispatcher, chosen)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (":dispatchr", "has no 'dispatchr'; did you mean dispatcher?"),
        (":other", "holds in 'other' a str, which is no Dispatcher"),
        ("", "is not module:name; name the dispatcher as in"),
    ],
)
def test_a_choice_that_is_no_dispatcher_is_refused(app: ModuleType, path: str, says: str) -> None:
    vars(app).update(dispatcher=Dispatcher(), other="text")

    with pytest.raises(ModuleError, match=re.escape(says)):
        find_dispatcher([app], chosen=app.__name__ + path)


# -- the parts ----------------------------------------------------------------------------------------------


def test_a_child_that_keeps_dying_fast_is_replaced_ever_later_up_to_a_limit() -> None:
    backoff = Backoff()

    delays_s = [backoff.after_death(lived_s=0.5) for _ in range(12)]

    assert delays_s[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays_s[-1] == LONGEST_DELAY_S


def test_a_long_life_makes_the_next_replacement_quick_again() -> None:
    backoff = Backoff()
    for _ in range(12):
        backoff.after_death(lived_s=0.5)

    assert backoff.after_death(lived_s=3600) == 0.1
    assert backoff.after_death(lived_s=0.5) == 0.2


@pytest.mark.parametrize(
    ("heard_s", "wishes"),
    [
        ([5.0], [Wish.STOP]),
        ([5.0, 5.0, 5.9], [Wish.STOP, Wish.IGNORE, Wish.IGNORE]),
        ([5.0, 6.0], [Wish.STOP, Wish.FORCE]),
        ([5.0, 5.5, 6.1], [Wish.STOP, Wish.IGNORE, Wish.FORCE]),
    ],
)
def test_a_stop_signal_asks_by_its_distance_from_the_first(heard_s: list[float], wishes: list[Wish]) -> None:
    signals = StopSignals()

    assert [signals.heard(each) for each in heard_s] == wishes


def test_messages_arrive_as_they_were_sent_however_they_are_cut() -> None:
    ready = Ready(queues=("default", "heavy"), threads=8, tasks=3, in_process_only=1, dispatcher="app:dispatcher")
    refused = Refused(reason="first line\nsecond line: ä")
    ours, theirs = Channel.pair()
    with ours, Channel(theirs) as other:
        other.send(Prepared(heavy=("heavy",), other=()))
        other.send(ready)
        other.send(refused)

        assert ours.receive() == [Prepared(heavy=("heavy",), other=()), ready, refused]
        assert ours.receive() == []


def test_a_half_message_waits_for_its_other_half() -> None:
    line = json.dumps({"kind": "refused", "reason": "no"}).encode() + b"\n"
    ours, theirs = Channel.pair()
    with ours, theirs:
        theirs.sendall(line[:7])
        assert ours.receive() == []
        theirs.sendall(line[7:])
        assert ours.receive() == [Refused(reason="no")]


def test_the_end_of_a_channel_is_seen_by_the_other_side() -> None:
    ours, theirs = Channel.pair()
    with ours:
        theirs.close()
        ours.receive()
        assert ours.ended


def test_a_word_to_a_supervisor_that_is_gone_does_no_harm() -> None:
    ours, theirs = Channel.pair()
    with Channel(theirs) as child:
        ours.close()
        child.send(Refused(reason="no"))
        assert child.ended


def test_options_reach_the_child_as_they_were() -> None:
    options = ChildOptions(modules=("a", "b"), dispatcher=None, queues=(), threads=2, grace_s=1.5, share=Share.HEAVY)

    assert ChildOptions.from_json(options.to_json()) == options


@pytest.mark.parametrize(
    ("returncode", "shown"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "SIGKILL"), (-42, "signal 42")]
)
def test_an_ending_is_named_as_the_system_names_it(returncode: int, shown: str) -> None:
    assert str(Ending.of(returncode)) == shown
