"""A finding: what a checkup found of one thing, how grave it is, which promise it breaks, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How grave a finding is. The strings stand in the command's output."""

    OK = "ok"
    """It holds."""
    UNKNOWN = "unknown"
    """It could not be checked."""
    WARNING = "warning"
    """No promise is broken now, and one could be, or something else is at risk."""
    ERROR = "error"
    """A promise is broken or will be at the next fault, or no queued call is accepted at all."""


class Promise(StrEnum):
    """The promises of the delivery contract that a deployment can break, by their names on that page."""

    RESPONSE = "response"
    """2xx means that the broker has accepted the request's queued calls."""
    QUEUED_CALLS = "queued calls"
    """An accepted call runs at least once, and ends done or as a dead letter with its reason."""
    BOUNDS = "bounds"
    """Everything is bounded, and has an answer when it is full."""
    DEAD_WORKER = "dead worker"
    """The calls of a dead worker are offered again within seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. ``remedy`` is empty where all is well, ``breaks`` where no promise is at stake."""

    check: str
    severity: Severity
    text: str
    breaks: tuple[Promise, ...] = ()
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """It holds."""
    return Finding(check=check, severity=Severity.OK, text=text)


def unknown(check: str, text: str, *, remedy: str) -> Finding:
    """It could not be checked."""
    return Finding(check=check, severity=Severity.UNKNOWN, text=text, remedy=remedy)


def warning(check: str, text: str, *breaks: Promise, remedy: str) -> Finding:
    """It could break these promises."""
    return Finding(check=check, severity=Severity.WARNING, text=text, breaks=breaks, remedy=remedy)


def error(check: str, text: str, *breaks: Promise, remedy: str) -> Finding:
    """It breaks these promises."""
    return Finding(check=check, severity=Severity.ERROR, text=text, breaks=breaks, remedy=remedy)


def count(findings: Iterable[Finding], severity: Severity) -> int:
    """How many findings are of one severity."""
    return sum(each.severity is severity for each in findings)
