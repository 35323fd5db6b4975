"""One command over a pooled connection, on a real server: as redis-py would, without what it does around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from weighbridge.lanes.queue.exchange import exchange, run_script


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def test_the_reply_is_read_as_redis_py_reads_it(client: redis.Redis) -> None:
    assert exchange(client, "PING") is client.ping() is True


def test_a_script_that_the_server_has_forgotten_is_given_to_it_again(client: redis.Redis) -> None:
    script = client.register_script("return {KEYS[1], ARGV[1]}")
    client.script_flush()

    assert run_script(script, ["key"], ["argument"]) == [b"key", b"argument"]


def test_a_refusal_is_raised_and_the_connection_goes_on(client: redis.Redis) -> None:
    client.set("exchange", "text")
    number = client.client_id()

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        exchange(client, "LPUSH", "exchange", "x")

    assert client.client_id() == number


def test_a_late_reply_does_not_meet_the_next_command(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, socket_timeout=0.05) as client:
        with pytest.raises(redis.TimeoutError):
            exchange(client, "BLPOP", "exchange:nothing", 0.2)

        assert exchange(client, "ECHO", "the next one") == b"the next one"


def test_what_interrupts_the_wait_closes_the_connection(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interruption(BaseException):
        pass

    def interrupted(*args: object, **kwargs: object) -> None:
        raise Interruption

    number = client.client_id()
    with monkeypatch.context() as patch:
        patch.setattr(client, "parse_response", interrupted)  # the command is sent, and its reply is on the way
        with pytest.raises(Interruption):
            exchange(client, "ECHO", "unread")

    assert exchange(client, "ECHO", "the next one") == b"the next one"
    assert client.client_id() != number


def test_a_dead_connection_is_made_anew(client: redis.Redis, redis_url: str) -> None:
    number = client.client_id()
    with redis.Redis.from_url(redis_url) as other:
        assert other.client_kill_filter(_id=str(number)) == 1

    assert exchange(client, "PING") is True


def test_a_client_with_one_connection_of_its_own_is_asked_over_that(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, single_connection_client=True) as client:
        assert exchange(client, "CLIENT", "ID") == client.client_id()
