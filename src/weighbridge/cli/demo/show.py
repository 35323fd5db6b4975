"""The demo from beginning to end: start, send, wait, check and show, for each policy in turn."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpx
import redis
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from weighbridge.cli.demo import pages
from weighbridge.cli.demo.account import Journal, settle
from weighbridge.cli.demo.figures import PolicyFigures, measure
from weighbridge.cli.demo.service import Service, service_environment
from weighbridge.cli.demo.traffic import Traffic, plan, send
from weighbridge.cli.group import RefusedError
from weighbridge.embedded import EmbeddedServer, ExternalServer, find_server
from weighbridge.embedded.choice import shown_place
from weighbridge.settings import Settings

#: The policies that are shown, and what each does. The others are compared with the first.
POLICIES: Final = {
    "by-weight": "Light calls stay in the web process, heavy ones are queued.",
    "all-in-process": "Whatever may stay, stays: as with plain BackgroundTasks.",
    "all-queued": "Whatever may be queued, is: as with a task queue alone.",
}
#: Seconds without any new run after which calls that are still missing are given up.
GIVE_UP_S: Final = 15.0
POLL_S: Final = 0.2

#: Told how many requests are answered, and how many of how many accepted calls are done.
Meter = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a run when its web process has ended; the journal may still grow."""

    policy: str
    traffic: Traffic
    web_pid: int
    pieces_counted: int

    def figures(self, journal: Journal) -> PolicyFigures:
        """The figures and the account, by what the journal says now."""
        runs = journal.runs(prefix=self.policy)
        account = settle(self.traffic, runs, web_pid=self.web_pid, pieces_counted=self.pieces_counted)
        return measure(self.policy, self.traffic, runs, account=account, web_pid=self.web_pid, tasks=list(pages.TASKS))


class Show:
    """The whole demo, on one console."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def run(self) -> int:
        """Show it all; the exit code.

        :raises RefusedError: if something that it needs cannot be started.
        """
        started_s = time.monotonic()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weighbridge-demo-")))
            journal = Journal(folder / "runs.jsonl")
            server = _server()
            stack.callback(server.stop)
            namespace = f"weighbridge-demo-{secrets.token_hex(4)}"
            stack.callback(_clear, server, namespace)
            environment = service_environment(broker_url=server.url, namespace=namespace, folder=folder)
            self._console.print(pages.introduction(list(POLICIES), server=_named(server)))
            evidence: list[Evidence] = []
            with Service.worker(environment=environment) as worker:
                for policy in POLICIES:
                    evidence.append(self._show_policy(policy, worker, environment, journal))
                    if evidence[-1].figures(journal).account.faults:
                        break  # what comes after it would prove nothing
            # The worker has ended: what it would have run a second time, it has.
            all_figures = [each.figures(journal) for each in evidence]
        faulty = [figures for figures in all_figures if figures.account.faults]
        if len(all_figures) == len(POLICIES):
            self._console.print(pages.comparison(all_figures))
            self._console.print(pages.farewell(took_s=time.monotonic() - started_s))
        for figures in faulty:
            self._console.print(pages.faults(figures))
        return 1 if faulty else 0

    def _show_policy(self, policy: str, worker: Service, environment: Mapping[str, str], journal: Journal) -> Evidence:
        with Service.web(policy=policy, environment=environment) as web:
            with self._console.status(f"{policy}: starting the service"):
                base_url = web.wait_until_ready()
                worker.wait_until_ready()
            try:
                with httpx.Client(base_url=base_url, trust_env=False) as client:
                    web_pid = int(client.get("/health").json()["pid"])
                    with self._meter(policy) as meter:
                        traffic = anyio.run(_send_and_wait, base_url, policy, journal, meter)
                    counted = sum(client.get("/sales").json().values())
            except httpx.HTTPError as error:
                raise RefusedError(f"the web process does not answer: {error}\n{web.last_words()}") from error
        evidence = Evidence(policy=policy, traffic=traffic, web_pid=web_pid, pieces_counted=counted)
        figures = evidence.figures(journal)
        self._console.print(pages.policy_page(figures, description=POLICIES[policy]))
        if figures.account.faults:
            for service in (web, worker):
                self._console.print(Text(service.last_words()), style="dim", soft_wrap=True)
        return evidence

    @contextmanager
    def _meter(self, policy: str) -> Iterator[Meter]:
        """A bar that vanishes when it is full; a line in a log, which has no use for one."""
        total = len(plan(policy))
        if not self._console.is_terminal:
            self._console.print(f"{policy}: sending {total} requests …")
            yield lambda _answered, _done, _accepted: None
            return
        columns = (
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} requests answered, {task.fields[calls]} calls done"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task(policy, total=total, calls="0/0")
            yield lambda answered, done, accepted: progress.update(bar, completed=answered, calls=f"{done}/{accepted}")


async def _send_and_wait(base_url: str, policy: str, journal: Journal, meter: Meter) -> Traffic:
    """Send the traffic, and wait until every accepted call has run, or no more of them do."""
    traffic = Traffic()
    async with anyio.create_task_group() as group:
        group.start_soon(send, base_url, plan(policy), traffic)
        done, news_s = 0, time.monotonic()
        sent = False
        while not sent or done < len(traffic.calls):
            await anyio.sleep(POLL_S)
            sent = len(traffic.answers) == len(plan(policy))
            found = len(journal.runs(prefix=policy))
            if found > done:
                done, news_s = found, time.monotonic()
            elif sent and time.monotonic() - news_s > GIVE_UP_S:
                break
            accepted = len(traffic.calls)
            meter(len(traffic.answers), min(done, accepted), accepted)  # a run may end before its response is read
    return traffic


def _server() -> EmbeddedServer | ExternalServer:
    broker_url = Settings().broker_url
    if broker_url is not None and urlsplit(broker_url).scheme.startswith("amqp"):
        # RabbitMQ's queues have no namespace, so the demo's worker would take other people's messages.
        raise RefusedError(
            "the demo needs Redis or Valkey, and WEIGHBRIDGE_BROKER_URL names RabbitMQ; "
            "unset it to have a server started for you"
        )
    return find_server(broker_url)


def _named(server: EmbeddedServer | ExternalServer) -> str:
    return server.binary.name if isinstance(server, EmbeddedServer) else shown_place(server.url)


def _clear(server: EmbeddedServer | ExternalServer, namespace: str) -> None:
    """Remove the demo's keys from a server that lives on."""
    if isinstance(server, ExternalServer):
        with redis.Redis.from_url(server.url) as client:
            for key in client.scan_iter(match=f"{namespace}*"):
                client.delete(key)
