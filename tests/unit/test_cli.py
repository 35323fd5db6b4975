"""The command line's door: lazy, friendly without its packages, and without tracebacks."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import weighbridge.cli
from weighbridge import __version__
from weighbridge.cli.group import COMMANDS, command


def run(*words: str, code: str = "from weighbridge.cli import main; main()") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_that_is_listed_is_there(name: str) -> None:
    assert isinstance(import_module(f"weighbridge.cli.{name}").command, click.Command)


def test_each_module_with_a_command_is_listed() -> None:
    names = [module.name for module in pkgutil.iter_modules(weighbridge.cli.__path__)]
    with_command = [name for name in names if hasattr(import_module(f"weighbridge.cli.{name}"), "command")]
    assert set(with_command) - {"group"} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_help_page(name: str) -> None:
    result = CliRunner().invoke(command, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_listing_the_commands_imports_none_of_them() -> None:
    code = """
import json, sys
from weighbridge.cli import main
try:
    main()
except SystemExit:
    print(json.dumps(sorted(name for name in sys.modules if name.startswith("weighbridge.cli."))))
"""
    listed = run("--help", code=code).stdout.splitlines()
    assert any(line.strip().startswith("worker") for line in listed)
    assert json.loads(listed[-1]) == ["weighbridge.cli.group"]


def test_without_its_packages_it_says_what_to_install() -> None:
    code = """
import sys, importlib.util
from weighbridge import cli
cli.find_spec = lambda name: None if name == "rich" else importlib.util.find_spec(name)
cli.main()
"""
    ended = run("--help", code=code)
    assert ended.returncode == 2
    assert "rich" in ended.stderr
    assert "pip install 'weighbridge[cli]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"weighbridge {__version__}\n"


def test_a_module_of_the_package_runs_the_same_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "weighbridge", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"weighbridge {__version__}\n"


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(command, ["wroker"])
    assert result.exit_code == 2
    assert "wroker" in result.output


def test_an_error_of_ours_is_its_message_and_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_POLCY", "by-weight")
    result = CliRunner().invoke(command, ["tasks"])
    assert result.exit_code == 2
    assert "did you mean WEIGHBRIDGE_POLICY?" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_traceback_is_shown_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_POLCY", "by-weight")
    ended = run("--traceback", "tasks")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


def test_modules_are_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lone_module.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    script = Path(sys.executable).with_name("weighbridge")
    ended = subprocess.run([script, "tasks", "--module", "lone_module"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "No task is declared in lone_module" in ended.stdout
