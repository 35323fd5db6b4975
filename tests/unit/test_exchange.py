"""One command over a pooled connection, on a real server: as redis-py would, without what it does around it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from weighbridge.lanes.queue.exchange import Exchange


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def exchange(client: redis.Redis) -> Exchange:
    return Exchange(client)


def test_the_reply_is_read_as_redis_py_reads_it(client: redis.Redis, exchange: Exchange) -> None:
    assert exchange.send("PING") is client.ping() is True


def test_a_script_that_the_server_has_forgotten_is_given_to_it_again(client: redis.Redis, exchange: Exchange) -> None:
    script = client.register_script("return {KEYS[1], ARGV[1]}")
    client.script_flush()

    assert exchange.run(script, ["key"], ["argument"]) == [b"key", b"argument"]


def test_a_connection_is_kept_between_commands_and_lent_to_one_at_a_time(exchange: Exchange) -> None:
    first = exchange.send("CLIENT", "ID")

    assert exchange.send("CLIENT", "ID") == first
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda number: exchange.send("ECHO", number), range(400)))
    assert numbers == [str(number).encode() for number in range(400)]


def test_a_refusal_is_raised_and_gives_all_connections_back(client: redis.Redis, exchange: Exchange) -> None:
    client.set("exchange", "text")
    number = exchange.send("CLIENT", "ID")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        exchange.send("LPUSH", "exchange", "x")

    assert client.client_id() == number, "it is the pool's again, and whole"


def test_a_late_reply_does_not_meet_the_next_command(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, socket_timeout=0.05) as client:
        exchange = Exchange(client)
        with pytest.raises(redis.TimeoutError):
            exchange.send("BLPOP", "exchange:nothing", 0.2)

        assert exchange.send("ECHO", "the next one") == b"the next one"


def test_what_interrupts_the_wait_closes_the_connection(
    client: redis.Redis, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interruption(BaseException):
        pass

    def interrupted(*args: object, **kwargs: object) -> None:
        raise Interruption

    number = exchange.send("CLIENT", "ID")
    with monkeypatch.context() as patch:
        patch.setattr(client, "parse_response", interrupted)  # the command is sent, and its reply is on the way
        with pytest.raises(Interruption):
            exchange.send("ECHO", "unread")

    assert exchange.send("ECHO", "the next one") == b"the next one"
    assert client.client_id() != number


@pytest.mark.parametrize("fresh", [True, False])
def test_a_dead_connection_is_made_anew(
    exchange: Exchange, redis_url: str, monkeypatch: pytest.MonkeyPatch, *, fresh: bool
) -> None:
    number = exchange.send("CLIENT", "ID")
    with redis.Redis.from_url(redis_url) as other:
        assert other.client_kill_filter(_id=str(number)) == 1
    if fresh:  # not looked at: it was used just now
        with pytest.raises(redis.ConnectionError):
            exchange.send("PING")
    else:
        monkeypatch.setattr("weighbridge.lanes.queue.exchange.FRESH_S", -1.0)

    assert exchange.send("PING") is True


def test_a_child_after_a_fork_leaves_the_connections_of_its_parent_alone(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = exchange.send("CLIENT", "ID")
    monkeypatch.setattr("weighbridge.lanes.queue.exchange.os.getpid", lambda: 1)

    assert exchange.send("CLIENT", "ID") != number


def test_a_client_with_one_connection_of_its_own_is_asked_over_that(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, single_connection_client=True) as client:
        assert Exchange(client).send("CLIENT", "ID") == client.client_id()
