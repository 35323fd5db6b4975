"""The stops that are measured: a server, its options, what it is sent, and what its operator has to know."""

from __future__ import annotations

from dataclasses import dataclass
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals
from typing import Final

from tests.shutdown.work import LIFESPAN_ENDING

#: What uvicorn says when it waits for open connections, before it asks the lifespan to end.
UVICORN_WAITS: Final = "Waiting for connections to close"

#: What uvicorn says when a process of it has ended.
UVICORN_ENDED: Final = "Finished server process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One way in which one server is stopped.

    :param distribution: What is installed for it.
    :param command: The words after ``python -m``; ``{app}`` and ``{port}`` are filled in.
    :param workers: Its processes that serve.
    :param lopsided: One of its processes gets all requests.
    :param streams: Streaming requests that are open when it is stopped; each streams ``stream_s`` seconds.
    :param ignores_sigterm: The service ignores SIGTERM in each process that serves, as its lifespan begins.
    :param then: Further signals: each once the text before it was logged.
    :param orderly: Whether each accepted call must be finished, run by a worker or reported.
    :param advice: What to set, for this server and this way.
    """

    name: str
    title: str
    distribution: str
    command: tuple[str, ...]
    workers: int = 1
    lopsided: bool = False
    streams: int = 0
    stream_s: float = 3.0
    ignores_sigterm: bool = False
    signal: Signals = SIGTERM
    then: tuple[tuple[str, Signals], ...] = ()
    orderly: bool = True
    advice: str


UVICORN: Final = ("uvicorn", "{app}", "--host", "127.0.0.1", "--port", "{port}", "--no-access-log")
GUNICORN: Final = ("gunicorn", "{app}", "--bind", "127.0.0.1:{port}", "--no-control-socket")
UVICORN_WORKER: Final = ("--worker-class", "uvicorn_worker.UvicornWorker")
HYPERCORN: Final = ("hypercorn", "{app}", "--bind", "127.0.0.1:{port}")
GRANIAN: Final = ("granian", "--interface", "asgi", "{app}", "--host", "127.0.0.1", "--port", "{port}")

STOPS: Final = (
    Stop(
        name="uvicorn",
        title="`uvicorn`: SIGTERM",
        distribution="uvicorn",
        command=UVICORN,
        advice="`--timeout-graceful-shutdown`: without it, it waits for open requests without end",
    ),
    Stop(
        name="uvicorn-timeout",
        title="`uvicorn --timeout-graceful-shutdown 1`: SIGTERM",
        distribution="uvicorn",
        command=(*UVICORN, "--timeout-graceful-shutdown", "1"),
        advice="nothing more; the timeout is for requests, and the drain comes after it",
    ),
    Stop(
        name="uvicorn-workers",
        title="`uvicorn --workers 2`: SIGTERM to the parent",
        distribution="uvicorn",
        command=(*UVICORN, "--workers", "2"),
        workers=2,
        advice="nothing to set",
    ),
    Stop(
        name="uvicorn-streams",
        title="`uvicorn`, 20 streaming responses open: SIGTERM",
        distribution="uvicorn",
        command=UVICORN,
        streams=20,
        advice="a bound for requests, as above: these streams ended by themselves, and one that does not is waited for",
    ),
    Stop(
        name="uvicorn-timeout-streams",
        title="`uvicorn --timeout-graceful-shutdown 1`, 20 streaming responses open: SIGTERM",
        distribution="uvicorn",
        command=(*UVICORN, "--timeout-graceful-shutdown", "1"),
        streams=20,
        advice="a timeout longer than the longest stream",
    ),
    Stop(
        name="uvicorn-sigterm-twice",
        title="`uvicorn`: SIGTERM, and again during the drain",
        distribution="uvicorn",
        command=UVICORN,
        then=((LIFESPAN_ENDING, SIGTERM),),
        advice="nothing to set; a second SIGTERM changes nothing",
    ),
    Stop(
        name="uvicorn-sigint-in-drain",
        title="`uvicorn`: SIGINT (Ctrl-C), and again during the drain",
        distribution="uvicorn",
        command=UVICORN,
        signal=SIGINT,
        then=((LIFESPAN_ENDING, SIGINT),),
        advice="nothing to set; once the drain has begun, it ends",
    ),
    Stop(
        name="uvicorn-sigint-twice",
        title="`uvicorn`, 20 streaming responses open: SIGINT (Ctrl-C) twice",
        distribution="uvicorn",
        command=UVICORN,
        streams=20,
        signal=SIGINT,
        then=((UVICORN_WAITS, SIGINT),),
        advice="one signal, then patience: the second ends requests and running async calls, and the drain still runs",
    ),
    Stop(
        name="gunicorn",
        title="`gunicorn --worker-class uvicorn_worker.UvicornWorker --workers 2`: SIGTERM to the master",
        distribution="gunicorn",
        command=(*GUNICORN, *UVICORN_WORKER, "--workers", "2"),
        workers=2,
        advice="`--graceful-timeout` (default: 30 s) longer than requests and drain together",
    ),
    Stop(
        name="gunicorn-short",
        title="the same with `--graceful-timeout 2`, shorter than the drain",
        distribution="gunicorn",
        command=(*GUNICORN, *UVICORN_WORKER, "--workers", "2", "--graceful-timeout", "2"),
        workers=2,
        orderly=False,
        advice="`--graceful-timeout` longer than requests and drain together",
    ),
    Stop(
        name="gunicorn-streams",
        title="`gunicorn --worker-class uvicorn_worker.UvicornWorker --graceful-timeout 5`, 20 streaming responses "
        "open for longer: SIGTERM to the master",
        distribution="gunicorn",
        command=(*GUNICORN, *UVICORN_WORKER, "--graceful-timeout", "5"),
        streams=20,
        stream_s=30.0,
        orderly=False,
        advice="a worker class of your own with `timeout_graceful_shutdown`, or requests take all the time there is",
    ),
    Stop(
        name="gunicorn-streams-mended",
        title="the same, and a worker class with `timeout_graceful_shutdown=1`",
        distribution="gunicorn",
        command=(*GUNICORN, "--worker-class", "tests.shutdown.gunicorn_worker.Worker", "--graceful-timeout", "5"),
        streams=20,
        stream_s=30.0,
        advice="nothing more",
    ),
    Stop(
        name="gunicorn-reload",
        title="`gunicorn --worker-class uvicorn_worker.UvicornWorker`: SIGHUP (reload) to the master, then SIGTERM",
        distribution="gunicorn",
        command=(*GUNICORN, *UVICORN_WORKER),
        signal=SIGHUP,
        then=((UVICORN_ENDED, SIGTERM),),
        advice="`--graceful-timeout` (default: 30 s) longer than requests and drain together",
    ),
    Stop(
        name="gunicorn-asgi",
        title="`gunicorn --worker-class asgi --workers 2`: SIGTERM to the master",
        distribution="gunicorn",
        command=(*GUNICORN, "--worker-class", "asgi", "--workers", "2"),
        workers=2,
        advice="`--graceful-timeout` (default: 30 s) longer than requests and drain together",
    ),
    Stop(
        name="gunicorn-asgi-streams",
        title="`gunicorn --worker-class asgi --graceful-timeout 5`, 20 streaming responses open for longer: SIGTERM "
        "to the master",
        distribution="gunicorn",
        command=(*GUNICORN, "--worker-class", "asgi", "--graceful-timeout", "5"),
        streams=20,
        stream_s=30.0,
        orderly=False,
        advice="no requests that last nearly as long as `--graceful-timeout`: they leave the drain nothing of it",
    ),
    Stop(
        name="hypercorn",
        title="`hypercorn`: SIGTERM",
        distribution="hypercorn",
        command=HYPERCORN,
        advice="nothing to set",
    ),
    Stop(
        name="hypercorn-timeout",
        title="`hypercorn --graceful-timeout 1`: SIGTERM",
        distribution="hypercorn",
        command=(*HYPERCORN, "--graceful-timeout", "1"),
        advice="nothing more; the timeout is for requests",
    ),
    Stop(
        name="hypercorn-short",
        title="`hypercorn` with `shutdown_timeout = 1` in its configuration file, shorter than the drain: SIGTERM",
        distribution="hypercorn",
        command=(*HYPERCORN, "--config", "tests/shutdown/hypercorn.toml"),
        advice="`shutdown_timeout` (60 s) longer than the drain, or running async calls are cancelled",
    ),
    Stop(
        name="hypercorn-workers",
        title="`hypercorn --workers 2`, all calls wait in one of the two: SIGTERM to the parent",
        distribution="hypercorn",
        command=(*HYPERCORN, "--workers", "2"),
        workers=2,
        lopsided=True,
        orderly=False,
        advice="`signal.signal(signal.SIGTERM, signal.SIG_IGN)` in the lifespan, or one worker and more containers",
    ),
    Stop(
        name="hypercorn-workers-mended",
        title="the same, and the service's lifespan ignores SIGTERM",
        distribution="hypercorn",
        command=(*HYPERCORN, "--workers", "2"),
        workers=2,
        lopsided=True,
        ignores_sigterm=True,
        advice="nothing more; hypercorn tells its workers to stop by an event, not by a signal",
    ),
    Stop(
        name="hypercorn-streams",
        title="`hypercorn --graceful-timeout 1`, 20 streaming responses open: SIGTERM",
        distribution="hypercorn",
        command=(*HYPERCORN, "--graceful-timeout", "1"),
        streams=20,
        advice="a timeout longer than the longest stream",
    ),
    Stop(
        name="granian",
        title="`granian --interface asgi`: SIGTERM to the main process",
        distribution="granian",
        command=(*GRANIAN, "--workers", "1"),
        advice="nothing to set",
    ),
    Stop(
        name="granian-workers",
        title="`granian --interface asgi --workers 2`: SIGTERM to the main process",
        distribution="granian",
        command=(*GRANIAN, "--workers", "2"),
        workers=2,
        advice="nothing to set",
    ),
    Stop(
        name="granian-kill",
        title="`granian --interface asgi --workers-kill-timeout 2`, shorter than the drain: SIGTERM to the main one",
        distribution="granian",
        command=(*GRANIAN, "--workers", "1", "--workers-kill-timeout", "2"),
        orderly=False,
        advice="no `--workers-kill-timeout`, or one longer than requests and drain together",
    ),
    Stop(
        name="granian-streams",
        title="`granian --interface asgi`, 20 streaming responses open: SIGTERM to the main process",
        distribution="granian",
        command=(*GRANIAN, "--workers", "1"),
        streams=20,
        advice="a bound for streams in the app: these ended by themselves, and one that does not is waited for",
    ),
    Stop(
        name="uvicorn-sigkill",
        title="`uvicorn`: SIGKILL",
        distribution="uvicorn",
        command=UVICORN,
        signal=SIGKILL,
        orderly=False,
        advice="`durable=True` for what must survive a crash",
    ),
)
