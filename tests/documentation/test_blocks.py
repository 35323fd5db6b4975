"""Documented is executed: every code block of every page runs, or is checked by what it is for."""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import click
import pytest
from tests.documentation.blocks import ROOT, Block, blocks_of, pages
from tests.documentation.page import OpenPage

from weighbridge.cli.group import command as weighbridge_command
from weighbridge.policy import parse_policy
from weighbridge.settings import Settings
from weighbridge.settings_fault import PREFIX

#: Blocks that cannot run, by page and reason. Each has the same words in a comment above it.
NOT_RUN = {
    ("docs/how-to/broker.md", "it needs a cluster"),
    ("docs/how-to/deploy.md", "it needs a Kubernetes cluster"),
    ("docs/how-to/observe.md", "it changes classes of the whole process"),
    ("docs/reference/api.md", "a fragment of a docstring"),
}
#: Languages that a reader may copy from, and how their blocks are checked; any other is a mistake.
SHELLS = ("bash", "sh", "console")
SHOWN_ONLY = ("text", "ini")
#: What a shell block may start beside weighbridge itself.
PROGRAMS = {
    ".",
    "cd",
    "curl",
    "export",
    "lint-imports",
    "mypy",
    "pyright",
    "python",
    "redis-cli",
    "ruff",
    "uvicorn",
    "zensical",
}

BLOCKS = [block for page in pages() for block in blocks_of(page)]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def of_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages and block.not_run is None]


@pytest.mark.parametrize("path", sorted({named(block.page) for block in of_language("python", "py")}))
def test_the_python_of_a_page_runs(path: str, open_page: Callable[[str], OpenPage]) -> None:
    page = open_page(path)
    page.import_all()
    page.run_tests()


@pytest.mark.parametrize("block", of_language("toml"), ids=lambda block: block.place)
def test_a_toml_block_is_what_it_shows(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tomllib.loads(block.code)
    if "schema" in table:
        parse_policy(block.code, name="page", source=block.place)
        return
    assert set(table) == {"tool"}, f"{block.place} is neither a policy nor a part of pyproject.toml"
    (tmp_path / "pyproject.toml").write_text(block.code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    for name, value in table["tool"]["weighbridge"].items():
        shown = getattr(settings, name)
        assert (list(shown) if isinstance(value, list) else shown) == value


@pytest.mark.parametrize("block", of_language("json"), ids=lambda block: block.place)
def test_a_json_block_is_json(block: Block) -> None:
    json.loads(block.code)


@pytest.mark.parametrize("block", of_language(*SHELLS), ids=lambda block: block.place)
def test_the_commands_of_a_shell_block_exist(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in commands(block):
        program, *rest = words
        while re.fullmatch(r"[A-Z_]+=.*", program):
            check_variable(program, monkeypatch)
            program, *rest = rest
        if program == "export":
            for assignment in rest:
                check_variable(assignment, monkeypatch)
        elif program == "weighbridge":
            check_command_line(rest)
        else:
            assert program in PROGRAMS, f"{block.place}: {program}"


def test_blocks_that_do_not_run_are_on_the_list() -> None:
    found = {(named(block.page), block.not_run) for block in BLOCKS if block.not_run is not None}
    assert found == NOT_RUN


def test_every_block_says_what_it_is() -> None:
    known = {"python", "toml", "json", *SHELLS, *SHOWN_ONLY}
    assert [block.place for block in BLOCKS if block.language not in known and block.not_run is None] == []


def test_variables_and_commands_named_in_prose_exist() -> None:
    names = {PREFIX + name.upper() for name in Settings.model_fields}
    commands_known = set(cast("click.Group", weighbridge_command).list_commands(click.Context(weighbridge_command)))
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for variable in re.findall(rf"\b{PREFIX}[A-Z_]+", text):
            assert variable in names, f"{named(page)}: {variable}"
        for name in re.findall(r"`weighbridge ([a-z]+)", text):
            assert name in commands_known, f"{named(page)}: weighbridge {name}"


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a shell block, as words."""
    prompt = "$ " if block.language == "console" else ""
    text = block.code.replace("\\\n", " ")
    for line in text.splitlines():
        if not line.startswith(prompt):
            continue  # what a console block shows as output
        words = shlex.split(line.removeprefix(prompt), comments=True)
        simple: list[str] = []
        for word in [*words, "&&"]:
            if word in ("&&", "|", ";"):
                if simple:
                    yield simple
                simple = []
            else:
                simple.append(word)


def check_variable(assignment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, value = assignment.partition("=")
    if name.startswith(PREFIX):
        with monkeypatch.context() as context:
            context.setitem(os.environ, name, value)
            Settings()


def check_command_line(words: list[str]) -> None:
    """Parse it with the real commands, without running any."""
    name, *arguments = words
    context = click.Context(weighbridge_command)
    command = cast("click.Group", weighbridge_command).get_command(context, name)
    assert command is not None, f"there is no command {name!r}"
    while isinstance(command, click.Group) and arguments:
        context = click.Context(command, info_name=name, parent=context)
        name, *arguments = arguments
        below = command.get_command(context, name)
        assert below is not None, f"there is no command {name!r}"
        command = below
    command.make_context(name, arguments, parent=context)
