"""Executed is documented: what the code offers has its line in the reference, and the line says what the code says."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
import tomllib

import pytest
from tests.documentation.blocks import ROOT, blocks_of, pages
from tests.documentation.generate import ELSEWHERE, ORDER, PAGES, REFERENCE, public_errors
from tests.documentation.policy_tables import TABLES, with_tables

import weighbridge
from weighbridge.cli.group import COMMANDS
from weighbridge.cli.tasks import Row
from weighbridge.decision import Lane
from weighbridge.load.broker_sampler import BROKER_INTERVAL_S, BROKER_STALE_S
from weighbridge.load.loop_sampler import LOOP_INTERVAL_S, LOOP_STALE_S
from weighbridge.policy import FACTS, shipped_names
from weighbridge.settings import Settings

#: Constants of the same shape that are no events: keys of the ASGI scope, a file.
NOT_EVENTS = {"weighbridge.facade", "weighbridge.collector", "server.log"}


def page(path: str) -> str:
    return (ROOT / "docs" / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_gives(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "run: python -m tests.documentation.generate"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_made_anew_and_the_rest_of_its_page_stays(name: str) -> None:
    text = page("reference/policy-file.md")
    row = TABLES[name][-1]
    assert with_tables(text.replace(row, "| another | row |")) == text
    assert with_tables(f"before\n{text}after\n") == f"before\n{text}after\n"


def test_a_page_without_a_place_for_its_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for the table of facts"):
        with_tables("# Policy file\n")


def test_every_public_name_is_in_the_reference() -> None:
    text = page("reference/api.md")
    for name in weighbridge.__all__:
        assert name in ORDER or name in ELSEWHERE or name == "__version__"
        assert f"## {name}\n" in text or f"- `{name}`:" in text


def test_every_setting_is_in_the_reference() -> None:
    text = page("reference/settings.md")
    assert [name for name in Settings.model_fields if f"| `{name}` |" not in text] == []


def test_every_error_is_in_the_reference() -> None:
    text = page("reference/errors.md")
    assert [cls.__name__ for cls in public_errors() if f"## {cls.__name__}\n" not in text] == []


def test_every_command_is_in_the_reference() -> None:
    text = page("reference/cli.md")
    assert [name for name in COMMANDS if f"## {name}\n" not in text] == []


def test_every_fact_is_in_the_reference() -> None:
    text = page("reference/policy-file.md")
    assert [name for name in FACTS if f"`{name}`" not in text] == []


def test_the_page_on_policies_says_how_often_each_reading_is_taken_and_when_it_is_stale() -> None:
    text = page("concepts/policies.md")
    assert f"| `loop.lag_ms` | every {1_000 * LOOP_INTERVAL_S:g} ms | after {LOOP_STALE_S:g} s:" in text
    assert BROKER_INTERVAL_S == 1
    assert f"| `broker.waiting` | one second after the last | after {BROKER_STALE_S:g} s:" in text


def test_every_shipped_policy_is_in_the_pages() -> None:
    text = page("concepts/policies.md")
    assert [name for name in shipped_names() if f"`{name}`" not in text] == []


def test_every_log_event_is_in_the_pages() -> None:
    text = page("reference/log-events.md") + page("how-to/run-workers.md")
    assert [event for event in log_events() if f"`{event}`" not in text] == []


def test_every_log_event_of_the_pages_exists() -> None:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)`", page("reference/log-events.md"), flags=re.MULTILINE)
    assert set(rows) <= log_events()


def test_every_field_of_the_tasks_in_json_is_in_the_page_on_lanes() -> None:
    shown = page("concepts/lanes.md").partition("| field | type | means |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z_]+)` \|", shown, flags=re.MULTILINE) == [
        field.name for field in dataclasses.fields(Row)
    ]


def test_every_extra_is_in_the_page_on_migrating() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rows = re.findall(r"^\| `([a-z]+)` \|", page("how-to/migrate.md"), flags=re.MULTILINE)
    assert set(rows) == set(project["project"]["optional-dependencies"])


def test_the_wheel_of_the_page_on_migrating_is_of_this_version() -> None:
    assert f"wheels/weighbridge-{weighbridge.__version__}-py3-none-any.whl" in page("how-to/migrate.md")


def test_lanes_and_constraints_are_in_the_glossary() -> None:
    text = page("glossary.md")
    for word in [*Lane, "shares memory", "durable", "cannot cross"]:
        assert word in text


def test_the_glossary_is_in_alphabetical_order_and_says_nothing_twice() -> None:
    words = [re.sub(r"[*`]", "", line.split("|")[1]).strip() for line in page("glossary.md").splitlines()[7:]]
    assert words == sorted(words)
    assert len(words) == len(set(words))


def test_the_floors_of_the_architecture_page_are_those_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    shown = [block.code.split("\n") for block in blocks_of(ROOT / "docs" / "architecture.md")]
    assert any(code[:-1] == layers for code in shown)


def test_no_page_uses_a_word_that_the_glossary_replaces() -> None:
    replaced = re.compile(r"\b(jobs?|verdicts?|receipts?|strateg(?:y|ies)|flush(?:es|ed)?)\b", re.IGNORECASE)
    for each in pages():
        text = each.read_text(encoding="utf-8").replace("flush_all", "").replace("Diátaxis", "")
        assert replaced.findall(text) == [], each.relative_to(ROOT)


def log_events() -> set[str]:
    """The dotted names that the package logs: upper-case constants of its modules."""
    found: set[str] = set()
    for module in pkgutil.walk_packages(weighbridge.__path__, "weighbridge."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if name.isupper() and isinstance(value, str) and re.fullmatch(r"[a-z_]+\.[a-z_]+", value):
                found.add(value)
    return found - NOT_EVENTS
