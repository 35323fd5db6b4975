"""What pages say happens, happens: their apps answer what is shown, and their tasks run where it is said."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dramatiq
import httpx
import pytest
import redis
from blockbuster import BlockBuster
from click.testing import CliRunner
from fastapi.testclient import TestClient
from tests.documentation.blocks import ROOT, blocks_of
from tests.documentation.page import OpenPage

from weighbridge.background.commit import Standing
from weighbridge.background.decision_header import MAX_BYTES, MAX_TEXT
from weighbridge.cli.group import command as weighbridge_command
from weighbridge.lanes.queue import connect
from weighbridge.lanes.queue.dead_letters import DeadReason
from weighbridge.policy import shipped_names
from weighbridge.policy.rule import RESERVED
from weighbridge.testing import running_as

OpenOne = Callable[[str], OpenPage]
DEADLINE_S = 30


@contextmanager
def worker_of(dispatcher: Any) -> Iterator[dramatiq.Broker]:
    broker = dispatcher.worker_broker()
    worker = dramatiq.Worker(broker, worker_timeout=100)
    worker.start()
    try:
        yield broker
    finally:
        worker.stop()
        broker.close()


def ran(broker: dramatiq.Broker) -> None:
    for queue in broker.get_declared_queues():
        broker.join(queue, timeout=10_000)


def of_own(page: OpenPage) -> Any:
    page.import_all()
    return page.modules[page.own_module]


# -- README -------------------------------------------------------------------------------------------------


def test_the_example_of_the_readme_answers_and_a_worker_runs_it(
    open_page: OpenOne, capfd: pytest.CaptureFixture[str]
) -> None:
    page = open_page("README.md")
    page.import_all()
    app = page.modules["app"]
    with worker_of(app.dispatcher) as broker, TestClient(app.app) as client:
        answer = client.post("/reports")
        ran(broker)
    assert answer.status_code == 202
    assert answer.json()["lane"] == "queue"
    assert "heavy work is queued" in answer.json()["reason"]
    printed = capfd.readouterr().out
    assert "a report was asked for" in printed
    assert "rendered" in printed


def test_the_readme_shows_what_a_person_gets(tmp_path: Path) -> None:
    page = OpenPage(ROOT / "README.md", tmp_path)
    example = page.blocks[: next(at for at, block in enumerate(page.blocks) if "pip" in block.code)]
    command, request = [block.code.strip() for block in example if block.language == "bash"]
    (swapped,) = [block.code.strip() for block in page.blocks if "WEIGHBRIDGE_POLICY" in block.code]
    (answer,) = [json.loads(block.code) for block in example if block.language == "json"]
    (printed,) = [block.code for block in example if block.language == "text"]
    assert (command, request) == ("weighbridge dev app:app", "curl -X POST localhost:8000/reports")
    with development(tmp_path) as (address, lines):
        given = httpx.post(f"{address}/reports").json()
        until(lambda: set(without_ids(printed).splitlines()) <= set(without_ids("\n".join(lines())).splitlines()))
    assert without_ids(json.dumps(given)) == without_ids(json.dumps(answer))
    assert swapped == f"WEIGHBRIDGE_POLICY=all-in-process {command}"
    with development(tmp_path, WEIGHBRIDGE_POLICY="all-in-process") as (address, lines):
        assert '"lane":"in_process"' in httpx.post(f"{address}/reports").text
        until(lambda: "a report was asked for" in "".join(lines(source="web")))
        until(lambda: "rendered " in "".join(lines(source="web")))


def without_ids(text: str) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)


def test_the_example_of_the_readme_has_fifteen_lines() -> None:
    example = next(block for block in blocks_of(ROOT / "README.md") if block.title == "app.py")
    assert len([line for line in example.code.splitlines() if line]) == 15


def test_the_policy_of_the_readme_can_be_set_while_the_service_runs(open_page: OpenOne) -> None:
    page = open_page("README.md")
    page.import_all()
    app = page.modules["app"]
    with TestClient(app.app) as client:
        app.dispatcher.policy = "ours.toml"
        answer = client.post("/reports")
    assert "policy ours, rule 'heavy work is queued'" in answer.json()["reason"]


# -- the tutorial, as a reader does it ----------------------------------------------------------------------


def test_the_quickstart_answers_what_it_shows(tmp_path: Path) -> None:
    page = OpenPage(ROOT / "docs/quickstart.md", tmp_path)
    asked = [re.findall(r"localhost:8000(\S+)", block.code) for block in page.blocks if block.language == "bash"]
    paths = [path for found in asked for path in found]
    shown = [block.code.strip() for block in page.blocks if block.language == "json"]
    assert len(paths) == len(shown) == 4
    with development(tmp_path) as (address, lines):
        answers = [httpx.post(f"{address}{path}").text for path in paths[:3]]
        until(lambda: "audit: order 1 was placed" in "".join(lines(source="web")))
        until(lambda: "rendered the report of order 1" in "".join(lines(source="worker")))
        until(lambda: "charged order 1" in "".join(lines(source="worker")))
        (ready,) = [line for line in lines(source="dev") if "ready" in line]
    assert answers == shown[:3]
    assert ready.replace(address, "http://127.0.0.1:8000") in [block.code.rstrip("\n") for block in page.blocks]
    with development(tmp_path, WEIGHBRIDGE_POLICY="all-in-process") as (address, lines):
        assert httpx.post(f"{address}{paths[3]}").text == shown[3]
        until(lambda: "rendered the report of order 1" in "".join(lines(source="web")))


def test_the_quickstart_shows_the_table_of_tasks(tmp_path: Path) -> None:
    page = OpenPage(ROOT / "docs/quickstart.md", tmp_path)
    shown = next(block.code for block in page.blocks if block.language == "text" and "constraint" in block.code)
    ended = subprocess.run(
        [sys.executable, "-m", "weighbridge", "tasks", "app"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    printed = [line.split() for line in ended.stdout.splitlines()]
    for line in shown.splitlines():
        assert line.split() in printed


# -- concepts -----------------------------------------------------------------------------------------------


def test_the_page_on_lanes_says_where_each_call_goes(open_page: OpenOne) -> None:
    module = of_own(open_page("docs/concepts/lanes.md"))
    with TestClient(module.app) as client:
        answer = client.post("/users/1/reminders").json()
    assert answer == {"now": "in_process", "later": "queue", "elsewhere": "queue"}


def test_the_page_on_the_event_loop_shows_what_is_logged_and_counted(
    open_page: OpenOne, caplog: pytest.LogCaptureFixture, blockbuster: BlockBuster
) -> None:
    blockbuster.functions["time.sleep"].deactivate()  # which would have a line in the stack
    page = open_page("docs/concepts/event-loop.md")
    page.import_all()
    with TestClient(page.modules["app"].app) as client:

        def counted() -> bool:
            assert client.post("/orders/1").status_code == 202
            return "app.notify" in client.get("/blocks").json()

        until(counted)
        counts = client.get("/blocks").json()["app.notify"]
    record = next(record for record in caplog.records if record.name == "weighbridge.in_process")
    logged = f"{record.levelname} {record.name} {record.getMessage()}\n{record.stack_info}\n"
    logged = without_ids(logged).replace(f"{page.folder}/", "")
    (shown,) = [block.code for block in page.blocks if block.language == "text"]
    assert re.sub(r"_ms=\d+", "_ms=N", logged) == re.sub(r"_ms=\d+", "_ms=N", without_ids(shown))
    assert counts["blocks"] >= 1
    assert 0.1 <= counts["longest_s"] <= counts["total_s"]


def test_the_page_on_the_commit_point_enqueues_after_the_database_has_committed(open_page: OpenOne) -> None:
    module = of_own(open_page("docs/concepts/commit-point.md"))

    class Watch(dramatiq.Middleware):
        def before_enqueue(self, broker: object, message: object, delay: object) -> None:
            module.log.append("enqueue")

    with TestClient(module.app) as client:
        module.dispatcher.dispatch.queue.broker.add_middleware(Watch())
        assert client.post("/orders/1").status_code == 200
        assert client.post("/orders/2/invoice").json() == {"accepted": True}
    assert module.log == ["begin", "commit of the database", "enqueue", "enqueue"]


def test_the_page_on_the_commit_point_answers_a_refusal_by_itself_or_with_503(
    open_page: OpenOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("docs/concepts/commit-point.md")
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", "redis://127.0.0.1:1/0")  # nobody listens there
    module = of_own(page)
    with TestClient(module.app) as client:
        assert client.post("/orders/2/invoice").json() == {"accepted": False}
        refused = client.post("/orders/1")
    assert refused.status_code == 503
    assert refused.headers["Weighbridge-Enqueued"] == "no"
    assert int(refused.headers["Retry-After"]) >= 1


def test_the_page_on_delivery_charges_once_for_two_runs(open_page: OpenOne) -> None:
    page = open_page("docs/concepts/delivery.md")
    page.import_all()  # the page itself runs the task twice
    with closing(sqlite3.connect(page.folder / "shop.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM charges").fetchone() == (1,)


def test_the_page_on_idempotency_credits_once_for_two_runs_of_a_call(open_page: OpenOne) -> None:
    page = open_page("docs/how-to/idempotency.md")
    module = of_own(page)
    for call_id in ("one", "one", "other"):
        with running_as(call_id):
            module.credit("savings", 500)
    with closing(sqlite3.connect(page.folder / "shop.db")) as database:
        assert database.execute("SELECT SUM(cents) FROM entries").fetchone() == (1000,)


def test_the_page_on_dead_letters_finds_one_by_hand_and_in_python(open_page: OpenOne, redis_url: str) -> None:
    page = open_page("docs/how-to/dead-letters.md")
    module = of_own(page)
    (shell,) = [block for block in page.blocks if block.language == "bash" and "redis-cli" in block.code]
    namespace = os.environ["WEIGHBRIDGE_NAMESPACE"]  # of this test alone
    lines = shell.code.replace("weighbridge:", f"{namespace}:").splitlines()
    [_, *index], [_, *hash_of_one] = [shlex.split(line) for line in lines]
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        broker = connect(redis_url, namespace=namespace, timeout_s=5)

        def fail() -> None:
            raise RuntimeError("the printer burns")

        call = dramatiq.actor(broker=broker, actor_name="page.fail", max_retries=0)(fail).send()
        worker = dramatiq.Worker(broker, worker_timeout=100)
        worker.start()
        try:
            broker.join("default", timeout=10_000)
        finally:
            worker.stop()
            broker.close()
        (letter,) = module.dead_letters(namespace)
        ids = client.execute_command(*index)
        *command, shown_key = hash_of_one
        key = shown_key.rpartition(":")[0] + ":" + call.message_id
        fields = client.execute_command(*command, key)
        found = client.delete(key, index[1])
    assert ids == [call.message_id]
    assert (letter.id, letter.task, letter.reason) == (call.message_id, "page.fail", "failed")
    assert found == 2
    prose = page.page.read_text(encoding="utf-8").partition("Its fields:")[2].partition("In Python")[0]
    assert set(fields) <= set(re.findall(r"`(\w+)`", prose))
    assert "the printer burns" in fields["error"]
    assert all(f"`{reason}`" in prose for reason in DeadReason)


# -- how to -------------------------------------------------------------------------------------------------


def test_the_page_on_migrating_runs_undeclared_tasks_here(
    open_page: OpenOne, capsys: pytest.CaptureFixture[str]
) -> None:
    module = of_own(open_page("docs/how-to/migrate.md"))
    module.app.post("/messages/{address}")(module.send)  # the page's second app is the first one with a dispatcher
    with TestClient(module.app) as client:
        assert client.post("/messages/a@b").status_code == 200
    assert capsys.readouterr().out == "message to a@b\n"


def test_the_page_on_lifespans_runs_calls_while_the_pool_is_open(
    open_page: OpenOne, caplog: pytest.LogCaptureFixture
) -> None:
    module = of_own(open_page("docs/how-to/lifespan.md"))
    with TestClient(module.app) as client:
        assert client.post("/lines/1").json() == {"lane": "in_process"}
        assert client.portal is not None
        assert client.portal.call(module.every_night).lane == "in_process"
    assert not module.pool.is_open
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_the_page_on_starlette_uses_both_lanes(open_page: OpenOne, capfd: pytest.CaptureFixture[str]) -> None:
    module = of_own(open_page("docs/how-to/starlette.md"))
    with worker_of(module.dispatcher) as broker, TestClient(module.app) as client:
        assert client.post("/reports/3").json() == {"lane": "queue"}
        ran(broker)
    printed = capfd.readouterr().out
    assert "report 3 was asked for" in printed
    assert "rendered 3" in printed


def test_the_page_on_brokers_keeps_the_actors_of_the_user(open_page: OpenOne) -> None:
    page = open_page("docs/how-to/broker.md")
    page.import_all()
    service = page.modules["service"]
    assert {"yours", "service.charge"} <= set(service.dispatcher.worker_broker().get_declared_actors())


def test_the_page_on_spilling_over_keeps_a_call_here_and_has_a_file_that_can_take_the_place_of_the_policy(
    open_page: OpenOne,
) -> None:
    page = open_page("docs/how-to/spill-over.md")
    page.import_all()
    app = page.modules["app"]
    with TestClient(app.app) as client:
        shipped = client.post("/users/1/notes").json()
        app.dispatcher.policy = "spill-later.toml"
        own = client.post("/users/1/notes").json()
    assert shipped == {"lane": "in_process", "reason": "policy spill-over, otherwise: no rule matches"}
    assert own == {"lane": "in_process", "reason": "policy spill-later, otherwise: no rule matches"}


@pytest.mark.parametrize("name", [name for name in shipped_names() if name != "spill-over"])
def test_the_page_on_a_policy_shows_what_its_app_answers_and_a_file_that_can_take_its_place(
    open_page: OpenOne, name: str
) -> None:
    page = open_page(f"docs/how-to/policy-{name}.md")
    page.import_all()
    app = page.modules["app"]
    asked = [block.code.split() for block in page.blocks if block.language == "bash"]
    shown = [json.loads(block.code) for block in page.blocks if block.language == "json"]
    assert app.dispatcher.policy.name == name
    assert len(asked) == len(shown) > 0
    with TestClient(app.app) as client:
        for words, answer in zip(asked, shown, strict=True):
            # Again, since a machine that does much beside the tests makes the loop late, which the policy may look at.
            until(partial(answers, client, words, answer))
        app.dispatcher.policy = "ours.toml"
        assert app.dispatcher.policy.name == "ours"


def test_durability_first_refuses_in_an_outage_what_could_be_lost_and_serves_the_rest(
    open_page: OpenOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("docs/how-to/policy-durability-first.md")
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", "redis://127.0.0.1:1/0")  # nobody listens there
    page.import_all()
    with TestClient(page.modules["app"].app) as client:
        assert client.post("/orders/7/invoice").status_code == 503
        assert client.get("/orders/7").json()["lane"] == "in_process"


def test_protect_latency_refuses_no_light_call_in_an_outage_that_is_known(
    open_page: OpenOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("docs/how-to/policy-protect-latency.md")
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", "redis://127.0.0.1:1/0")  # nobody listens there
    page.import_all()
    with TestClient(page.modules["app"].app) as client:
        until(lambda: client.post("/orders/7").is_success)
        assert client.post("/orders/7").json()["last"] == "policy protect-latency, otherwise: no rule matches"


def answers(client: TestClient, words: list[str], answer: object) -> bool:
    """Whether the app answers so to a command line of curl."""
    path = words[-1].removeprefix("localhost:8000")
    return bool(client.request("POST" if "POST" in words else "GET", path).json() == answer)


def test_every_shipped_policy_is_used_on_a_page_of_its_own() -> None:
    pages = {path.stem.removeprefix("policy-") for path in (ROOT / "docs/how-to").glob("*.md")}
    assert set(shipped_names()) <= pages


def test_the_page_on_observing_shows_the_lines_that_its_app_logs(open_page: OpenOne) -> None:
    page = open_page("docs/how-to/observe.md")
    (shown,) = [block.code for block in page.blocks if block.language == "text"]
    asked = "from app import app; client = TestClient(app); client.__enter__(); print(client.post('/orders/7').text)"
    leave = "client.__exit__(None, None, None)"
    ended = in_a_program(f"from fastapi.testclient import TestClient; {asked}; {leave}", page.folder)
    call_id = json.loads(ended.stdout)["call"]
    assert ended.stderr.count(call_id) == shown.count(call_id_of(shown)) == 3
    lines = without_ids(ended.stderr).splitlines()
    assert [line for line in lines if line.startswith(("INFO", "ERROR"))] == without_ids(shown).splitlines()
    assert lines[lines.index("Traceback (most recent call last):") - 1] == without_ids(shown).splitlines()[-1]
    assert lines[-1] == "ConnectionError: no mail server"


def test_what_the_page_on_observing_says_of_sentry_runs(tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(ROOT / "docs/how-to/observe.md") if block.not_run is not None]
    assert len(blocks) == 2
    ended = in_a_program("\n".join(block.code for block in blocks), tmp_path, SENTRY_DSN="")
    assert ended.stderr == ""


def in_a_program(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended


def call_id_of(text: str) -> str:
    found = re.search(r"call_id=(\S+)", text)
    assert found is not None
    return found[1]


def test_the_page_on_the_decision_header_shows_what_its_app_answers(
    open_page: OpenOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("docs/how-to/decision-header.md")
    monkeypatch.setenv("SHOP_DEBUG", "yes")
    page.import_all()
    (shown,) = [block.code.strip() for block in page.blocks if block.language == "text"]
    with TestClient(page.modules["app"].app) as client:
        answer = client.post("/reports/7")
    given = f"weighbridge-decision: {answer.headers['weighbridge-decision']}"
    assert without_revisions(given) == without_revisions(shown)
    with TestClient(page.modules["plain"].app) as client:
        assert "Weighbridge-Decision" in client.post("/").headers


def without_revisions(header: str) -> str:
    """For a shipped policy may be worded anew."""
    return re.sub(r'revision="[0-9a-f]{12}"', "revision", header)


def test_the_page_on_the_decision_header_tells_all_that_it_can_say() -> None:
    text = (ROOT / "docs/how-to/decision-header.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z]+)` \|", text, flags=re.MULTILINE)
    standings = [str(each) for each in Standing if each is not Standing.ACCEPTED]
    assert rows[:6] == ["task", "rule", "weight", "revision", "commit", "calls"]
    assert sorted(rows[6:]) == sorted(standings)
    assert f"{MAX_BYTES:,} bytes at most" in text
    assert f"more than {MAX_TEXT} characters" in text
    (rule,) = re.findall(r"^\| `rule` .*$", text, flags=re.MULTILINE)
    # A worker answers no request.
    assert sorted(re.findall(r"`([a-z_ ]+)`", rule)[1:]) == sorted(RESERVED - {"worker"})


# -- the tutorial on policies, as a reader does it ----------------------------------------------------------


def test_the_page_on_shadow_policies_shows_what_was_counted_to_people_and_to_metrics(
    open_page: OpenOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_SHADOW_FILE", "shadow.sqlite3")
    monkeypatch.setenv("COLUMNS", "120")
    page = open_page("docs/how-to/shadow-policy.md")
    page.import_all()
    urls = re.findall(r"curl -X POST localhost:8000(\S+)", page.page.read_text(encoding="utf-8"))
    with TestClient(page.modules["app"].app) as client:
        assert {client.post(url).json()["lane"] for url in urls} == {"in_process"}
    shown = next(block.code for block in page.blocks if block.language == "text")
    told = CliRunner().invoke(weighbridge_command, ["policy", "diff"]).stdout
    assert _without_times(told) == _without_times(shown)
    observed = {
        (one.attributes["task"], one.attributes["diverges"]): one.value
        for one in page.modules["metrics"].shadow_calls(None)
    }
    assert observed == {("app.render", True): 3, ("app.notify", False): 3}


def _without_times(text: str) -> list[str]:
    return [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME", line).rstrip() for line in text.splitlines()]


def test_the_tutorial_on_policies_shows_what_a_reader_gets(tmp_path: Path) -> None:
    """Each block in its place: files are written and added to, commands run, and what they say is what is shown."""
    said, address, compared = "", "", 0
    with ExitStack() as stack:
        for block in blocks_of(ROOT / "docs/tutorial/first-policy.md"):
            if block.language == "toml":
                (tmp_path / str(block.title)).write_text(block.code, encoding="utf-8")
            elif block.language == "python" or block.code.startswith("[[example]]"):
                with (tmp_path / (block.title or "ours.toml")).open("a", encoding="utf-8") as file:
                    file.write(f"\n{block.code}")
            elif block.code.startswith("python "):
                said = what_is_said_by(block.code.split()[1], folder=tmp_path)
            elif words := re.fullmatch(r"(?:(\w+)=(\S+) )?(weighbridge policy .*)", block.code.strip()):
                variables = {words[1]: words[2]} if words[1] else {}
                said = what_is_said_by("-m", *shlex.split(words[3]), folder=tmp_path, **variables)
            elif block.code.startswith("weighbridge dev "):
                address, _ = stack.enter_context(development(tmp_path))
            elif block.code.startswith("curl "):
                [(method, path)] = re.findall(r"^curl -X (\w+) localhost:8000(\S+)$", block.code.strip())
            elif block.language == "json":
                # Again, since the service may still be about to reload.
                until(partial(is_answered, method, address + path, json.loads(block.code)))
                compared += 1
            else:
                assert said.endswith(block.code), f"{block.place}: {said}"
                compared += 1
    assert compared == 18


def what_is_said_by(*words: str, folder: Path, **variables: str) -> str:
    """What Python prints with these words, on a terminal of 80 columns, and its traceback; no blank ends a line."""
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return re.sub(r" +$", "", ended.stdout + ended.stderr, flags=re.MULTILINE)


def is_answered(method: str, url: str, answer: object) -> bool:
    try:
        return bool(httpx.request(method, url).json() == answer)
    except httpx.TransportError:
        return False


# -- a development session ----------------------------------------------------------------------------------


@contextmanager
def development(folder: Path, **variables: str) -> Iterator[tuple[str, Callable[..., list[str]]]]:
    """``weighbridge dev app:app`` in ``folder``: its address, and what it has printed so far."""
    output = folder / "dev.log"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "weighbridge", "dev", "app:app", "--port", "0"],
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )

    def lines(*, source: str = "") -> list[str]:
        text = output.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if line.startswith(source)]

    try:
        found: list[str] = []

        def ready() -> bool:
            assert process.poll() is None, "\n".join(lines())
            found[:] = re.findall(r"ready: (http://[\d.]+:\d+)", "\n".join(lines()))
            return bool(found)

        until(ready)
        yield found[0], lines
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it has not happened"
        time.sleep(0.05)
