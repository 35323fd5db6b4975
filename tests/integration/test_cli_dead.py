"""``weighbridge dead``: the real command over a real server and a real worker's dead letters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import dramatiq
import pytest
import redis
from click.testing import CliRunner

from weighbridge.cli.dead.display import length
from weighbridge.cli.group import command
from weighbridge.embedded import EmbeddedServer
from weighbridge.lanes.queue.dead_letters import DeadLetters
from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.lanes.queue.streams import StreamsBroker

SECRET = "card-4929-1608"


class Office:
    """A namespace with three dead letters: two of ``pay`` in queue ``money``, and one of ``print`` in ``default``."""

    def __init__(self, url: str) -> None:
        self.namespace = f"test-{uuid.uuid4().hex}"
        self.client = redis.Redis.from_url(url)
        self.letters = DeadLetters(self.client, self.namespace)
        broker = StreamsBroker(client=self.client, namespace=self.namespace, middleware=default_middleware())

        def pay(card: str, *, cents: int) -> None:
            raise ValueError(f"{card!r} was declined\nfor {cents}\x1b[31m")

        def show(page: str) -> None:
            raise OSError("the printer burns")

        failing = dramatiq.actor(broker=broker, actor_name="shop.pay", queue_name="money", max_retries=0)(pay)
        printing = dramatiq.actor(broker=broker, actor_name="shop.print", max_retries=0)(show)
        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
        worker.start()
        try:
            self.pays = []
            for card, cents in ((SECRET, 1999), ("x", 1)):  # in different milliseconds: within one there is no order
                self.pays.append(failing.send(card, cents=cents).message_id)
                broker.join("money", timeout=10_000)
                time.sleep(0.002)
            self.prints = [printing.send("p").message_id]
            broker.join("default", timeout=10_000)
        finally:
            worker.stop()
            broker.close()

    def ids(self) -> set[str]:
        return {letter.id for letter in self.letters.list()}

    def waiting(self, queue: str) -> list[Any]:
        entries: Any = self.client.xrange(QueueKeys(namespace=self.namespace, queue=queue).stream)
        return [json.loads(fields[b"m"]) for _, fields in entries]

    def put_away(self) -> None:
        for key in self.client.scan_iter(f"{self.namespace}:*"):
            self.client.delete(key)
        self.client.close()


@pytest.fixture
def office(redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    office = Office(redis_server.url)
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", redis_server.url)
    monkeypatch.setenv("WEIGHBRIDGE_NAMESPACE", office.namespace)
    yield office
    office.put_away()


def dead(*words: str, stdin: str | None = None) -> click.testing.Result:
    return CliRunner().invoke(command, ["dead", *words], input=stdin)


# -- list ---------------------------------------------------------------------------------------------------


def test_the_list_says_what_died_why_and_how_long_it_is_kept(office: Office) -> None:
    result = dead("list")
    assert result.exit_code == 0
    first, where = result.output.splitlines()[:2]
    assert first.startswith(f"{office.prints[0]}  failed  1 attempt, 0 s ago, kept 6 d 23 h more")
    assert where == "  shop.print in default: OSError: the printer burns"
    assert "3 dead letters, the latest first." in result.output
    assert "within a day" not in result.output


def test_a_letter_that_is_deleted_within_a_day_is_warned_of(office: Office) -> None:
    key = QueueKeys(namespace=office.namespace, queue="default").letter(office.prints[0])
    office.client.pexpire(key, 3 * 3_600_000 + 59_000)
    result = dead("list")
    assert "kept 3 h more" in result.output
    assert "1 of them will be deleted within a day" in result.output


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ((), "ppr"),
        (("--queue", "money"), "pp"),
        (("--queue", "money", "--queue", "default"), "ppr"),
        (("--task", "shop.print"), "r"),
        (("--reason", "failed"), "ppr"),
        (("--reason", "expired"), ""),
        (("--newer-than", "1h"), "ppr"),
        (("--older-than", "90s"), ""),
        (("--limit", "1"), "r"),
        (("--queue", "money", "--task", "shop.print"), ""),
    ],
)
def test_filters_agree(office: Office, filters: tuple[str, ...], found: str) -> None:
    result = dead("list", "--format", "json", *filters)
    assert sorted(each["task"][5] + each["task"][6] for each in json.loads(result.output)) == sorted(
        {"p": "pa", "r": "pr"}[letter] for letter in found
    )


def test_no_dead_letter_is_said_and_is_an_empty_list_for_programs(office: Office) -> None:
    assert dead("list", "--task", "none").output == "No dead letter.\n"
    assert json.loads(dead("list", "--task", "none", "--format", "json").output) == []


@pytest.mark.parametrize("age", ["7", "soon", "-1d", "1 d"])
def test_an_age_without_a_unit_is_refused(office: Office, age: str) -> None:
    result = dead("list", "--older-than", age)
    assert result.exit_code == 2
    assert "write a number and a unit" in result.output


def test_the_list_can_be_read_in_a_narrow_terminal(office: Office) -> None:
    environment = {**os.environ, "COLUMNS": "40", "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(
        [sys.executable, "-m", "weighbridge", "dead", "list"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert office.ids() == {line.split()[0] for line in result.stdout.splitlines()[:6:2]}, result.stdout


# -- what is hidden -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("words", [("list",), ("show",)])
def test_argument_values_are_hidden_unless_asked_for(office: Office, words: tuple[str, ...], form: str) -> None:
    words = (*words, *(office.pays if words == ("show",) else ()), "--format", form)
    hidden, shown = dead(*words), dead(*words, "--arguments")
    assert SECRET not in hidden.output
    assert "1999" not in hidden.output
    assert "<hidden>" in hidden.output
    assert SECRET in shown.output
    assert "1999" in shown.output


def test_control_characters_do_not_reach_the_terminal(office: Office) -> None:
    for result in (dead("list", "--arguments"), dead("show", *office.pays)):
        assert "\x1b" not in result.output
    assert "\\x1b[31m" in dead("show", *office.pays).output


def test_a_letter_is_shown_with_its_traceback(office: Office) -> None:
    result = dead("show", office.prints[0])
    assert result.exit_code == 0
    assert "reason    failed" in result.output
    assert "arguments <hidden>; --arguments shows them" in result.output
    assert 'raise OSError("the printer burns")' in result.output
    (whole,) = json.loads(dead("show", office.prints[0], "--format", "json", "--arguments").output)
    assert whole["traceback"].rstrip().endswith("OSError: the printer burns")
    assert whole["arguments"] == {"args": ["p"], "kwargs": {}}


def test_what_is_no_message_is_shown_too(office: Office) -> None:
    keys = QueueKeys(namespace=office.namespace, queue="default")
    office.client.hset(keys.letter(office.prints[0]), "body", b"\xff no message")
    result = dead("show", office.prints[0], "--arguments")
    assert r"it is no message: b'\xff no message'" in result.output


# -- requeue and delete -------------------------------------------------------------------------------------


def test_a_requeued_letter_is_in_its_queue_under_its_id(office: Office) -> None:
    result = dead("requeue", office.pays[0])
    assert (result.exit_code, result.output) == (0, f"requeued {office.pays[0]} (shop.pay in money)\n")
    assert [message["message_id"] for message in office.waiting("money")] == [office.pays[0]]
    assert office.ids() == {office.pays[1], *office.prints}


def test_all_that_filters_let_through_is_requeued_in_the_order_of_death(office: Office) -> None:
    result = dead("requeue", "--all", "--queue", "money", "--yes")
    assert (result.exit_code, result.output) == (0, "requeued 2\n")
    assert [message["message_id"] for message in office.waiting("money")] == office.pays
    assert office.ids() == set(office.prints)


@pytest.mark.parametrize("verb", ["requeue", "delete"])
def test_control_characters_of_a_task_that_nobody_has_do_not_reach_the_terminal(office: Office, verb: str) -> None:
    key = QueueKeys(namespace=office.namespace, queue="default").letter(office.prints[0])
    office.client.hset(key, "task", "shop\x1b]0;owned\x07.print")
    result = dead(verb, office.prints[0])
    assert result.output == rf"{verb}d {office.prints[0]} (shop\x1b]0;owned\x07.print in default)" + "\n"


def test_deleted_letters_are_gone(office: Office) -> None:
    assert dead("delete", *office.pays).exit_code == 0
    assert office.ids() == set(office.prints)
    assert dead("delete", "--all", "--yes").output == "deleted 1\n"
    assert office.ids() == set()
    assert office.waiting("money") == office.waiting("default") == []


def test_a_letter_that_is_not_there_is_said_and_the_others_are_done(office: Office) -> None:
    result = dead("requeue", "nothing", office.prints[0])
    assert result.exit_code == 1
    assert "there is no dead letter 'nothing'" in result.output
    assert f"requeued {office.prints[0]}" in result.output
    assert dead("show", "nothing").exit_code == 1


@pytest.mark.parametrize("verb", ["requeue", "delete"])
def test_many_letters_need_a_yes(office: Office, verb: str) -> None:
    result = dead(verb, "--all")
    assert result.exit_code == 2
    assert "add --yes to go on" in result.output
    assert len(office.ids()) == 3


@pytest.mark.parametrize(("answer", "left", "code"), [("n\n", 3, 1), ("y\n", 0, 0)])
def test_a_person_is_asked(office: Office, monkeypatch: pytest.MonkeyPatch, answer: str, left: int, code: int) -> None:
    monkeypatch.setattr("weighbridge.cli.dead.is_somebody_there", lambda: True)
    result = dead("delete", "--all", stdin=answer)
    assert "Delete 3 dead letters?" in result.output
    assert (result.exit_code, len(office.ids())) == (code, left)


@pytest.mark.parametrize("words", [(), ("an-id", "--all"), ("an-id", "--queue", "money"), ("--queue", "money")])
def test_what_is_meant_must_be_said(office: Office, words: tuple[str, ...]) -> None:
    assert dead("delete", *words).exit_code == 2
    assert len(office.ids()) == 3


# -- brokers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (None, "set WEIGHBRIDGE_BROKER_URL, as for the worker"),
        ("amqp://guest:hush-hush@127.0.0.1:5672", "default.XQ"),
        ("redis://user:hush-hush@127.0.0.1:1/0", "connection refused"),
    ],
)
def test_a_broker_without_letters_is_refused_with_what_to_do(
    url: str | None, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if url is not None:
        monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", url)
    result = dead("list")
    assert result.exit_code == 2
    assert says.lower() in result.output.lower()
    assert "hush-hush" not in result.output


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (61, "1 m 1 s"),
        (3600, "1 h"),
        (3_660, "1 h 1 m"),
        (604_799, "6 d 23 h"),
        (-3, "0 s"),
    ],
)
def test_a_length_of_time_is_said_by_two_units(seconds: float, shown: str) -> None:
    assert length(seconds) == shown
