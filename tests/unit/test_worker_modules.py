from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weighbridge.errors import ModuleError, SettingsError, WeighbridgeError
from weighbridge.worker.modules import explained, import_modules

NAME = "weighbridge_test_module"


@pytest.fixture
def module_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / f"{NAME}.py"
    sys.modules.pop(NAME, None)


def test_a_wrong_setting_in_a_module_is_said_as_such_and_not_as_a_fault_of_the_module(
    module_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module_file.write_text("from weighbridge import Dispatcher\ndispatcher = Dispatcher()\n")
    monkeypatch.setenv("WEIGHBRIDGE_BROKR_URL", "redis://localhost")

    with pytest.raises(SettingsError, match=r"^setting WEIGHBRIDGE_BROKR_URL is not a setting; did you mean") as caught:
        import_modules([NAME])

    assert explained(caught.value).splitlines()[1:] == [
        f"raised while module {NAME!r} was imported ({module_file}, line 2)"
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Dispatcher(policy='by-wieght')", "policy 'by-wieght': "),
        ("Dispatcher(namespace='no spaces')", "setting namespace is not valid"),
        ("task(weight=-1)(lambda: None)", "has weight=-1"),
    ],
    ids=["policy", "setting", "declaration"],
)
def test_each_kind_of_error_of_ours_names_the_users_own_line(module_file: Path, line: str, says: str) -> None:
    module_file.write_text(f"from weighbridge import Dispatcher, task\n\n{line}\n")

    with pytest.raises(WeighbridgeError) as caught:
        import_modules([NAME])

    said = explained(caught.value)
    assert says in said
    assert f"({module_file}, line 3)" in said
    assert "cannot be imported" not in said


def test_any_other_error_of_a_module_is_framed_with_its_place(module_file: Path) -> None:
    module_file.write_text("\n1 / 0\n")

    with pytest.raises(ModuleError, match=rf"cannot be imported \(.*{NAME}\.py, line 2\): ZeroDivisionError"):
        import_modules([NAME])
