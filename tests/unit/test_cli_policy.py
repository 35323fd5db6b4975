"""``weighbridge policy``: which there are, what one does with the tasks, and why a call takes its lane."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from weighbridge.cli.group import command
from weighbridge.cli.policy.look import for_whom
from weighbridge.policy import policy_schema, shipped_names
from weighbridge.policy.shipped import shipped_text

SHOP = """
from typing import Any

from weighbridge import Decision, Lane, Weight, task

@task(weight=Weight.LIGHT)
def audit(event: str) -> None: ...

@task(weight=200, tags=("pdf",))
def render(report_id: int) -> None: ...

@task(shares_memory=True, weight=100)
def warm(key: str) -> None: ...

@task(durable=True)
async def charge(order_id: int) -> None: ...

@task(weight=lambda rows: len(rows), on_unavailable="run_here")
def import_rows(rows: list[int]) -> None: ...

class ByNight:
    reads = frozenset({"weight", "loop.lag_ms"})

    def decide(self, facts: Any) -> Decision:
        return Decision(Lane.QUEUE, "it is night", "night")

class Fails:
    default_lane = Lane.QUEUE
    reads = frozenset({"weight"})

    def decide(self, facts: Any) -> Decision:
        if facts.name.startswith("policy_shop."):
            raise KeyError("threshold")
        return Decision(Lane.IN_PROCESS, "it works", "works")

class FailsForGood(Fails):
    default_lane = None

class ByWaiting:
    reads = frozenset({"weight"})

    def decide(self, facts: Any) -> Decision:
        lane = Lane.QUEUE if facts.in_process.waiting else Lane.IN_PROCESS
        return Decision(lane, "it looks at what it does not read", "waiting")
"""
SCHEMA_LINE = "#:schema policy.schema.json\n"
MINE = """
schema = 1
[[rule]]
name = "many wait"
when = "in_process.waiting >= 8"
lane = "queue"
[[rule]]
name = "mail"
when = "queue == 'mail'"
lane = "queue"
[otherwise]
lane = "in_process"
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_own_tasks: None) -> Iterator[Path]:
    """A folder with a module of five tasks and a policy, in which the command is run."""
    (tmp_path / "policy_shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "mine.toml").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("policy_shop", None)


def run(*words: str, width: int = 200) -> Result:
    return CliRunner().invoke(command, ["policy", *words], env={"COLUMNS": str(width)})


def told(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def as_json(*words: str) -> Any:
    return json.loads(told(*words, "--format", "json"))


def refused(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return result.stderr


# -- list, show, schema -------------------------------------------------------------------------------------


def test_every_shipped_policy_is_listed_with_what_it_does_and_for_whom() -> None:
    listed = told("list")
    assert [line.rstrip(" *") for line in listed.splitlines() if line[:1] not in (" ", "*", "")] == list(
        shipped_names()
    )
    assert "Light work stays in this process; heavy work goes to the queue." in listed
    assert "For a service whose light tasks come in bursts, with workers that have time meanwhile." in listed


@pytest.mark.parametrize("name", shipped_names())
def test_the_header_of_every_shipped_file_says_for_whom_it_is(name: str) -> None:
    sentence = for_whom(shipped_text(name))
    assert sentence.endswith(".")
    assert "file says" not in sentence


def test_the_policy_of_the_settings_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "by-weight *" in told("list")
    monkeypatch.setenv("WEIGHBRIDGE_POLICY", "spill-over")
    assert "spill-over *" in told("list")


def test_where_the_settings_name_another_policy_none_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_POLICY", "mine.toml")
    assert "None is marked: the settings name mine.toml." in told("list")


def test_a_shipped_policy_is_shown_with_its_text_and_its_rules() -> None:
    shown = told("show", "spill-over")
    assert shipped_text("spill-over").removeprefix(SCHEMA_LINE) in shown
    assert "spill-over (shipped), revision " in shown
    assert "2  spill over while this process is busy  queue       in_process.waiting >= 8" in shown
    assert "[otherwise]                            in_process  no rule matches" in shown


def test_without_a_name_the_policy_of_the_settings_is_shown() -> None:
    assert "by-weight (shipped)" in told("show")


def test_a_file_is_shown_by_its_rules() -> None:
    shown = told("show", "mine.toml")
    assert "[[rule]]" not in shown
    assert "many wait" in shown


def test_what_a_file_takes_from_the_policy_that_it_extends_is_told(shop: Path) -> None:
    rule = "[[rule]]\nname = 'late'\nwhen = 'loop.lag_ms > 20'\nunknown = 'match'\nlane = 'queue'\n"
    (shop / "more.toml").write_text(f"schema = 1\nextends = 'by-weight'\n{rule}", encoding="utf-8")
    shown = told("show", "more.toml")
    assert "It extends by-weight" in shown
    assert "loop.lag_ms > 20, or unknown" in shown
    assert "heavy work is queued (of by-weight)" in shown
    assert "[otherwise] (of by-weight)" in shown


@pytest.mark.parametrize("reference", ["by-weight", "mine.toml"])
def test_the_text_alone_can_be_copied(reference: str) -> None:
    expected = MINE if reference == "mine.toml" else shipped_text(reference).removeprefix(SCHEMA_LINE)
    assert told("show", reference, "--text") == expected
    assert "#:schema" not in expected  # there is no schema beside the copy


def test_of_a_policy_in_code_there_is_only_its_name() -> None:
    assert "It is code, and has no rules to show." in told("show", "policy_shop:ByNight")
    assert "is code, and has no file to print" in refused("show", "policy_shop:ByNight", "--text")


def test_the_schema_is_printed() -> None:
    assert json.loads(told("schema")) == policy_schema()


# -- check --------------------------------------------------------------------------------------------------


def test_a_policy_can_be_checked_alone() -> None:
    checked = told("check", "by-weight")
    assert "1 rule; its 8 examples hold" in checked
    assert "No module was given (--module), so no task was looked at." in checked


def test_a_policy_that_cannot_be_used_is_refused(shop: Path) -> None:
    (shop / "wrong.toml").write_text(MINE.replace("waiting", "wating"), encoding="utf-8")
    assert "did you mean in_process.waiting?" in refused("check", "wrong.toml")
    assert "there is no such file" in refused("check", "nowhere.toml")


def test_an_example_that_comes_out_otherwise_is_refused(shop: Path) -> None:
    example = "[[example]]\nfacts = { queue = 'mail' }\nlane = 'in_process'\n"
    (shop / "wrong.toml").write_text(MINE + example, encoding="utf-8")
    assert "expected in_process, got queue by rule 'mail'" in refused("check", "wrong.toml")


def test_a_rule_of_the_base_that_never_decides_is_said_to_be_the_bases(shop: Path) -> None:
    rule = "[[rule]]\nname = 'stays'\nwhen = 'weight >= 5'\nlane = 'in_process'\n"
    (shop / "more.toml").write_text(f"schema = 1\nextends = 'by-weight'\n{rule}", encoding="utf-8")
    told_so = (
        "! rule 'heavy work is queued' of by-weight: it never decides: rule 'stays' matches first whenever it would; "
        "it comes from by-weight, so that may be what the file is for; if not, let the file's own rules match less"
    )
    assert told_so in " ".join(told("check", "more.toml").split())
    (finding,) = as_json("check", "more.toml")["findings"]
    assert (finding["rule"], finding["origin"]) == ("heavy work is queued", "by-weight")


@pytest.mark.parametrize(
    ("whens", "matching"),
    [
        (["weight >= 50", "True"], "rule 'rule 1' matches first"),
        (["weight >= 50", "is_async", "weight < 60"], "rules 'rule 0' and 'rule 2' together match first"),
    ],
)
def test_a_last_word_that_no_call_gets_to_is_harmless_and_told(shop: Path, whens: list[str], matching: str) -> None:
    rules = "".join(
        f"[[rule]]\nname = 'rule {number}'\nwhen = '{when}'\nlane = 'queue'\n" for number, when in enumerate(whens)
    )
    (shop / "all.toml").write_text(f"schema = 1\n{rules}[otherwise]\nlane = 'queue'\n", encoding="utf-8")
    (note,) = as_json("check", "all.toml")["notes"]
    assert note == f"[otherwise] never decides: {matching}, whatever the facts are; harmless if that is meant"
    assert as_json("check", "mine.toml")["notes"] == []


def test_each_task_stands_with_the_rules_that_may_decide() -> None:
    tasks = {task["name"]: task for task in as_json("check", "mine.toml", "--module", "policy_shop")["tasks"]}
    audit = tasks["policy_shop.audit"]
    assert audit["lanes"] == ["in_process", "queue"]
    assert audit["decided_by"] == ["many wait", "otherwise"]
    assert audit["depends_on"] == ["in_process.waiting"]


def test_a_task_that_one_rule_decides_about_depends_on_nothing() -> None:
    tasks = {task["name"]: task for task in as_json("check", "--module", "policy_shop")["tasks"]}
    assert tasks["policy_shop.render"]["decided_by"] == ["heavy work is queued"]
    assert tasks["policy_shop.render"]["depends_on"] == []
    assert tasks["policy_shop.audit"]["decided_by"] == ["otherwise"]
    assert tasks["policy_shop.import_rows"]["depends_on"] == ["weight"]


def test_a_rule_that_a_constraint_overrules_is_harmless_and_told() -> None:
    checked = as_json("check", "--module", "policy_shop")
    tasks = {task["name"]: task for task in checked["tasks"]}
    assert tasks["policy_shop.warm"]["decided_by"] == ["shares_memory"]
    assert tasks["policy_shop.warm"]["overruled"] == "rule 'heavy work is queued' would queue it"
    assert tasks["policy_shop.charge"]["overruled"] == "[otherwise] would keep it in process"
    assert any(note.startswith("policy_shop.warm: rule 'heavy work") for note in checked["notes"])
    assert all("a constraint beats every rule" in note for note in checked["notes"] if note.startswith("policy_shop."))


def test_a_rule_that_only_some_calls_meet_could_overrule() -> None:
    tasks = {task["name"]: task for task in as_json("check", "mine.toml", "--module", "policy_shop")["tasks"]}
    assert tasks["policy_shop.warm"]["overruled"] == "rule 'many wait' could queue it"


def test_a_rule_that_decides_about_no_task_is_told() -> None:
    assert "rule 'mail' decides about none of these tasks" in told("check", "mine.toml", "--module", "policy_shop")


def test_a_missing_broker_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "3 tasks could be queued, and no broker is configured here" in told("check", "--module", "policy_shop")
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", "redis://localhost:6379")
    assert "no broker" not in told("check", "--module", "policy_shop")


def app_of(shop: Path, name: str, dispatcher: str) -> str:
    """A module that imports the tasks and holds a dispatcher."""
    text = f"from policy_shop import *\nfrom weighbridge import Dispatcher\nd = Dispatcher({dispatcher})\n"
    (shop / f"{name}.py").write_text(text, encoding="utf-8")
    return name


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_dispatcher_that_could_not_be_opened_without_a_broker_is_refused_after_all_is_told(
    shop: Path, form: str
) -> None:
    app = app_of(shop, f"policy_shop_no_broker_{form}", "policy='by-weight'")
    result = run("check", "--module", app, "--format", form)
    assert result.exit_code == 2
    assert "policy_shop.render" in result.stdout
    assert "3 tasks could be queued, and no broker is configured here" in result.stdout
    assert "Error: task 'policy_shop." in result.stderr
    assert "could be queued, and no broker is configured; " in result.stderr


def test_a_dispatcher_with_a_broker_of_its_own_is_not_refused(shop: Path) -> None:
    app = app_of(shop, "policy_shop_own_broker", "broker=__import__('dramatiq.brokers.stub').brokers.stub.StubBroker()")
    assert "no broker" not in told("check", "--module", app)


def test_a_policy_that_is_given_is_not_refused_for_the_dispatcher_of_another(shop: Path) -> None:
    app = app_of(shop, "policy_shop_other", "policy='all-queued'")
    assert "3 tasks could be queued, and no broker is configured here" in told("check", "by-weight", "--module", app)


def test_the_policy_is_that_of_the_dispatcher_in_the_modules(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", "redis://localhost:6379")
    app_of(shop, "policy_shop_app", "policy='all-queued'")
    assert as_json("check", "--module", "policy_shop_app")["policy"] == "all-queued (shipped)"
    assert as_json("check", "mine.toml", "--module", "policy_shop_app")["policy"] == "mine.toml"


def test_modules_come_from_the_settings_if_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_MODULES", "policy_shop")
    assert "policy_shop.audit" in told("check")


def test_a_policy_in_code_says_what_it_depends_on() -> None:
    checked = as_json("check", "policy_shop:ByNight", "--module", "policy_shop")
    tasks = {task["name"]: task for task in checked["tasks"]}
    assert tasks["policy_shop.render"]["decided_by"] == []
    assert tasks["policy_shop.render"]["depends_on"] == ["loop.lag_ms"]
    assert "its code" in told("check", "policy_shop:ByNight", "--module", "policy_shop")


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(width: int) -> None:
    result = run("check", "mine.toml", "--module", "policy_shop", width=width)
    assert max(len(line) for line in result.stdout.splitlines()) <= width
    assert "either, by" in result.stdout


# -- explain ------------------------------------------------------------------------------------------------


def test_a_call_is_explained_by_the_facts_of_its_declaration() -> None:
    explained = told("explain", "policy_shop.render", "--module", "policy_shop")
    assert explained.startswith("A call of policy_shop.render: queue, by rule 'heavy work is queued'\n")
    assert "weight = 200" in explained
    assert "weight = 49 instead of 200" in explained


def test_facts_can_be_given() -> None:
    words = ("explain", "policy_shop.audit", "--module", "policy_shop", "--policy", "mine.toml")
    assert as_json(*words)["lane"] == "in_process"
    busy = as_json(*words, "--fact", "in_process.waiting=120")
    assert (busy["lane"], busy["rule"]) == ("queue", "many wait")
    assert busy["facts"]["in_process.waiting"] == 120
    assert busy["changes"][0]["values"] == {"in_process.waiting": 7}
    assert as_json(*words, "--fact", 'queue="mail"', "--fact", 'tags=["a"]')["rule"] == "mail"


def test_the_rules_that_were_tried_are_there_for_programs() -> None:
    tried = as_json("explain", "policy_shop.audit", "--module", "policy_shop")["tried"]
    assert tried == [
        {
            "name": "heavy work is queued",
            "lane": "queue",
            "expression": "weight >= 50 or (is_async and weight >= 5)",
            "matched": False,
            "because": "weight is 1",
            "values": {"weight": 1.0, "is_async": False},
        }
    ]


def test_a_computed_weight_has_to_be_given() -> None:
    words = ("explain", "policy_shop.import_rows", "--module", "policy_shop")
    assert "is computed from its arguments; say which: --weight 80" in refused(*words)
    assert as_json(*words, "--weight", "80")["lane"] == "queue"
    assert as_json(*words, "--fact", "weight=3")["lane"] == "in_process"
    assert "drop one" in refused(*words, "--weight", "80", "--fact", "weight=3")


def test_a_task_that_runs_here_in_an_outage_says_so() -> None:
    words = ("explain", "policy_shop.import_rows", "--module", "policy_shop", "--weight")
    assert "on_unavailable='run_here'" in told(*words, "80")
    assert "on_unavailable" not in told(*words, "1")


def test_a_constraint_comes_before_the_policy_which_is_told_too() -> None:
    explained = told("explain", "policy_shop.charge", "--module", "policy_shop")
    assert "queue, by a constraint that no policy overrides: it is declared durable" in explained
    assert "The policy would choose in_process, by [otherwise]; it is not asked." in explained
    assert as_json("explain", "policy_shop.charge", "--module", "policy_shop")["rule"] == "durable"


def test_of_a_policy_in_code_only_the_decision_is_told() -> None:
    words = ("explain", "policy_shop.audit", "--module", "policy_shop", "--policy", "policy_shop:ByNight")
    assert told(*words) == "A call of policy_shop.audit: queue, by rule 'night'\n  it is night\n"


def of_code(name: str, task: str = "policy_shop.audit") -> tuple[str, ...]:
    return "explain", task, "--module", "policy_shop", "--policy", f"policy_shop:{name}"


def test_a_policy_in_code_has_its_revision() -> None:
    assert as_json(*of_code("ByNight"))["revision"] == as_json("check", "policy_shop:ByNight")["revision"] != ""


def test_a_policy_in_code_that_fails_falls_to_its_default_lane_as_in_a_dispatcher() -> None:
    explained = told(*of_code("Fails"))
    assert explained.startswith("A call of policy_shop.audit: queue, by its default lane\n")
    assert "policy policy_shop.Fails failed, so its default lane holds" in explained
    assert "It fails: policy policy_shop.Fails, decide: it raised KeyError: 'threshold'" in explained
    found = as_json(*of_code("Fails"))
    assert (found["lane"], found["rule"]) == ("queue", "default_lane")
    assert found["failure"].startswith("policy policy_shop.Fails, decide: it raised KeyError")


def test_a_policy_in_code_that_fails_without_a_default_lane_is_refused() -> None:
    assert "policy_shop.FailsForGood, decide: it raised KeyError" in refused(*of_code("FailsForGood"))


@pytest.mark.parametrize("name", ["Fails", "FailsForGood"])
def test_a_constraint_holds_whatever_the_policy_fails_with(name: str) -> None:
    assert as_json(*of_code(name, "policy_shop.charge"))["rule"] == "durable"
    kept = told(*of_code(name, "policy_shop.warm"))
    assert kept.startswith("A call of policy_shop.warm: in_process, by a constraint that no policy overrides")
    expected = "would choose queue, by its default lane" if name == "Fails" else "would fail"
    assert f"The policy {expected}; it is not asked." in kept


def test_what_a_policy_in_code_does_not_read_is_left_out_as_in_a_dispatcher() -> None:
    words = (*of_code("ByWaiting"), "--fact", "in_process.waiting=9")
    assert as_json(*words)["lane"] == "in_process"
    assert "does not say that it reads in_process.waiting, so a dispatcher leaves that out" in told(*words)
    assert "does not say" not in told(*of_code("ByWaiting"))


def test_in_an_idle_process_all_threads_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_IN_PROCESS_THREADS", "3")
    words = ("explain", "policy_shop.audit", "--module", "policy_shop", "--policy", "protect-latency")
    assert as_json(*words)["facts"]["in_process.threads_free"] == 3
    assert as_json(*words, "--fact", "in_process.threads_free=0")["facts"]["in_process.threads_free"] == 0


@pytest.mark.parametrize("name", ["audit", "policy_shop.audt", "shop.audit"])
def test_an_unknown_task_is_refused_with_the_one_that_is_meant(name: str) -> None:
    assert "did you mean policy_shop.audit?" in refused("explain", name, "--module", "policy_shop")


def test_a_task_like_no_other_is_refused_with_where_to_look() -> None:
    assert "`weighbridge tasks` lists them" in refused("explain", "zzz", "--module", "policy_shop")


def test_without_a_module_there_is_nothing_to_explain() -> None:
    assert "no module to look at" in refused("explain", "policy_shop.audit")


@pytest.mark.parametrize(
    ("given", "told_so"),
    [
        ("in_process.waitin=3", "did you mean in_process.waiting?"),
        ("in_process.waiting=-3", "give a whole number ≥ 0"),
        ("in_process.waiting", "it has no value; write --fact in_process.waiting=12"),
        ("in_process.waiting=many", "the value is not TOML; write it as in --fact in_process.waiting=12"),
        ("queue=mail", "write it as in --fact queue='\"mail\"'"),
        ("weight=1\nqueue=2", "the value is not TOML"),
        ("weight=" + "9" * 5_000, "the value is not TOML"),
        ("weight=" + "9" * 400, "--fact weight: it is 9999999999999999999999999999999999999999…, which is too large"),
        ("in_process.waiting=1e300", "give a whole number ≥ 0"),
        ("loop.lag_ms=inf", "which is too large; the largest number is 9_007_199_254_740_992"),
        ("weight=nan", "give a number ≥ 0"),
        ("loop=3", "loop has parts; name one of them: loop.lag_ms"),
        ("a.b.c=3", "there is no such fact"),
        ("=3", "there is no such fact"),
    ],
)
def test_a_wrong_fact_is_refused(given: str, told_so: str) -> None:
    assert told_so in refused("explain", "policy_shop.audit", "--module", "policy_shop", "--fact", given)


@pytest.mark.parametrize("again", ["weight=90", " weight = 1"])
def test_a_fact_that_is_given_twice_is_refused(again: str) -> None:
    words = ["explain", "policy_shop.audit", "--module", "policy_shop", "--fact", "weight=1", "--fact", again]
    assert "--fact weight=… is given twice; drop one" in refused(*words)


def test_where_the_policy_is_from_is_said_if_none_was_given(shop: Path) -> None:
    assert "No policy was given" not in run("check", "by-weight").stdout
    assert "No policy was given, so this is the one of the settings." in run("check").stdout
