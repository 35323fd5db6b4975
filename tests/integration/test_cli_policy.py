"""``weighbridge policy``: the real command in a folder with a service's tasks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SHOP = """
from weighbridge import task

@task(weight=200)
def render(report_id: int) -> None: ...

@task(weight=1)
def audit(event: str) -> None: ...
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weighbridge", "policy", *words], capture_output=True, text=True, check=False
    )


def test_a_shipped_policy_is_copied_edited_checked_and_asked(tmp_path: Path) -> None:
    copied = run("show", "by-weight", "--text")
    own = tmp_path / "own.toml"
    own.write_text(copied.stdout.replace("weight >= 50", "weight >= 150"), encoding="utf-8")
    refused = run("check", "own.toml")
    assert refused.returncode == 2
    assert "expected queue, got in_process" in refused.stderr
    own.write_text(copied.stdout, encoding="utf-8")
    checked = run("check", "own.toml", "--module", "shop", "--format", "json")
    assert checked.returncode == 0, checked.stderr
    assert [task["lanes"] for task in json.loads(checked.stdout)["tasks"]] == [["in_process"], ["queue"]]
    explained = run("explain", "shop.audit", "--module", "shop", "--policy", "own.toml", "--weight", "60")
    assert explained.returncode == 0, explained.stderr
    assert explained.stdout.startswith("A call of shop.audit: queue, by rule 'heavy work is queued'")
