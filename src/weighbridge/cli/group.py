"""The group of commands: each a module of this package, imported only when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import IO, Any, Final, cast

import click

from weighbridge._version import __version__
from weighbridge.errors import WeighbridgeError
from weighbridge.worker.modules import explained

#: Each command is the object ``command`` in the module of this package of that name. The one-line help stands
#: here, so that listing the commands imports none of them.
COMMANDS: Final = {
    "demo": "The whole thing on real input in half a minute; no server needed.",
    "dev": "Run an app for development: a server, the app with reload, a worker.",
    "worker": "Run the queued calls of the tasks in these modules.",
    "dead": "List, show, requeue or delete dead letters.",
    "doctor": "Check broker, workers and tasks for what breaks a promise.",
    "policy": "List, show or check policies; explain why a call takes its lane; compare with a shadow.",
    "tasks": "List the tasks: weight, constraint, and their lane by the policy.",
}


class RefusedError(click.ClickException):
    """What weighbridge refuses: its message, and no traceback. Exit code 2, as for a wrong option."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message on stderr."""
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {self.message}", file=file, err=file is None)


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for it, and prints our errors as one paragraph."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The names, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", import_module(f"weighbridge.cli.{cmd_name}").command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our errors become :class:`RefusedError` unless a traceback was asked for."""
        try:
            return super().invoke(ctx)
        except WeighbridgeError as error:
            if ctx.params.get("traceback"):
                raise
            raise RefusedError(explained(error)) from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings are arguments, WEIGHBRIDGE_* variables, or [tool.weighbridge] in pyproject.toml.",
)
@click.version_option(__version__, "--version", message="weighbridge %(version)s")
@click.option("--traceback", is_flag=True, help="Show where an error of weighbridge was raised.")
def command(traceback: bool) -> None:  # noqa: FBT001  # click passes it; LazyGroup.invoke reads it
    """FastAPI background tasks that land where they belong: in process, or on a Dramatiq queue."""
