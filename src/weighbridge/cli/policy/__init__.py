"""``weighbridge policy``: look at policies, check one against the declared tasks, ask it about a call."""

from __future__ import annotations

import click

from weighbridge.cli.policy.check import check
from weighbridge.cli.policy.diff import diff
from weighbridge.cli.policy.explain import explain_task
from weighbridge.cli.policy.look import list_policies, print_schema, show


@click.group("policy")
def command() -> None:
    """Look at policies; check one against your tasks; ask why a call takes its lane; compare with the shadow policy.

    A POLICY is what the setting takes: a shipped name, a path to a TOML file, or module:object. No task is run, and
    nothing is connected to but by diff, for the counts. Exit code: 0 good, 2 refused.
    """


for each in (list_policies, show, print_schema, check, explain_task, diff):
    command.add_command(each)
