"""``weighbridge policy list``, ``show`` and ``schema``: which policies there are, and what is in one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from weighbridge.cli.group import RefusedError
from weighbridge.cli.tasks import LANE_STYLES
from weighbridge.policy import (
    OTHERWISE,
    Policy,
    RulePolicy,
    Unknown,
    load_policy,
    policy_schema,
    render,
    shipped_names,
    source_of,
)
from weighbridge.policy.revision import revision_of
from weighbridge.policy.rule import title_of
from weighbridge.policy.shipped import shipped_text
from weighbridge.settings import Settings

#: The paragraph of a shipped file's header that says for whom the policy is.
_FOR: Final = re.compile(r"^# For: (.*(?:\n# .*)*)", re.MULTILINE)
#: What tells an editor where the schema of a file is, by a path from that file.
_SCHEMA_LINE: Final = re.compile(r"\A#:schema .*\n")


@click.command("list")
def list_policies() -> None:
    """List the policies that come with weighbridge: what each does, and for whom it is.

    The one that the settings name is marked with a star.
    """
    console = Console(highlight=False)
    current = Settings().policy
    for name in shipped_names():
        policy = load_policy(name)
        mark = " *" if name == current else ""
        console.print(Text.assemble((name, "bold"), (mark, "green")))
        described = policy.description if isinstance(policy, RulePolicy) else ""
        for line in (described, f"For {for_whom(shipped_text(name))}"):
            console.print(Padding(Text(line), (0, 0, 0, 2)))
    of = "the policy that the settings name" if current in shipped_names() else f"the settings name {current}"
    console.print(Text(f"\n* {of}" if of.startswith("the policy") else f"\nNone is marked: {of}.", style="dim"))


def for_whom(text: str) -> str:
    """The first sentence of what a shipped file says about whom it is for."""
    found = _FOR.search(text)
    told = " ".join(found[1].replace("\n# ", " ").split()) if found else "whom its file says."
    return re.split(r"(?<=\.)\s", told, maxsplit=1)[0]


@click.command("show")
@click.argument("policy", required=False)
@click.option(
    "--text",
    is_flag=True,
    help="Print the policy's file and nothing else, so that it can be copied; a shipped one without its #:schema line.",
)
def show(policy: str | None, *, text: bool) -> None:
    """Show POLICY: the text of a shipped one, and the rules as a table.

    Without POLICY, the one that the settings name.
    """
    reference = policy or Settings().policy
    found = load_policy(reference)
    if text:
        click.echo(_text_of(found, reference), nl=False)
        return
    if reference in shipped_names():
        click.echo(_copyable(reference))
    console = Console(highlight=False)
    console.print(Text.assemble((source_of(found), "bold"), f", revision {revision_of(found)}"), soft_wrap=True)
    if not isinstance(found, RulePolicy):
        console.print("It is code, and has no rules to show.")
        return
    if found.description:
        console.print(Text(found.description))
    if found.extends:
        console.print(Text(f"It extends {found.extends}, whose rules are tried after its own."))
    console.print()
    console.print(_rules(found))


def _text_of(policy: Policy, reference: str) -> str:
    if reference in shipped_names():
        return _copyable(reference)
    if not isinstance(policy, RulePolicy):
        raise RefusedError(f"{source_of(policy)} is code, and has no file to print")
    file = Path(reference)
    return file.read_text(encoding="utf-8-sig") if file.is_file() else render(policy)


def _copyable(name: str) -> str:
    """The text of a shipped file, less the line that names the schema beside it: beside a copy there is none."""
    return _SCHEMA_LINE.sub("", shipped_text(name))


def _rules(policy: RulePolicy) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("", justify="right")
    table.add_column("rule", overflow="fold", ratio=2)
    table.add_column("lane", no_wrap=True)
    table.add_column("when", overflow="fold", ratio=3)
    for number, rule in enumerate(policy.rules, 1):
        name = f"{rule.name} (of {rule.origin})" if rule.origin else rule.name
        when = f"{rule.when.text}, or unknown" if rule.when.unknown is Unknown.MATCH else rule.when.text
        table.add_row(str(number), Text(name), Text(rule.lane, style=LANE_STYLES[rule.lane]), Text(when))
    lane = policy.otherwise.lane
    last = title_of(OTHERWISE) + (f" (of {policy.otherwise_origin})" if policy.otherwise_origin else "")
    table.add_row("", Text(last), Text(lane, style=LANE_STYLES[lane]), Text("no rule matches"))
    return table


@click.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of policy files, for an editor that completes keys and marks mistakes."""
    click.echo(json.dumps(policy_schema(), indent=2, ensure_ascii=False))
