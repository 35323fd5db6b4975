"""What a broker's exception means for the calls of a write: certainly not there, or unknown; what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from dramatiq.errors import BrokerConnectionError
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    DataError,
    MasterDownError,
    MaxConnectionsError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from weighbridge.errors import BrokerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why calls were not accepted.

    ``unknown``: they may be in the queue all the same. ``passing``: the same write may succeed a moment
    later. ``own``: calls of this write are at fault, not the broker, so other calls may be accepted.
    """

    problem: str
    unknown: bool
    passing: bool = False
    own: bool = False
    cause: BaseException | None = None

    @property
    def timed_out(self) -> bool:
        """Whether no answer came in time, as opposed to one that refuses."""
        return isinstance(self.cause, TimeoutError | RedisTimeoutError)

    def after(self, earlier: Failure | None) -> Failure:
        """This failure of a repeated write: what was unknown once stays unknown, whatever came after."""
        return replace(self, unknown=True) if earlier is not None and earlier.unknown else self


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """An answer of a server that has not carried out the command. ``text`` follows "the broker at …"."""

    text: str
    passing: bool = False


_ADDRESS: Final = "WEIGHBRIDGE_BROKER_URL"

#: By the code that begins Redis's and Valkey's error replies: https://redis.io/docs/latest/develop/reference/protocol-spec/
_REFUSALS: Final = {
    "NOAUTH": _Refusal(text=f"asks for a password; put one into {_ADDRESS}"),
    "WRONGPASS": _Refusal(text=f"rejects the user or the password; correct them in {_ADDRESS}"),
    "NOPERM": _Refusal(text="does not let this user write; grant its user the commands and the key prefix"),
    "OOM": _Refusal(
        text="is out of memory; raise its maxmemory, or let workers empty the queues (evicting loses calls)"
    ),
    "READONLY": _Refusal(text=f"is a read-only replica; let {_ADDRESS} name the primary", passing=True),
    "LOADING": _Refusal(text="is still loading its data; wait until it has started", passing=True),
    "MISCONF": _Refusal(text="cannot save its data, so it refuses writes; see its log (a full disk, most often)"),
    "NOREPLICAS": _Refusal(text="misses replicas (min-replicas-to-write), so it refuses writes; bring them back"),
    "MASTERDOWN": _Refusal(text="is a replica without its primary; bring the primary back", passing=True),
    "CLUSTERDOWN": _Refusal(text="is a cluster that is down; see CLUSTER INFO", passing=True),
    "TRYAGAIN": _Refusal(text="is a cluster that moves these keys at the moment; wait", passing=True),
    "MOVED": _Refusal(
        text=f"is a node of a cluster, and these keys are on another; add cluster=yes to {_ADDRESS}", passing=True
    ),
    "ASK": _Refusal(text="is a cluster that moves these keys at the moment; wait", passing=True),
    "BUSY": _Refusal(text="is busy with a script; end it (SCRIPT KILL)", passing=True),
}
_NO_DATABASE: Final = _Refusal(text=f"has no database of this number; correct it in {_ADDRESS}")
#: redis-py takes the code off the text of the errors that it has a class for.
_CLASSES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (AuthenticationError, "WRONGPASS"),
    (NoPermissionError, "NOPERM"),
    (OutOfMemoryError, "OOM"),
    (ReadOnlyError, "READONLY"),
    (BusyLoadingError, "LOADING"),
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (TryAgainError, "TRYAGAIN"),
    (MovedError, "MOVED"),
    (AskError, "ASK"),
)
#: Redis 6 wraps the error of a command in a script: "ERR Error running script (…): @user_script:3: -OOM …".
_CODE: Final = re.compile(rf"(?:^|[-\s])({'|'.join(_REFUSALS)})\b")

#: In errors without a code of their own that any other write would meet too: a command that this server does not have.
_OF_THE_SERVER: Final = ("unknown command", "Unknown Redis command")
#: In the answer to a user who may write, and not into these queues: into others they may.
_KEYS: Final = "permissions to access"
#: In the answer to a script that came upon a command which its user may not run: a delay needs another than no delay.
_IN_SCRIPT: Final = "executing the script"


def is_brokers(error: BaseException) -> bool:
    """Whether the exchange with the broker failed, and not something that was given to it."""
    if isinstance(error, DataError):
        return False
    if isinstance(error, RedisError | RedisClusterException | BrokerConnectionError | OSError):
        return True
    return type(error).__module__.partition(".")[0] == "pika"


def broker_error(failure: Failure, *, address: str) -> BrokerError:
    """A failure as what a command or a start reports, where the address stands before the problem."""
    problem, _, remedy = failure.problem.removeprefix(f"the broker at {address} ").partition("; ")
    return BrokerError(broker=address, problem=problem, remedy=remedy or "see the cause, and the broker's log")


def is_wrong_database(error: BaseException) -> bool:
    """Whether the server was reached and has no database of the address's number, so that waiting will not help."""
    return isinstance(error, ResponseError) and "DB index is out of range" in str(error)


def unreached(error: BaseException, *, address: str) -> Failure:
    """The failure of an exchange that came before the write, so nothing was written."""
    refusal = _refusal(error)
    if refusal is not None:
        return Failure(problem=_problem(error, refusal, address), unknown=False, passing=refusal.passing, cause=error)
    problem = f"the broker at {address} cannot be reached ({_shown(error)}); {_remedy(error)}"
    return Failure(problem=problem, unknown=False, passing=True, cause=error)


def _remedy(error: BaseException) -> str:
    """What to do where no exchange has begun. TLS is told by its texts: adapters wrap what Python's ``ssl`` raises."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        return (
            "let it show a certificate for this host name that is trusted here, or name the file of its authority in "
            f"{_ADDRESS}: rediss://…?ssl_ca_certs=/path/ca.pem"
        )
    if "WRONG_VERSION_NUMBER" in text or "wrong version number" in text:
        return f"it does not speak TLS on this port: name its TLS port in {_ADDRESS}, or write redis:// (amqp://)"
    if isinstance(error, RedisTimeoutError) and "connecting" in text:
        return f"start it, or correct {_ADDRESS} (to rediss:// a port without TLS is silent)"
    return f"start it, or correct {_ADDRESS}"


def unwritten(error: BaseException, *, address: str) -> Failure:
    """The failure of a write under way: only an answer that refuses it proves that nothing was written."""
    refusal = _refusal(error)
    if refusal is not None:
        return Failure(
            problem=_problem(error, refusal, address),
            unknown=False,
            passing=refusal.passing,
            own=_KEYS in str(error),
            cause=error,
        )
    if _refuses_the_calls(error):
        problem = f"the broker at {address} answered with an error, after it may have written a part ({_shown(error)})"
        return Failure(problem=problem, unknown=True, own=True, cause=error)
    if is_brokers(error):
        problem = f"the broker at {address} did not confirm the write ({_shown(error)})"
        return Failure(problem=problem, unknown=True, passing=True, cause=error)
    # Text of foreign exceptions may hold argument values, so only their kind is told; the cause has the rest.
    problem = f"the message could not be built or was refused before the write ({type(error).__qualname__})"
    return Failure(problem=problem, unknown=False, own=True, cause=error)


def _refusal(error: BaseException) -> _Refusal | None:
    if type(error) is RedisConnectionError and isinstance(error.__context__, ReadOnlyError):
        error = error.__context__  # redis-py's way, behind Sentinels, of connecting anew after that answer
    text = str(error)
    if isinstance(error, MaxConnectionsError) or (isinstance(error, RedisError) and "max number of clients" in text):
        return _Refusal(text="takes no more connections; raise its maxclients, or max_connections", passing=True)
    if _IN_SCRIPT in text:
        return None  # a permission that is missed in the middle of a script does not undo what came before it
    if isinstance(error, ResponseError) and "unauthenticated" in text:
        return _REFUSALS["NOAUTH"]  # what a long command gets for an answer, in NOAUTH's place
    if is_wrong_database(error):
        return _NO_DATABASE
    for kind, name in _CLASSES:
        if isinstance(error, kind):
            return _REFUSALS["NOAUTH" if "required" in text else name]
    code = _CODE.search(text) if isinstance(error, ResponseError) else None
    return None if code is None else _REFUSALS[code[1]]


def _refuses_the_calls(error: BaseException) -> bool:
    """Whether the server lives, and carried the write out until something in these calls stopped it."""
    if _IN_SCRIPT in str(error):
        return True
    # redis-py's subclasses tell of the server, its users and its cluster.
    return type(error) is ResponseError and not any(text in str(error) for text in _OF_THE_SERVER)


def _problem(error: BaseException, refusal: _Refusal, address: str) -> str:
    return f"the broker at {address} {refusal.text} ({_shown(error)})"


def _shown(error: BaseException) -> str:
    # Dramatiq wraps pika's exceptions, and some of pika's have no text of their own.
    inner = getattr(error, "message", error)
    inner = inner if isinstance(inner, BaseException) else error
    return f"{type(inner).__name__}: {inner}" if str(inner) else type(inner).__name__
