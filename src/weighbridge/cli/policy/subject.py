"""What a command is about: the modules that declare tasks, and the policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from weighbridge.policy import Policy, load_policy
from weighbridge.settings import Settings
from weighbridge.worker.modules import find_dispatcher, import_modules

module_option = click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="A module that declares tasks; repeatable. Default: those of the setting modules.",
)
dispatcher_option = click.option(
    "--dispatcher", metavar="MODULE:NAME", help="The dispatcher whose policy is meant, if the modules hold several."
)


def form_option(*forms: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--format``; the first form is the default."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="For people, or for programs.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The modules, which are imported, the policy, whether there is a broker, and the threads of an idle process.

    ``found_in`` says where the policy is from, if the command was given none. ``opens``: it is that of a dispatcher in
    the modules, which is opened with it and with the broker that it has, or is refused.
    """

    modules: tuple[str, ...]
    policy: Policy
    has_broker: bool
    threads: int
    found_in: str = ""
    opens: bool = False


def subject_of(modules: Sequence[str], *, policy: str | None, dispatcher: str | None) -> Subject:
    """Import ``modules``, or those of the settings, and find the policy.

    Without ``policy`` it is that of the dispatcher that the modules hold, and of the settings if they hold none.

    :raises WeighbridgeError: if a module cannot be imported, the policy cannot be used, or the settings are wrong.
    """
    settings = Settings()
    modules = tuple(modules) or settings.modules
    imported = import_modules(modules)
    if policy is not None:
        return Subject(
            modules=modules,
            policy=load_policy(policy),
            has_broker=settings.broker_url is not None,
            threads=settings.in_process_threads,
        )
    found, place = find_dispatcher(imported, chosen=dispatcher)
    opens = place != "settings"
    return Subject(
        modules=modules,
        policy=found.policy,
        has_broker=found.has_broker,
        threads=found.settings.in_process_threads,
        found_in=place if opens else "the settings",
        opens=opens,
    )
