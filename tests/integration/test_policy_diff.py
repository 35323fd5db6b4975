"""``weighbridge policy diff``: the real command reads what services have counted, whichever process did, and when."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import redis
from tests.servers.users import url_as

from weighbridge import Dispatcher, task
from weighbridge.errors import PolicyNotFoundError, SettingsError
from weighbridge.lanes.queue.permissions import Role
from weighbridge.shadow.recorder import NOT_KEPT

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def tasks(only_own_tasks: None) -> None:
    task(name="shop.render", weight=80)(render)
    task(name="shop.notify", weight=1)(notify)


def render(report_id: int) -> None: ...


def notify(user_id: int) -> None: ...


@pytest.fixture
def namespace() -> str:
    return f"diff-{uuid.uuid4().hex}"


async def diff(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    def run() -> subprocess.CompletedProcess[str]:
        variables = {f"WEIGHBRIDGE_{name.upper()}": value for name, value in environment.items()}
        command = [sys.executable, "-m", "weighbridge", "policy", "diff", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)

    return await anyio.to_thread.run_sync(run)


async def told(**environment: str) -> dict[str, Any]:
    """The one comparison that there is."""
    ran = await diff("--format", "json", **environment)
    assert ran.returncode == 0, ran.stderr
    (found,) = json.loads(ran.stdout)["comparisons"]
    return dict(found)


async def serve(dispatcher: Dispatcher, *, renders: int, notes: int = 0) -> None:
    """A service from its start to its end."""
    async with dispatcher, dispatcher.tasks() as tasks:
        for number in range(renders):
            tasks.add_task(render, number)
        for number in range(notes):
            tasks.add_task(notify, number)


async def test_counts_outlive_the_service_and_add_up_over_its_processes(redis_url: str, namespace: str) -> None:
    def service() -> Dispatcher:
        return Dispatcher(policy="all-in-process", shadow_policy="by-weight", broker_url=redis_url, namespace=namespace)

    first, second = service(), service()
    async with first, second:
        for dispatcher in (first, second):
            async with dispatcher.tasks() as tasks:
                tasks.add_task(render, 1)
                tasks.add_task(notify, 1)
    await serve(service(), renders=3)
    await serve(first, renders=1)

    found = await told(broker_url=redis_url, namespace=namespace)

    assert (found["policy"], found["shadow_policy"]) == ("all-in-process (shipped)", "by-weight (shipped)")
    assert (found["calls"], found["diverging"], found["days"]) == (8, 6, 1)
    assert {(row["task"], row["shadow_rule"], row["shadow_lane"], row["calls"]) for row in found["counts"]} == {
        ("shop.render", "heavy work is queued", "queue", 6),
        ("shop.notify", "otherwise", "in_process", 2),
    }


async def test_without_a_broker_a_file_keeps_them(tmp_path: Path) -> None:
    file = tmp_path / "shadow.sqlite3"
    for renders in (2, 3):
        await serve(Dispatcher(policy="all-in-process", shadow_policy="by-weight", shadow_file=file), renders=renders)
    found = await told(shadow_file=str(file))
    assert (found["calls"], found["diverging"]) == (5, 5)


async def test_a_file_is_used_rather_than_the_broker(redis_url: str, namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "shadow.sqlite3"
    where = {"broker_url": redis_url, "namespace": namespace}
    await serve(
        Dispatcher(policy="all-in-process", shadow_policy="by-weight", shadow_file=file, **where),  # type: ignore[arg-type]  # texts, all of them
        renders=2,
    )
    assert json.loads((await diff("--format", "json", **where)).stdout)["comparisons"] == []
    assert (await told(shadow_file=str(file), **where))["calls"] == 2


async def test_a_policy_that_takes_over_is_told_apart_from_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "shadow.sqlite3"
    ours = anyio.Path(tmp_path / "ours.toml")
    await ours.write_text('schema = 1\n[otherwise]\nlane = "in_process"\n')
    dispatcher = Dispatcher(policy="all-in-process", shadow_policy="by-weight", shadow_file=file)
    async with dispatcher:
        async with dispatcher.tasks() as tasks:
            tasks.add_task(render, 1)
        await anyio.to_thread.run_sync(setattr, dispatcher, "policy", ours)
        async with dispatcher.tasks() as tasks:
            tasks.add_task(render, 1)
            tasks.add_task(render, 2)

    shown = json.loads((await diff("--format", "json", shadow_file=str(file))).stdout)["comparisons"]

    assert {(each["policy"], each["calls"]) for each in shown} == {("all-in-process (shipped)", 1), (str(ours), 2)}


async def test_a_web_process_may_write_counts_and_an_operator_reads_them(redis_url: str, namespace: str) -> None:
    def users() -> dict[Role, str]:
        return {role: url_as(role, redis_url, namespace=namespace) for role in Role}

    url = await anyio.to_thread.run_sync(users)
    await serve(
        Dispatcher(
            policy="all-in-process", shadow_policy="by-weight", broker_url=url[Role.PRODUCER], namespace=namespace
        ),
        renders=2,
    )
    assert (await told(broker_url=url[Role.OPERATOR], namespace=namespace))["calls"] == 2
    refused = await diff(broker_url=url[Role.WORKER], namespace=namespace)
    assert refused.returncode == 2
    assert "does not let this user read what was counted of the shadow policy" in refused.stderr
    assert "as the operator's user" in refused.stderr


async def test_a_user_that_may_not_write_counts_costs_no_call_but_a_warning(
    redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    def without_shadow() -> str:
        url = url_as(Role.PRODUCER, redis_url, namespace=namespace)
        user = f"{namespace}-{Role.PRODUCER}"
        with redis.Redis.from_url(redis_url) as root:
            root.execute_command("ACL", "SETUSER", user, "clearselectors", "(~* -@all +evalsha +set +get +xadd)")
        return url

    url = await anyio.to_thread.run_sync(without_shadow)
    dispatcher = Dispatcher(policy="all-queued", shadow_policy="by-weight", broker_url=url, namespace=namespace)
    caplog.set_level(logging.WARNING, logger="weighbridge.shadow")
    await serve(dispatcher, renders=1)
    assert {getattr(record, "event", "") for record in caplog.records} >= {NOT_KEPT}
    assert dispatcher.shadow is not None
    assert [count.calls for count in dispatcher.shadow.counts] == [1]


async def test_a_broker_that_is_away_costs_no_call_and_the_end_is_not_late(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = Dispatcher(policy="all-in-process", shadow_policy="by-weight", broker_url="redis://127.0.0.1:1/0")
    with anyio.fail_after(20):
        await serve(dispatcher, renders=2)
    assert dispatcher.in_process_counts.succeeded == 2
    problems = [record.getMessage() for record in caplog.records if getattr(record, "event", "") == NOT_KEPT]
    assert "127.0.0.1:1" in problems[0]
    assert "calls=2" in problems[0]


async def test_a_file_that_cannot_be_used_is_refused_when_the_service_starts(tmp_path: Path) -> None:
    dispatcher = Dispatcher(shadow_policy="by-weight", policy="all-in-process", shadow_file=tmp_path / "no" / "such")
    with pytest.raises(SettingsError, match=r"shadow_file.*in a folder that is there"):
        async with dispatcher:
            pass
    assert dispatcher.dispatch is None


async def test_the_end_waits_for_no_thread_of_the_app(tmp_path: Path) -> None:
    taken = threading.Event()
    dispatcher = Dispatcher(policy="all-in-process", shadow_policy="by-weight", shadow_file=tmp_path / "shadow")
    threads = int(anyio.to_thread.current_default_thread_limiter().total_tokens)
    async with anyio.create_task_group() as group:
        with anyio.fail_after(30):  # half of the time for which the threads are taken
            async with dispatcher:
                for _ in range(threads):
                    group.start_soon(anyio.to_thread.run_sync, partial(taken.wait, 60))
                await anyio.wait_all_tasks_blocked()
        taken.set()


async def test_a_shadow_whose_counts_end_with_the_process_is_warned_of(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    await serve(Dispatcher(policy="all-in-process", shadow_policy="by-weight"), renders=1)
    warned = [record.getMessage() for record in caplog.records if record.name == "weighbridge.shadow"]
    assert warned == ["shadow.in_memory remedy=set shadow_file, or a Redis or Valkey as broker_url"]
    caplog.clear()
    await serve(Dispatcher(policy="all-in-process", shadow_policy="by-weight", shadow_file=tmp_path / "s"), renders=1)
    assert [record for record in caplog.records if record.name == "weighbridge.shadow"] == []


def test_what_is_wrong_with_the_shadow_policy_is_said_of_it() -> None:
    with pytest.raises(
        PolicyNotFoundError, match=r"policy 'by-wieght' \(the shadow policy\): .*did you mean by-weight"
    ):
        Dispatcher(shadow_policy="by-wieght")


@pytest.mark.parametrize("url", [None, "amqp://guest:guest@127.0.0.1:5672"])
async def test_where_nothing_keeps_counts_the_command_says_what_to_set(url: str | None) -> None:
    refused = await diff(**({} if url is None else {"broker_url": url}))
    assert refused.returncode == 2
    assert "WEIGHBRIDGE_SHADOW_FILE" in refused.stderr
    assert "redis:// WEIGHBRIDGE_BROKER_URL" in refused.stderr


async def test_a_server_without_counts_says_how_they_come(redis_url: str, namespace: str) -> None:
    ran = await diff(broker_url=redis_url, namespace=namespace)
    assert ran.returncode == 0
    assert ran.stdout.startswith("Nothing was compared in the last 7 days. Looked at: redis ")
    assert f"namespace {namespace}" in ran.stdout
