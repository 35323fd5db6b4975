"""``weighbridge worker``: the command around the supervisor of worker processes."""

from __future__ import annotations

import sys

import click

from weighbridge.worker import available_cpus, supervise
from weighbridge.worker.logs import log_to_stderr
from weighbridge.worker.plan import DEFAULT_THREADS, HEAVY_THREADS
from weighbridge.worker.supervisor import DEFAULT_GRACE_S


@click.command("worker")
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="Worker processes. With two or more, heavy queues get processes of their own, unless --queue is given.  "
    f"[default: one for each CPU of this process, here {available_cpus()}; one more if there are heavy queues]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads in each process: the calls that it runs at one time.  "
    f"[default: {DEFAULT_THREADS}; {HEAVY_THREADS} in processes for heavy queues]",
)
@click.option(
    "--queue", "queues", multiple=True, help="Work on this queue only, in all processes; repeatable.  [default: all]"
)
@click.option("--dispatcher", metavar="MODULE:NAME", help="The dispatcher to work for, if the modules hold several.")
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(min=1),
    default=DEFAULT_GRACE_S,
    show_default=True,
    metavar="SECONDS",
    help="Time that running calls get when the worker stops.",
)
def command(
    modules: tuple[str, ...],
    *,
    processes: int | None,
    threads: int | None,
    queues: tuple[str, ...],
    dispatcher: str | None,
    grace_s: float,
) -> None:
    """Run the queued calls of the tasks that these MODULEs declare.

    Without a MODULE, those of the setting `modules`. The broker is that of the one Dispatcher in the
    modules, or of WEIGHBRIDGE_BROKER_URL. A worker process that dies is replaced. SIGTERM or Ctrl-C stops:
    running calls finish, waiting ones stay in the queue. Exit code: 0 stopped cleanly, 1 something was cut
    off, 2 cannot work as configured.
    """
    log_to_stderr()
    sys.exit(
        supervise(
            modules=modules,
            dispatcher=dispatcher,
            queues=queues,
            processes=processes,
            threads=threads,
            grace_s=grace_s,
        )
    )
