"""``weighbridge doctor``: what in broker, workers and tasks breaks a promise, for people and for readiness checks."""

from __future__ import annotations

import sys
from typing import Literal

import click

from weighbridge.cli.doctor.patient import Patient, all_of, broker_alone
from weighbridge.cli.doctor.report import print_json, print_text
from weighbridge.lanes.queue.checkup import Examination, Severity, examine, reach

#: The exit codes.
HOLDS, BREAKS, CANNOT_TELL = 0, 1, 2
#: Seconds that each exchange with the broker may take.
TIMEOUT_S = 5.0


@click.command("doctor")
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@click.option("--module", "more", multiple=True, metavar="MODULE", help="One more module; repeatable.")
@click.option("--dispatcher", metavar="MODULE:NAME", help="The dispatcher, if the modules hold several.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.05, max=60),
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="Time that each exchange with the broker may take.",
)
@click.option("--strict", is_flag=True, help="Count as broken what is a warning, or could not be checked.")
@click.option("--ready", is_flag=True, help="Only reach the broker and write to it; imports no module.")
def command(
    modules: tuple[str, ...],
    *,
    more: tuple[str, ...],
    dispatcher: str | None,
    form: Literal["text", "json"],
    timeout_s: float,
    strict: bool,
    ready: bool,
) -> None:
    """Check the broker, the live workers, and the tasks that these MODULEs declare, for what breaks a promise.

    Without a MODULE, those of the setting `modules`; without any, tasks are not compared. The broker is that of the one
    Dispatcher in the modules, or of WEIGHBRIDGE_BROKER_URL. Nothing is changed, but for a key that is written to see
    whether writing works, and that expires within seconds.

    Exit code: 0 all promises hold (there may be warnings), 1 something breaks a promise or no queued call is accepted,
    2 the broker cannot be reached or the configuration cannot work.
    """
    named = (*modules, *more)
    if ready and (named or dispatcher):
        raise click.UsageError("--ready imports no module; leave MODULE, --module and --dispatcher out")
    patient = broker_alone() if ready else all_of(named, dispatcher=dispatcher)
    found = (
        reach(patient.broker, timeout_s=timeout_s)
        if ready
        else examine(patient.broker, app=patient.app, timeout_s=timeout_s)
    )
    status = exit_code(found, strict=strict)
    _print(found, patient, form=form, status=status)
    sys.exit(status)


def exit_code(found: Examination, *, strict: bool) -> int:
    """What the command tells a program."""
    if not found.reached:
        return CANNOT_TELL
    worst = found.worst()
    if worst is Severity.ERROR or (strict and worst is not Severity.OK):
        return BREAKS
    return HOLDS


def _print(found: Examination, patient: Patient, *, form: Literal["text", "json"], status: int) -> None:
    if form == "json":
        print_json(found, patient, status=status)
    else:
        print_text(found, patient)
