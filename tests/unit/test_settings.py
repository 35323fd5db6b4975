from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weighbridge import Dispatcher, Settings
from weighbridge.errors import SettingsError

#: Bytes that the system takes for a path.
LONGEST_PATH = os.pathconf("/", "PC_PATH_MAX") - 1


def test_arguments_win_over_the_environment_and_the_environment_over_pyproject(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.weighbridge]\nnamespace = "file"\nin_process_threads = 3\nenqueue_timeout_s = 2.5\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEIGHBRIDGE_NAMESPACE", "environment")
    monkeypatch.setenv("WEIGHBRIDGE_IN_PROCESS_THREADS", "5")

    settings = Settings(namespace="argument")

    assert (settings.namespace, settings.in_process_threads, settings.enqueue_timeout_s) == ("argument", 5, 2.5)


def test_pyproject_is_found_from_a_folder_below_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.weighbridge]\npolicy = "all-queued"\n')
    (tmp_path / "src" / "app").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "src" / "app")

    assert Settings().policy == "all-queued"


def test_modules_are_comma_separated_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_MODULES", "app.tasks, app.reports")

    assert Settings().modules == ("app.tasks", "app.reports")


def test_a_misspelt_variable_is_an_error_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_BROKERURL", "redis://localhost")

    with pytest.raises(
        SettingsError, match=r"WEIGHBRIDGE_BROKERURL is not a setting; did you mean WEIGHBRIDGE_BROKER_URL\?"
    ):
        Dispatcher()


def test_a_misspelt_argument_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"in_process_thread is not a setting; did you mean in_process_threads\?"):
        Dispatcher(in_process_thread=4)  # type: ignore[call-arg]  # the mistake is the point


def test_an_unknown_key_in_pyproject_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.weighbridge]\npolcy = 'by-weight'\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError, match=r"polcy is not a setting; did you mean policy\?"):
        Settings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[tool.weighbridge\n", r"is not TOML \(.*at line 1, column 18.*\); correct it there"),
        (b"[tool.weighbridge]\npolicy = a\n", r"is not TOML \(.*at line 2, column 10\)"),
        (b"[tool.weighbridge]\n# \xff\n", r"is not UTF-8 \(the byte 0xff in line 2\); save it as UTF-8"),
        (b"tool = 3\n", r"holds in `tool` an int; write its settings below the line \[tool.weighbridge\]"),
        (b"[tool]\nweighbridge = 5\n", r"holds in `tool.weighbridge` an int; write its settings below"),
        (b"[[tool.weighbridge]]\npolicy = 'x'\n", r"holds in `tool.weighbridge` a list; write its settings below"),
        (b"a = " + b"[" * 5_000, r"is nested too deep"),
        (b"a = " + b"1" * 5_000, r"has a number of thousands of digits"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_broken_pyproject_is_named_with_the_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")

    with pytest.raises(
        SettingsError, match=rf"\[tool.weighbridge\] cannot be read: {tmp_path}/pyproject.toml {message}"
    ):
        Settings()


def test_a_pyproject_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)

    with pytest.raises(SettingsError, match=r"pyproject.toml cannot be opened \(Permission denied\); make it readable"):
        Settings()


def test_a_folder_of_the_name_of_pyproject_counts_as_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.weighbridge]\npolicy = "all-queued"\n')
    (tmp_path / "app" / "pyproject.toml").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "app")

    assert Settings().policy == "all-queued"


def test_a_pyproject_that_cannot_be_looked_at_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a path that is too long, which root cannot look at either; without root it is mostly a folder's permission."""
    folder = tmp_path
    monkeypatch.chdir(tmp_path)
    while (room := LONGEST_PATH - len("/pyproject.toml") - len(str(folder))) > 0:
        folder /= "x" * (room if room < 220 else 200)
        Path(folder.name).mkdir()
        os.chdir(folder.name)
    (folder.parent / "pyproject.toml").write_text('[tool.weighbridge]\npolicy = "all-queued"\n')
    with pytest.raises(OSError, match="File name too long"):
        (folder / "pyproject.toml").stat()

    assert Settings().policy == "all-queued"


def test_a_pyproject_in_a_folder_that_may_not_be_traversed_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By a refusal put in front of the one that root never gets; what it shows is only what follows from it."""
    (tmp_path / "pyproject.toml").write_text('[tool.weighbridge]\npolicy = "all-queued"\n')
    monkeypatch.chdir(tmp_path)

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)

    assert Settings().policy == "by-weight"


def test_a_current_folder_that_is_gone_has_no_pyproject(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    program = "import os; from weighbridge import Settings; os.rmdir(os.getcwd()); print(Settings().policy)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "gone", capture_output=True, text=True, timeout=60, check=False
    )

    assert (run.stdout, run.stderr) == ("by-weight\n", "")


def test_a_pyproject_with_a_byte_order_mark_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b'\xef\xbb\xbf[tool.weighbridge]\npolicy = "all-queued"\n')
    monkeypatch.chdir(tmp_path)

    assert Settings().policy == "all-queued"


@pytest.mark.parametrize(
    "variable",
    [
        "WEIGHBRIDGE_PORT",
        "WEIGHBRIDGE_SERVICE_HOST",
        "WEIGHBRIDGE_SERVICE_PORT_HTTP",
        "WEIGHBRIDGE_PORT_6379_TCP_ADDR",
        "WEIGHBRIDGE_WEB_SERVICE_HOST",
    ],
)
def test_the_link_to_a_kubernetes_service_of_our_name_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "tcp://10.0.0.1:80")

    with pytest.raises(
        SettingsError,
        match=rf"{variable} is not a setting; if Kubernetes has set it, .* put `enableServiceLinks: false`",
    ):
        Settings()


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e307"])
@pytest.mark.parametrize("name", ["drain_timeout_s", "enqueue_timeout_s"])
def test_seconds_are_a_finite_number(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"WEIGHBRIDGE_{name.upper()}", value)

    with pytest.raises(SettingsError, match=f"{name} is not valid"):
        Settings()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("IN_PROCESS_THREADS", "none", "in_process_threads is not valid .'none'.: .*integer"),
        ("IN_PROCESS_THREADS", "0", "greater than or equal to 1"),
        ("ENQUEUE_TIMEOUT_S", "-1", "greater than 0"),
        ("ON_FAILURE", "ignore", "'continue' or 'stop'"),
        ("ARGUMENTS_CHECK", "loud", "'off', 'warn' or 'strict'"),
        ("NAMESPACE", "a b", "pattern"),
        ("WAIT_IN_PROCESS", "perhaps", "boolean"),
    ],
)
def test_a_value_that_a_setting_cannot_have_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"WEIGHBRIDGE_{variable}", value)

    with pytest.raises(SettingsError, match=message):
        Settings()


def test_an_unknown_scheme_of_a_broker_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"has the scheme 'kafka'; it must start with one of redis://, rediss://"):
        Settings(broker_url="kafka://localhost")


def test_a_password_in_a_wrong_broker_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", "redsi://user:hunter2@localhost")

    with pytest.raises(SettingsError) as caught:
        Settings()

    assert "hunter2" not in str(caught.value)


def test_a_password_is_not_in_the_representation_of_the_settings() -> None:
    assert "hunter2" not in repr(Settings(broker_url="redis://user:hunter2@localhost"))


def test_with_changes_checks_the_changed_setting() -> None:
    settings = Settings(namespace="orders")

    assert settings.with_changes(in_process_threads=2).namespace == "orders"
    with pytest.raises(SettingsError, match="in_process_threads"):
        settings.with_changes(in_process_threads=0)


@pytest.mark.parametrize("url", ["amqp://guest:hunter2@localhost", "amqps://guest:hunter2@localhost/shop"])
def test_a_namespace_on_rabbitmq_is_refused_with_the_virtual_host_that_does_its_work(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_NAMESPACE", "shop")

    with pytest.raises(SettingsError) as caught:
        Settings(broker_url=url)

    assert str(caught.value) == (
        "setting namespace is 'shop', and RabbitMQ's queues carry no namespace, so another service's worker would take "
        "this one's calls; leave namespace out, and give each service a virtual host of its own: "
        "amqp://user:password@host:5672/VHOST"
    )


def test_without_a_namespace_rabbitmq_is_taken_and_changes_are_too() -> None:
    settings = Settings(broker_url="amqp://localhost/shop")

    assert settings.with_changes(in_process_threads=2).broker_url == "amqp://localhost/shop"
    with pytest.raises(SettingsError, match="virtual host"):
        settings.with_changes(namespace="shop")
    with pytest.raises(SettingsError, match="virtual host"):
        Settings(namespace="shop").with_changes(broker_url="amqp://localhost/shop")


@pytest.mark.parametrize("namespace", ["shop", "{shop}", "eu:{shop}.v2"])
def test_a_namespace_may_have_one_hash_tag(namespace: str) -> None:
    assert Settings(namespace=namespace).namespace == namespace


@pytest.mark.parametrize("namespace", ["", "{}", "{shop", "shop}", "{a}{b}", "{a{b}}", "shop 2", "*"])
def test_a_namespace_with_braces_that_are_no_hash_tag_is_refused(namespace: str) -> None:
    with pytest.raises(SettingsError, match="namespace"):
        Settings(namespace=namespace)


def test_a_shadow_file_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_SHADOW_FILE", "")
    with pytest.raises(SettingsError, match=r"shadow_file is not valid.*names no file"):
        Settings()
