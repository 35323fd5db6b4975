"""How dead letters are shown: for people, in a terminal of any width, and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from weighbridge.cli.dead.redaction import HIDDEN, Redaction, arguments_of
from weighbridge.cli.dead.selection import UNITS_S
from weighbridge.cli.printable import printable
from weighbridge.lanes.queue.dead_letters import DeadLetter

#: A letter that is deleted within so many seconds is warned of.
SOON_S: Final = 86_400.0


def as_json(letter: DeadLetter, *, now_s: float, arguments: bool, whole: bool) -> dict[str, Any]:
    """A letter as an object; ``whole``: with its traceback."""
    redaction = Redaction(letter)
    found = arguments_of(letter) if arguments else None
    shown: dict[str, Any] = {
        "id": letter.id,
        "queue": letter.queue,
        "task": letter.task,
        "reason": letter.reason,
        "error": letter.error if arguments else redaction.of(letter.error),
        "attempts": letter.attempts,
        "died_at": datetime.fromtimestamp(letter.died_at_s, UTC).isoformat(timespec="milliseconds"),
        "age_s": round(now_s - letter.died_at_s, 3),
        "kept_for_s": letter.kept_for_s,
        "arguments": None if found is None else {"args": found[0], "kwargs": found[1]},
    }
    if whole:
        trace = letter.traceback
        shown["traceback"] = trace if trace is None or arguments else redaction.of_traceback(trace)
    return shown


def print_list(letters: Sequence[DeadLetter], *, now_s: float, arguments: bool) -> None:
    """Two lines for each letter, so that it can be read in a narrow terminal."""
    console = Console(highlight=False)
    for letter in letters:
        console.print(_head(letter, now_s=now_s), soft_wrap=not console.is_terminal)
        error = letter.error if arguments else Redaction(letter).of(letter.error)
        first, _, more = error.strip().partition("\n")
        where = f"{letter.task or 'no task'} in {letter.queue}"
        line = f"{where}: {first}{' …' if more else ''}" if first else where
        _print_below(console, printable(line))
        if arguments:
            _print_below(console, printable(_arguments(letter)))
    console.print(_footer(letters), soft_wrap=True)


def _print_below(console: Console, line: str) -> None:
    """Indented: wrapped for a person, one line for a program."""
    if console.is_terminal:
        console.print(Padding(Text(line), (0, 0, 0, 2)))
    else:
        console.print(Text(f"  {line}"), soft_wrap=True)


def print_letter(letter: DeadLetter, *, now_s: float, arguments: bool) -> None:
    """All that is known of one letter."""
    console = Console(highlight=False)
    redaction = Redaction(letter)
    error, trace = letter.error, letter.traceback or ""
    if not arguments:
        error, trace = redaction.of(error), redaction.of_traceback(trace)
    died = datetime.fromtimestamp(letter.died_at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    rows = {
        "id": letter.id,
        "task": letter.task or "none",
        "queue": letter.queue,
        "reason": str(letter.reason),
        "attempts": str(letter.attempts),
        "died": f"{died}, {length(now_s - letter.died_at_s)} ago",
        "deleted": f"in {length(letter.kept_for_s)}, unless it is requeued",
        "arguments": _arguments(letter) if arguments else f"{HIDDEN}; --arguments shows them",
        "error": error,
    }
    for name, value in rows.items():
        style = "yellow" if name == "deleted" and letter.kept_for_s < SOON_S else ""
        line = Text.assemble((f"{name:<10}", "bold"), (printable(value), style))
        console.print(line, soft_wrap=True)
    if trace:
        console.print(Text(f"\n{printable(trace.rstrip())}"), soft_wrap=True)


def length(seconds: float) -> str:
    """A length of time by its largest unit and the one below: ``6 d 23 h``."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in reversed(UNITS_S.items()):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def _head(letter: DeadLetter, *, now_s: float) -> Text:
    runs = "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"
    soon = "yellow" if letter.kept_for_s < SOON_S else "dim"
    return Text.assemble(
        (printable(letter.id), "bold"),
        "  ",
        (str(letter.reason), "red"),
        f"  {runs}, {length(now_s - letter.died_at_s)} ago, ",
        (f"kept {length(letter.kept_for_s)} more", soon),
    )


def _footer(letters: Sequence[DeadLetter]) -> Text:
    soon = sum(letter.kept_for_s < SOON_S for letter in letters)
    footer = Text(f"\n{counted(len(letters))}, the latest first.", style="dim")
    if soon:
        footer.append(
            f" {soon} of them will be deleted within a day: requeue what is to run, save what is to be kept.",
            style="not dim yellow",
        )
    return footer


def counted(letters: int) -> str:
    """So many dead letters, in words."""
    return "1 dead letter" if letters == 1 else f"{letters} dead letters"


def _arguments(letter: DeadLetter) -> str:
    found = arguments_of(letter)
    if found is None:
        return f"it is no message: {letter.body!r}"
    args, kwargs = found
    shown = [json.dumps(value, ensure_ascii=False) for value in args]
    shown += [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in kwargs.items()]
    return f"({', '.join(shown)})"
