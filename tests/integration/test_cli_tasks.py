"""``weighbridge tasks``: what is declared, and the lane that each task takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHOP = """
import socket

from weighbridge import Weight, task

@task(weight=Weight.LIGHT)
def audit(event: str) -> None: ...

@task(weight=200, tags=("pdf",))
def render(report_id: int) -> None: ...

@task(shares_memory=True)
def warm(key: str) -> None: ...

@task(durable=True)
async def charge(order_id: int) -> None: ...

@task(weight=lambda rows: len(rows))
def import_rows(rows: list[int]) -> None: ...

@task
def save(db: socket.socket) -> None: ...
"""

SPILL_OVER = """
schema = 1

[[rule]]
name = "spill over"
when = "weight < 100 and in_process.waiting >= 8"
lane = "queue"

[otherwise]
lane = "in_process"
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weighbridge", "tasks", *words], capture_output=True, text=True, check=False
    )


def rows(*words: str) -> dict[str, dict[str, Any]]:
    ended = run("--module", "shop", "--format", "json", *words)
    assert ended.returncode == 0, ended.stderr
    return {row["name"]: row for row in json.loads(ended.stdout)}


def test_each_task_stands_with_its_lane_by_the_default_policy() -> None:
    lanes = {name: row["lanes"] for name, row in rows().items()}
    assert lanes == {
        "shop.audit": ["in_process"],
        "shop.charge": ["queue"],
        "shop.import_rows": ["in_process", "queue"],
        "shop.render": ["queue"],
        "shop.save": ["in_process"],
        "shop.warm": ["in_process"],
    }


def test_a_constraint_is_named_with_its_reason() -> None:
    found = rows()
    assert {name: row["constraint"] for name, row in found.items() if row["constraint"]} == {
        "shop.charge": "durable",
        "shop.save": "cannot_cross",
        "shop.warm": "shares_memory",
    }
    assert "this process's memory" in found["shop.warm"]["constraint_reason"]


def test_weights_are_numbers_and_a_computed_one_is_none() -> None:
    found = rows()
    assert found["shop.render"]["weight"] == 200
    assert found["shop.import_rows"]["weight"] is None


def test_a_lane_that_depends_on_the_call_says_on_what() -> None:
    assert rows()["shop.import_rows"]["depends_on"] == ["weight"]


def test_a_lane_that_depends_on_load_says_on_what(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "spill.toml").write_text(SPILL_OVER, encoding="utf-8")
    monkeypatch.setenv("WEIGHBRIDGE_POLICY", "spill.toml")
    found = rows()
    assert found["shop.audit"]["lanes"] == ["in_process", "queue"]
    assert found["shop.audit"]["depends_on"] == ["in_process.waiting"]
    assert found["shop.render"]["lanes"] == ["in_process"]


def test_another_policy_gives_other_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_POLICY", "all-in-process")
    lanes = {name: row["lanes"] for name, row in rows().items()}
    assert lanes["shop.render"] == ["in_process"]
    assert lanes["shop.charge"] == ["queue"]


def test_the_table_is_for_people() -> None:
    ended = run("--module", "shop")
    assert ended.returncode == 0
    lines = {line.split()[0]: line.split()[1:] for line in ended.stdout.splitlines() if line.strip()}
    assert lines["shop.render"] == ["200", "ms", "heavy", "queue"]
    assert lines["shop.warm"] == ["0", "ms", "shares", "memory", "in_process"]
    assert lines["shop.import_rows"] == ["computed", "default", "either,", "by", "weight"]
    told = " ".join(ended.stdout.split())
    assert told.endswith("The policy is by-weight (shipped). Functions without @task stay in process; none is listed.")


def test_modules_are_named_as_for_the_worker_or_by_the_option_or_both(shop: Path) -> None:
    (shop / "more.py").write_text("from weighbridge import task\n@task\ndef extra() -> None: ...\n", encoding="utf-8")
    for words in (["shop", "more"], ["--module", "shop", "--module", "more"], ["shop", "--module", "more"]):
        ended = run(*words)
        assert ended.returncode == 0, ended.stderr
        assert "shop.render" in ended.stdout
        assert "more.extra" in ended.stdout


def test_modules_come_from_the_settings_if_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_MODULES", "shop")
    assert "shop.audit" in run().stdout


def test_with_no_module_at_all_it_says_how_to_name_one() -> None:
    ended = run()
    assert ended.returncode == 2
    assert "weighbridge tasks app.tasks" in ended.stderr
    assert "WEIGHBRIDGE_MODULES" in ended.stderr


def test_a_module_that_is_not_there_is_named() -> None:
    ended = run("--module", "shpo")
    assert ended.returncode == 2
    assert "'shpo'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_policy_that_is_not_there_is_said_as_such_with_the_line_that_names_it(shop: Path) -> None:
    (shop / "shop.py").write_text(
        "from weighbridge import Dispatcher\nDispatcher(policy='by-wieght')\n", encoding="utf-8"
    )
    ended = run("--module", "shop")
    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: policy 'by-wieght': ")
    assert f"while module 'shop' was imported ({shop / 'shop.py'}, line 2)" in ended.stderr
    assert "cannot be imported" not in ended.stderr


def test_the_policy_of_a_dispatcher_in_the_module_counts(shop: Path) -> None:
    source = SHOP + "\nfrom weighbridge import Dispatcher\ndispatcher = Dispatcher(policy='all-queued')\n"
    (shop / "shop.py").write_text(source, encoding="utf-8")
    assert rows()["shop.audit"]["lanes"] == ["queue"]
