"""What an exception of a broker means: certainly not written, or unknown; and what is said about it."""

from __future__ import annotations

import pytest
from dramatiq.errors import ConnectionClosed, QueueNotFound
from pika.exceptions import AMQPConnectionError, NackError  # type: ignore[import-untyped]  # pika has no marker
from redis import exceptions as redis_errors

from weighbridge.lanes.queue.failure import Failure, is_brokers, unreached, unwritten


def lost(error: object) -> ConnectionClosed:
    return ConnectionClosed(error)  # type: ignore[no-untyped-call]  # Dramatiq's


def no_queue(name: str) -> QueueNotFound:
    return QueueNotFound(name)  # type: ignore[no-untyped-call]  # Dramatiq's


ADDRESS = "redis example.org:6379 (database 0)"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (redis_errors.AuthenticationError("Authentication required."), "asks for a password"),
        (redis_errors.ResponseError("Protocol error: unauthenticated multibulk length"), "asks for a password"),
        (redis_errors.AuthenticationError("invalid username-password pair"), "rejects the user or the password"),
        (redis_errors.NoPermissionError("this user has no permissions to run 'evalsha'"), "grant its user"),
        (redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "raise its maxmemory"),
        (redis_errors.ReadOnlyError("You can't write against a read only replica."), "name the primary"),
        (redis_errors.BusyLoadingError("Redis is loading the dataset in memory"), "still loading"),
        (redis_errors.ResponseError("DB index is out of range"), "no database of this number; correct it"),
        (redis_errors.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "cannot save its data"),
        (redis_errors.ResponseError("NOREPLICAS Not enough good replicas to write."), "misses replicas"),
        (redis_errors.ResponseError("BUSY Redis is busy running a script."), "busy with a script"),
        (redis_errors.MasterDownError("Link with MASTER is down"), "without its primary"),
        (redis_errors.ClusterDownError("The cluster is down"), "cluster that is down"),
        (redis_errors.TryAgainError("Multiple keys request during rehashing of slot"), "moves these keys"),
        (redis_errors.MovedError("3999 127.0.0.1:6381"), "add cluster=yes to WEIGHBRIDGE_BROKER_URL"),
        (redis_errors.AskError("3999 127.0.0.1:6381"), "moves these keys"),
        (redis_errors.ConnectionError("max number of clients reached"), "raise its maxclients"),
        (redis_errors.MaxConnectionsError("Too many connections"), "max_connections"),
        (
            redis_errors.ResponseError(
                "ERR Error running script (call to f_0): @user_script:3: -OOM command not allowed"
            ),
            "raise its maxmemory",
        ),
    ],
)
def test_an_answer_that_refuses_proves_that_nothing_was_written(error: Exception, remedy: str) -> None:
    failure = unwritten(error, address=ADDRESS)
    assert not failure.unknown
    assert not failure.own
    assert failure.cause is error
    assert failure.problem.startswith(f"the broker at {ADDRESS} ")
    assert remedy in failure.problem


@pytest.mark.parametrize(
    "error",
    [
        redis_errors.TimeoutError("Timeout reading from socket"),
        redis_errors.ConnectionError("Connection closed by server."),
        redis_errors.ConnectionError("Error 111 connecting to OOM-LOADING.example.org. Connection refused."),
        redis_errors.ResponseError("unknown command 'EVALSHA', with args beginning with: "),
        lost(AMQPConnectionError()),
        lost(NackError([])),
        OSError("Broken pipe"),
    ],
)
def test_without_such_an_answer_the_write_is_unknown(error: Exception) -> None:
    failure = unwritten(error, address=ADDRESS)
    assert failure.unknown
    assert not failure.own


@pytest.mark.parametrize("kind", [redis_errors.NoPermissionError, redis_errors.ResponseError])
def test_a_command_of_the_script_that_the_user_may_not_run_is_the_fault_of_the_calls_that_need_it(
    kind: type[Exception],
) -> None:
    failure = unwritten(kind("The user executing the script can't run this command or subcommand"), address=ADDRESS)
    assert failure.own
    assert failure.unknown
    assert not failure.passing


def test_a_queue_that_the_user_may_not_write_into_refuses_its_calls_and_no_others() -> None:
    error = redis_errors.NoPermissionError("this user has no permissions to access one of the keys used as arguments")
    failure = unwritten(error, address=ADDRESS)
    assert failure.own
    assert not failure.unknown
    assert "grant its user the commands and the key prefix" in failure.problem


@pytest.mark.parametrize(
    "text",
    [
        "ERR something that this version does not know",
        "ERR invalid expire time in 'set' command script: f_0, on @user_script:30.",
        "WRONGTYPE Operation against a key holding the wrong kind of value script: f_0, on @user_script:9.",
    ],
)
def test_an_answer_that_refuses_these_calls_may_leave_some_of_them_and_is_not_worth_a_repetition(text: str) -> None:
    failure = unwritten(redis_errors.ResponseError(text), address=ADDRESS)
    assert failure.own
    assert failure.unknown
    assert not failure.passing
    assert text in failure.problem


@pytest.mark.parametrize("error", [TypeError("Object of type X is not JSON serializable"), no_queue("default")])
def test_a_message_that_cannot_be_built_is_its_own_fault_and_its_values_are_not_told(error: Exception) -> None:
    failure = unwritten(error, address=ADDRESS)
    assert failure.own
    assert not failure.unknown
    assert str(error) not in failure.problem
    assert type(error).__name__ in failure.problem


def test_a_broker_that_was_not_reached_has_written_nothing() -> None:
    failure = unreached(redis_errors.ConnectionError("Connection refused."), address=ADDRESS)
    assert not failure.unknown
    assert failure.problem == (
        f"the broker at {ADDRESS} cannot be reached (ConnectionError: Connection refused.); "
        "start it, or correct WEIGHBRIDGE_BROKER_URL"
    )


def test_the_exception_inside_dramatiqs_wrapper_is_the_one_that_is_told() -> None:
    failure = unreached(lost(AMQPConnectionError("gone")), address="rabbitmq example.org:5672")
    assert "(AMQPConnectionError: gone)" in failure.problem
    assert "(AMQPConnectionError)" in unreached(lost(AMQPConnectionError()), address="x").problem


def test_what_was_unknown_once_stays_unknown() -> None:
    refused = Failure(problem="refused", unknown=False)
    lost = Failure(problem="lost", unknown=True)
    assert refused.after(lost).unknown
    assert not refused.after(refused).unknown
    assert not refused.after(None).unknown


def test_only_exchanges_with_the_broker_are_the_brokers_fault() -> None:
    assert is_brokers(AMQPConnectionError())
    assert is_brokers(redis_errors.RedisClusterException())
    assert not is_brokers(redis_errors.DataError("Invalid input of type: 'dict'."))
    assert not is_brokers(RuntimeError())
