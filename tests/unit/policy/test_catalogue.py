"""What a reference to a policy means, and what one that means nothing is told."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import PolicyError, PolicyNotFoundError
from weighbridge.policy import RulePolicy, load_policy, shipped_names

WriteModule = Callable[[str], str]

QUEUED = Decision(lane=Lane.QUEUE, reason="always", rule="always")
SHIPPED = ", ".join(shipped_names())
PREAMBLE = "from weighbridge.decision import Decision, Facts, Lane\n"
GOOD = (
    PREAMBLE + "class Always:\n"
    "    def decide(self, facts, /):\n"
    "        return Decision(lane=Lane.QUEUE, reason='always', rule='always')\n"
    "always = Always()\n"
)


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteModule]:
    """Writes a module that can be imported, and says its name."""
    monkeypatch.syspath_prepend(tmp_path)
    numbers = itertools.count()
    names: list[str] = []

    def write(text: str) -> str:
        names.append(f"policies_of_test_{next(numbers)}")
        (tmp_path / f"{names[-1]}.py").write_text(text, encoding="utf-8")
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


def refusal(reference: object) -> str:
    with pytest.raises(PolicyError) as caught:
        load_policy(cast("Any", reference))
    return str(caught.value)


# -- shipped names ------------------------------------------------------------------------------------------


def test_a_shipped_policy_is_loaded_by_its_name() -> None:
    policy = load_policy("by-weight")
    assert isinstance(policy, RulePolicy)
    assert (policy.name, policy.source) == ("by-weight", "by-weight (shipped)")


def test_the_shipped_names_are_in_alphabetical_order() -> None:
    assert list(shipped_names()) == sorted(shipped_names())
    assert set(shipped_names()) == {
        "all-in-process",
        "all-queued",
        "by-weight",
        "durability-first",
        "protect-latency",
        "spill-over",
    }


def test_a_shipped_name_is_no_file_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("by-weight").mkdir()
    Path("by-weight.toml").write_text("not TOML", encoding="utf-8")
    assert load_policy("by-weight").decide(Facts(weight=50.0)).lane is Lane.QUEUE


@pytest.mark.parametrize("name", ["by-wieght", "By-Weight", "by_weight", " by-weight"])
def test_a_misspelt_name_is_told_the_name_that_was_meant(name: str) -> None:
    with pytest.raises(PolicyNotFoundError) as caught:
        load_policy(name)
    assert str(caught.value) == (
        f"policy {name!r}: there is no shipped policy of this name; did you mean by-weight? (shipped are {SHIPPED})"
    )


@pytest.mark.parametrize("name", ["", "nonsense"])
def test_an_unknown_name_is_told_all_that_a_reference_can_be(name: str) -> None:
    with pytest.raises(PolicyNotFoundError) as caught:
        load_policy(name)
    assert str(caught.value) == (
        f"policy {name!r}: there is no shipped policy of this name; "
        f"write a shipped name, a path to a .toml file or module:object; shipped are {SHIPPED}"
    )


def test_a_path_without_its_ending_is_told_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nights.toml").touch()
    assert "for the file here write nights.toml" in refusal("nights")


def test_an_object_with_a_dot_is_told_the_colon() -> None:
    assert "for an object write myservice.policies:always" in refusal("myservice.policies.always")


# -- paths --------------------------------------------------------------------------------------------------

TEXT = "schema = 1\n[otherwise]\nlane = 'queue'\n"


@pytest.mark.parametrize("reference", ["mine.toml", "./mine.toml", "./mine", "sub/mine", Path("mine")])
def test_a_path_means_a_file(reference: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(reference)
    path.parent.mkdir(exist_ok=True)
    path.write_text(TEXT, encoding="utf-8")
    policy = load_policy(reference)
    assert isinstance(policy, RulePolicy)
    assert (policy.name, policy.source) == ("mine", str(path))


def test_a_missing_path_is_not_taken_for_a_name() -> None:
    with pytest.raises(PolicyNotFoundError, match="there is no such file"):
        load_policy("by-weight.toml")


# -- module:object ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["always", "Always", "make", "holder.always"])
def test_an_object_a_class_or_a_factory_means_a_policy(name: str, write_module: WriteModule) -> None:
    module = write_module(GOOD + "def make():\n    return Always()\nclass holder:\n    always = Always()\n")
    assert load_policy(f"{module}:{name}").decide(Facts()) == QUEUED


def test_a_policy_of_rules_can_be_named_as_an_object(write_module: WriteModule) -> None:
    module = write_module("from weighbridge.policy import load_policy\nmine = load_policy('all-queued')\n")
    assert load_policy(f"{module}:mine") == load_policy("all-queued")


@pytest.mark.parametrize("reference", ["a:b:c", ":b", "b:", ".b:c", "a b:c", "a:b()"])
def test_a_malformed_reference_is_told_the_form(reference: str) -> None:
    assert refusal(reference) == (
        f"policy {reference!r}: it is not of the form module:object; write it as in myservice.policies:by_night"
    )


@pytest.mark.parametrize(
    ("reference", "missing"), [("nowhere:x", "nowhere"), ("weighbridge.policies.x:y", "weighbridge.policies")]
)
def test_a_missing_module_is_named(reference: str, missing: str) -> None:
    with pytest.raises(PolicyNotFoundError) as caught:
        load_policy(reference)
    assert str(caught.value) == (
        f"policy {reference}: there is no module {missing!r}; start where it can be imported, or install it"
    )


def test_a_missing_object_is_told_the_one_that_was_meant(write_module: WriteModule) -> None:
    module = write_module(GOOD)
    with pytest.raises(PolicyNotFoundError) as caught:
        load_policy(f"{module}:alway")
    assert str(caught.value) == f"policy {module}:alway: {module} has no 'alway'; did you mean always?"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_fails_is_told_why(text: str, cause: str, write_module: WriteModule) -> None:
    module = write_module(text)
    reference = f"{module}:x"
    assert refusal(reference) == f"policy {reference}: importing {module!r} raised {cause}; correct the module"


NEEDS_A_DECIDE = "name an object with a method decide(facts), or a class or function that makes one"

NO_POLICIES = {
    "a number": ("x = 5\n", ": it is 5, and no policy; " + NEEDS_A_DECIDE),
    "an async factory": ("async def x(): ...\n", ": it is an async function, and no policy; " + NEEDS_A_DECIDE),
    "a factory of something else": (
        "def x(): return 5\n",
        (
            ": 5 has no method decide(facts); "
            "give a shipped name, a path to a .toml file, module:object, or an object with that method"
        ),
    ),
    "a factory that wants arguments": (
        "def x(limit): ...\n",
        (
            ": calling it raised TypeError: x() missing 1 required positional argument: 'limit'; "
            "name an object, or a class or function that needs no arguments"
        ),
    ),
    "a factory that fails": (
        "def x(): raise KeyError('limit')\n",
        ": calling it raised KeyError: 'limit'; name an object, or a class or function that needs no arguments",
    ),
    "an async decide": (
        "class x:\n    async def decide(self, facts): ...\n",
        ", decide: it is async, and a decision waits for nothing; write def decide(self, facts)",
    ),
}


@pytest.mark.parametrize(("text", "message"), NO_POLICIES.values(), ids=NO_POLICIES.keys())
def test_what_is_no_policy_is_told_what_is_missing(text: str, message: str, write_module: WriteModule) -> None:
    reference = f"{write_module(text)}:x"
    assert refusal(reference) == f"policy {reference}{message}"
