"""``weighbridge doctor`` against real servers and real workers, and the check at start of an app and a worker."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import dramatiq
import pytest
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker

from weighbridge import Dispatcher
from weighbridge.embedded import EmbeddedServer
from weighbridge.embedded.binary import find_binary
from weighbridge.errors import BrokerError
from weighbridge.lanes.queue import connect
from weighbridge.lanes.queue.checkup import App, Examination, Severity, StartCheck, examine, reach
from weighbridge.lanes.queue.checkup import examination as examination_module
from weighbridge.lanes.queue.keys import GROUP, QueueKeys, probe_key, queues_key, worker_key
from weighbridge.lanes.queue.patient_client import PatientClient
from weighbridge.lanes.queue.register import Register
from weighbridge.lanes.queue.scripts import Scripts
from weighbridge.lanes.queue.stream_queue import StreamQueue

RABBITMQ_URL: Final = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672")
NO_APP: Final = App(tasks=(), versions={})
SHOP: Final = """
from weighbridge import task

@task(durable=True)
def send(to: str) -> None: ...
"""


def wait_until(condition: Callable[[], object], *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextlib.contextmanager
def server(folder: Path, *options: str) -> Iterator[str]:
    """A server with these options, as a service would run it; its address."""
    path = folder / f"s{uuid.uuid4().hex[:6]}"
    process = subprocess.Popen(
        [str(find_binary()), "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", "", *options],
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"unix://{path}?db=0"
        with redis.Redis.from_url(url) as client:

            def answers() -> bool:
                with contextlib.suppress(redis.ConnectionError):
                    return bool(client.ping())
                return False

            wait_until(answers)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d")


def examined(url: str, *, namespace: str = "weighbridge") -> Examination:
    broker = connect(url, namespace=namespace, timeout_s=0.5)
    return examine(broker, app=NO_APP, timeout_s=5)


def bad(found: Examination) -> dict[str, Severity]:
    return {each.check: each.severity for each in found.findings if each.severity is not Severity.OK}


# -- servers ------------------------------------------------------------------------------------------------


def test_a_server_with_aof_and_without_eviction_breaks_nothing(short_folder: Path) -> None:
    with server(short_folder, "--appendonly", "yes", "--appendfsync", "everysec") as url:
        found = examined(url)
    assert found.reached
    assert bad(found) == {"workers": Severity.WARNING}
    assert found.round_trip is not None
    assert 0 < found.round_trip.read_ms < 1_000
    assert 0 < found.round_trip.write_ms < 1_000


def test_a_server_without_aof_that_evicts_breaks_promises_which_an_app_logs_once_after_its_start(
    short_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    with server(short_folder, *options) as url:
        found = examined(url)

        async def serve() -> None:
            async with Dispatcher(broker_url=url):
                with anyio.fail_after(20):
                    while len(broken(caplog)) < 2:  # noqa: ASYNC110  # the records come from a thread
                        await anyio.sleep(0.01)

        anyio.run(serve)
    assert bad(found) == {
        "persistence": Severity.ERROR,
        "eviction": Severity.ERROR,
        "workers": Severity.WARNING,
    }
    told = broken(caplog)
    assert [record.__dict__["check"] for record in told] == ["persistence", "eviction"]
    assert all(record.levelno == logging.WARNING for record in told)
    assert "CONFIG SET appendonly yes" in told[0].getMessage()


def broken(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.__dict__.get("event") == "queue.broker_breaks_promise"]


def test_of_the_embedded_server_nothing_is_logged_and_the_doctor_says_what_it_is(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    check = StartCheck(connect(redis_url, namespace="test", timeout_s=0.5))
    check.run()
    assert caplog.records == []
    (found,) = [each for each in examined(redis_url).findings if each.check == "persistence"]
    assert "embedded server" in found.text
    assert found.severity is Severity.ERROR


def test_a_server_that_is_away_at_start_is_asked_when_it_is_there(
    short_folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    real = PatientClient

    def patient(*args: Any, **options: Any) -> Any:
        asked.set()
        return real(*args, **options)

    monkeypatch.setattr(examination_module, "PatientClient", patient)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    check = StartCheck(connect(f"redis://127.0.0.1:{port}/0", namespace="test", timeout_s=0.5), try_again_s=0.05)
    check.start()
    assert asked.wait(20)
    assert caplog.records == []
    with server(short_folder, "--port", str(port)):
        wait_until(lambda: broken(caplog))
        check.join(20)
    assert not check.is_alive()


def test_a_user_who_may_not_ask_gets_no_error_for_it(short_folder: Path) -> None:
    with server(short_folder, "--appendonly", "yes") as url:
        root = redis.Redis.from_url(url)
        root.acl_setuser(
            "shop",
            enabled=True,
            passwords=["+p"],
            keys=["shop:*"],
            commands=["+@all", "-config", "-info", "-scan"],
        )
        found = examined(f"{url}&username=shop&password=p", namespace="shop")
        root.close()
    unknown = {check for check, severity in bad(found).items() if severity is Severity.UNKNOWN}
    assert {"persistence", "eviction", "version", "sharing"} <= unknown
    assert found.worst() is Severity.WARNING  # no worker
    assert all("+" in each.remedy for each in found.findings if each.severity is Severity.UNKNOWN)


def test_a_replica_and_a_full_server_refuse_the_write(short_folder: Path) -> None:
    with server(short_folder, "--appendonly", "yes", "--replicaof", "127.0.0.1 1") as url:
        found = examined(url)
    assert bad(found)["write"] is Severity.ERROR
    assert bad(found)["role"] is Severity.ERROR
    with server(short_folder, "--appendonly", "yes", "--maxmemory", "1") as url:
        found = reach(connect(url, namespace="test", timeout_s=0.5), timeout_s=5)
    (refused,) = found.findings
    assert "out of memory" in refused.text
    assert "maxmemory" in refused.remedy


def test_keys_of_others_are_told_and_keys_of_weighbridge_are_not(short_folder: Path) -> None:
    with server(short_folder, "--appendonly", "yes") as url, redis.Redis.from_url(url) as client:
        for number in range(120):
            keys = QueueKeys(namespace="neighbour", queue=f"q{number}")
            client.set(keys.wake, 1)
            client.set(keys.letter("a"), 1)
        client.set("neighbour:queues", 1)
        assert "sharing" not in bad(examined(url))
        client.mset({f"session:{number}": 1 for number in range(120)})
        assert bad(examined(url))["sharing"] is Severity.WARNING


def test_what_it_writes_expires(redis_url: str) -> None:
    namespace = f"test-{uuid.uuid4().hex}"
    examined(redis_url, namespace=namespace)
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter(f"{namespace}:*")) == [probe_key(namespace).encode()]
        assert 0 < client.ttl(probe_key(namespace)) <= 10


def test_the_state_of_each_queue_is_read(redis_url: str) -> None:
    namespace = f"test-{uuid.uuid4().hex}"
    broker: Any = connect(redis_url, namespace=namespace, timeout_s=5)

    def send() -> None: ...

    actor = dramatiq.actor(broker=broker, actor_name="send")(send)
    consumer = broker.consume("default", timeout=1_000)
    actor.send()
    assert next(consumer) is not None
    for _ in range(2):
        actor.send()
    actor.send_with_options(delay=600_000)
    with redis.Redis.from_url(redis_url) as client:
        dead = QueueKeys(namespace=namespace, queue="default").dead
        now_ms = int(client.time()[0]) * 1000
        client.zadd(dead, {"new": now_ms, "old": now_ms - 6.5 * 86_400_000, "gone": now_ms - 8 * 86_400_000})
        found = examined(redis_url, namespace=namespace)
    (queue,) = found.queues
    consumer.close()
    broker.close()
    assert (queue.name, queue.waiting, queue.delayed, queue.held, queue.dead, queue.dead_soon) == (
        "default",
        2,
        1,
        1,
        2,
        1,
    )
    assert queue.oldest_s is not None
    assert 0 <= queue.oldest_s < 60


def test_a_call_of_a_dead_worker_waits_and_is_held_by_nobody(redis_url: str) -> None:
    namespace = f"test-{uuid.uuid4().hex}"
    broker: Any = connect(redis_url, namespace=namespace, timeout_s=5)
    broker.declare_queue("default")
    keys = QueueKeys(namespace=namespace, queue="default")
    with redis.Redis.from_url(redis_url) as client:
        client.xgroup_create(keys.stream, GROUP, id="0", mkstream=True)
        client.sadd(queues_key(namespace), "default")
        broker.enqueue(dramatiq.Message(queue_name="default", actor_name="f", args=(), kwargs={}, options={}))
        client.xreadgroup(GROUP, "dead one", {keys.stream: ">"})
        StreamQueue(client=client, scripts=Scripts(client), keys=keys, consumer="dead one").disown([])
        (queue,) = examined(redis_url, namespace=namespace).queues
    broker.close()
    assert (queue.waiting, queue.held) == (1, 0)
    assert queue.oldest_s is not None


# -- other brokers ------------------------------------------------------------------------------------------


def test_rabbitmq_is_reached_measured_and_its_queues_counted() -> None:
    broker: Any = connect(RABBITMQ_URL, namespace="unused", timeout_s=5)
    name = f"weighbridge-test-{uuid.uuid4().hex}"

    def send() -> None: ...

    actor = dramatiq.actor(broker=broker, actor_name="send", queue_name=name)(send)
    missing = examine(broker, app=NO_APP, timeout_s=5)
    actor.send()
    found = examine(broker, app=NO_APP, timeout_s=5)
    ready = reach(broker, timeout_s=5)
    for each in (name, f"{name}.DQ", f"{name}.XQ"):
        broker.channel.queue_delete(each)
    broker.close()
    assert found.reached
    assert found.round_trip is not None
    assert [(each.name, each.waiting, each.consumers) for each in missing.queues] == [(name, 0, 0)]
    assert [(each.name, each.waiting, each.dead) for each in found.queues] == [(name, 1, 0)]
    assert bad(found) == {
        "consumer timeout": Severity.UNKNOWN,
        "tasks": Severity.UNKNOWN,
        "workers": Severity.ERROR,  # one call waits, and nobody reads
    }
    assert [(each.check, each.severity) for each in ready.findings] == [("alarm", Severity.OK)]


def test_a_rabbitmq_broker_without_confirms_is_refused_before_it_is_asked_anything() -> None:
    with pytest.raises(BrokerError, match="confirm_delivery=True"):
        examine(RabbitmqBroker(url="amqp://nowhere.invalid:5672"), app=NO_APP, timeout_s=5)


def test_other_brokers_are_reached_and_say_what_cannot_be_known(redis_url: str) -> None:
    found = examine(StubBroker(), app=NO_APP, timeout_s=5)
    assert found.reached
    assert bad(found) == {"broker": Severity.UNKNOWN}
    with redis.Redis.from_url(redis_url) as client:
        stock_broker: Any = RedisBroker(client=client)  # type: ignore[no-untyped-call]  # Dramatiq's
        stock = examine(stock_broker, app=NO_APP, timeout_s=5)
    assert bad(stock)["broker"] is Severity.WARNING
    assert bad(stock)["persistence"] is Severity.ERROR


# -- the command --------------------------------------------------------------------------------------------


def doctor(*words: str, url: str, namespace: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weighbridge", "doctor", *words],
        env={
            **os.environ,
            "WEIGHBRIDGE_BROKER_URL": url,
            "WEIGHBRIDGE_NAMESPACE": namespace,
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_live_worker_is_listed_and_compared_and_gone_when_it_ends(folder: Path, short_folder: Path) -> None:
    namespace = f"test-{uuid.uuid4().hex}"
    with server(short_folder, "--appendonly", "yes") as url, redis.Redis.from_url(url) as client:
        register = Register(client, namespace)
        environment = {**os.environ, "WEIGHBRIDGE_BROKER_URL": url, "WEIGHBRIDGE_NAMESPACE": namespace}
        worker = subprocess.Popen(
            [sys.executable, "-m", "weighbridge", "worker", "shop", "--processes", "1", "--threads", "3"],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(register.live)
            ended = doctor("shop", "--format", "json", url=url, namespace=namespace)
            assert ended.returncode == 0, ended.stdout
            report = json.loads(ended.stdout)
            (process,) = report["workers"]
            assert (process["queues"], process["threads"], process["tasks"]) == (["default"], 3, ["shop.send"])
            assert process["host"] == socket.gethostname()
            assert process["versions"]["weighbridge"]
            assert report["exit_code"] == 0
            assert report["modules"] == ["shop"]

            (folder / "shop.py").write_text(SHOP.replace("to: str", "to: str, title: str = ''"), encoding="utf-8")
            differs = doctor("shop", url=url, namespace=namespace)
            assert differs.returncode == 1
            told = " ".join(differs.stdout.split())
            assert "shop.send: the signature in worker" in told
            assert "(it does not take 'title')" in told
            assert "deploy the workers before the app" in told

            (folder / "new.py").write_text(SHOP, encoding="utf-8")
            assert "new.send: no live worker of its queue knows it" in " ".join(
                doctor("new", url=url, namespace=namespace).stdout.split()
            )

            os.kill(process["pid"], signal.SIGKILL)
            wait_until(lambda: [each.pid for each in register.live() if each.pid != process["pid"]])
            wait_until(lambda: len(register.live()) == 1)  # the supervisor takes the dead one away
            assert client.get(worker_key(namespace, process["id"])) is None

            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
            assert register.live() == ()
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait(30)


def test_the_report_for_people_fits_a_narrow_terminal_and_has_no_colour_in_a_pipe(folder: Path, redis_url: str) -> None:
    ended = doctor("shop", url=redis_url, namespace="test", COLUMNS="40")
    assert ended.returncode == 1
    assert "\x1b" not in ended.stdout
    assert max(len(line) for line in ended.stdout.splitlines()) <= 40
    assert "2 errors." in ended.stdout


def test_readiness_needs_no_module_and_tells_by_its_exit_code(redis_url: str) -> None:
    ready = doctor("--ready", url=redis_url, namespace="test", WEIGHBRIDGE_MODULES="not.there")
    assert (ready.returncode, ready.stdout.splitlines()[-1]) == (0, "The broker takes calls.")
    away = doctor("--ready", url="redis://:secret@127.0.0.1:1/0", namespace="test")
    assert (away.returncode, away.stdout.splitlines()[-1]) == (2, "The broker cannot be reached.")
    assert "secret" not in away.stdout + away.stderr
    both = doctor("--ready", "shop", url=redis_url, namespace="test")
    assert both.returncode == 2
    assert "imports no module" in both.stderr


def test_strictness_counts_warnings_and_what_cannot_be_checked(short_folder: Path) -> None:
    with server(short_folder, "--appendonly", "yes") as url:
        assert doctor(url=url, namespace="test").returncode == 0
        assert doctor("--strict", url=url, namespace="test").returncode == 1


def test_without_a_broker_it_says_what_to_set() -> None:
    ended = subprocess.run([sys.executable, "-m", "weighbridge", "doctor"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "WEIGHBRIDGE_BROKER_URL" in ended.stderr


def test_a_silent_server_is_given_up_after_the_time_that_was_given() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began_s = time.monotonic()
        broker = connect(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", namespace="test", timeout_s=0.2)
        found = reach(broker, timeout_s=0.3)
        assert time.monotonic() - began_s < 5
    assert not found.reached


def test_a_worker_logs_a_broken_promise_and_works_all_the_same(folder: Path, short_folder: Path) -> None:
    with server(short_folder) as url:
        worker = subprocess.Popen(
            [sys.executable, "-m", "weighbridge", "worker", "shop", "--processes", "1"],
            env={**os.environ, "WEIGHBRIDGE_BROKER_URL": url},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert worker.stderr is not None
        for line in worker.stderr:
            if " queue.broker_breaks_promise " in line:
                break
        assert "check=persistence" in line
        worker.send_signal(signal.SIGTERM)
        worker.stderr.read()
        assert worker.wait(30) == 0
        worker.stderr.close()


def test_the_embedded_server_is_known_by_its_configuration_file() -> None:
    with EmbeddedServer.start(tcp=True) as embedded:
        (found,) = [each for each in examined(embedded.url).findings if each.check == "persistence"]
    assert "embedded server" in found.text
