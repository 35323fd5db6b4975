"""``weighbridge dead``: look at dead letters, put them back into their queue, or delete them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import click
import redis

from weighbridge.cli.dead.display import as_json, counted, print_letter, print_list
from weighbridge.cli.dead.selection import filters, selection
from weighbridge.cli.group import RefusedError
from weighbridge.cli.printable import printable
from weighbridge.errors import BrokerError, BrokerNotConfiguredError, DeadLetterNotFoundError
from weighbridge.lanes.queue import connect, describe
from weighbridge.lanes.queue.dead_letters import DeadLetter, DeadLetters
from weighbridge.lanes.queue.failure import broker_error, unreached
from weighbridge.lanes.queue.permissions import OPERATOR
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.settings import Settings

Form = Literal["text", "json"]

#: Seconds for one exchange with the broker. Nobody's request waits here, and a list may be long.
TIMEOUT_S: Final = 30.0
NOT_ALL_DONE: Final = 1

_form = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs.",
)
_arguments = click.option(
    "--arguments", is_flag=True, help="Show the arguments' values, in errors and tracebacks too. Default: hidden."
)
_all = click.option("--all", "everything", is_flag=True, help="All that the filters let through, instead of IDs.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group("dead")
def command() -> None:
    """Look at dead letters: queued calls that ended without success; requeue or delete them.

    They are those of WEIGHBRIDGE_BROKER_URL and WEIGHBRIDGE_NAMESPACE (or of pyproject.toml). No module of yours is
    imported. Exit code: 0 done, 1 a letter is not there (any more), or you answered no, 2 refused, or the broker
    does not answer.
    """


@command.command("list")
@filters
@_arguments
@_form
def list_letters(*, arguments: bool, form: Form, **asked: Any) -> None:
    """List dead letters, the latest first.

    Of each: id, reason, attempts, age, task, error, and how long it is still kept. Letters that will be deleted within
    a day are warned of.
    """
    with _letters() as letters:
        now_s = letters.now_s()
        found = selection(**asked).of(letters.list(), now_s=now_s)
    if form == "json":
        click.echo(
            json.dumps([as_json(each, now_s=now_s, arguments=arguments, whole=False) for each in found], indent=2)
        )
    elif found:
        print_list(found, now_s=now_s, arguments=arguments)
    else:
        click.echo("No dead letter.")


@command.command("show")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@_arguments
@_form
def show_letters(*, ids: tuple[str, ...], arguments: bool, form: Form) -> None:
    """Show dead letters with their last error and its traceback.

    The values of arguments are hidden, in the text of errors and tracebacks as far as they stand there as they stood in
    the message: what a task has made of a value cannot be told from other text.
    """
    with _letters() as letters:
        now_s = letters.now_s()
        found = _each(ids, letters.get)
    if form == "json":
        click.echo(
            json.dumps([as_json(each, now_s=now_s, arguments=arguments, whole=True) for each in found], indent=2)
        )
    else:
        for number, letter in enumerate(found):
            if number:
                click.echo()
            print_letter(letter, now_s=now_s, arguments=arguments)
    _end(len(found), of=len(ids))


@command.command("requeue")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filters
@_all
@_yes
def requeue_letters(*, ids: tuple[str, ...], everything: bool, yes: bool, **asked: Any) -> None:
    """Put dead letters back into their queue.

    Each keeps its id; its retries and its age begin anew. Name them, or take `--all` that the filters let through.
    Letters go back in the order in which they died.
    """
    _settle("requeue", "requeued", ids=ids, everything=everything, yes=yes, asked=asked)


@command.command("delete")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filters
@_all
@_yes
def delete_letters(*, ids: tuple[str, ...], everything: bool, yes: bool, **asked: Any) -> None:
    """Delete dead letters for good.

    Name them, or take `--all` that the filters let through.
    """
    _settle("delete", "deleted", ids=ids, everything=everything, yes=yes, asked=asked)


def _settle(
    verb: Literal["requeue", "delete"],
    done: str,
    *,
    ids: tuple[str, ...],
    everything: bool,
    yes: bool,
    asked: dict[str, Any],
) -> None:
    chosen = selection(**asked)
    if bool(ids) == everything:
        raise RefusedError(f"say what to {verb}: ids, or --all (with filters, if not all letters are meant)")
    if ids and not chosen.is_empty:
        raise RefusedError("filters go with --all, not with ids")
    with _letters() as letters:
        if everything:
            ids = tuple(letter.id for letter in reversed(chosen.of(letters.list(), now_s=letters.now_s())))
            if not ids:
                click.echo("No dead letter.")
                return
            if not yes:
                _confirm(verb, len(ids))
        settled = _each(ids, letters.requeue) if verb == "requeue" else _each(ids, letters.delete)
    for letter in settled if not everything else ():
        click.echo(printable(f"{done} {letter.id} ({letter.task or 'no task'} in {letter.queue})"))
    if everything:
        click.echo(f"{done} {len(settled)}")
    _end(len(settled), of=len(ids))


def _confirm(verb: str, count: int) -> None:
    if not is_somebody_there():
        raise RefusedError(f"{counted(count)} would be {verb}d, and nobody is there to ask; add --yes to go on")
    if not click.confirm(f"{verb.capitalize()} {counted(count)}?"):
        raise click.exceptions.Exit(NOT_ALL_DONE)


def is_somebody_there() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty()


def _each(ids: Sequence[str], act: Callable[[str], DeadLetter]) -> list[DeadLetter]:
    """Do it with each; what is not there is said, and the others are done all the same."""
    found: list[DeadLetter] = []
    for letter_id in ids:
        try:
            found.append(act(letter_id))
        except DeadLetterNotFoundError as error:
            click.echo(f"Error: {error}", err=True)
    return found


def _end(count: int, *, of: int) -> None:
    if count < of:
        raise click.exceptions.Exit(NOT_ALL_DONE)


@contextmanager
def _letters() -> Iterator[DeadLetters]:
    settings = Settings()
    if settings.broker_url is None:
        raise BrokerNotConfiguredError(
            problem="dead letters are kept by the broker, and none is configured",
            remedy="set WEIGHBRIDGE_BROKER_URL, as for the worker",
        )
    address = describe(settings.broker_url)
    broker = connect(settings.broker_url, namespace=settings.namespace, timeout_s=TIMEOUT_S)
    if not isinstance(broker, StreamsBroker):
        raise BrokerError(
            broker=address,
            problem="keeps no dead letters that weighbridge could read: with RabbitMQ they lie in Dramatiq's queues "
            "whose names end in .XQ (default.XQ), without a reason",
            remedy="look at them with RabbitMQ's own management page, or `rabbitmqadmin get queue=default.XQ`",
        )
    try:
        yield DeadLetters(broker.client, settings.namespace)
    except redis.RedisError as error:
        if isinstance(error, redis.exceptions.NoPermissionError):
            problem = f"does not let this user look at dead letters ({error})"
            raise BrokerError(broker=address, problem=problem, remedy=OPERATOR) from error
        raise broker_error(unreached(error, address=address), address=address) from error
    finally:
        broker.client.close()
