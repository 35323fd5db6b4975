"""``weighbridge dev``: one command that starts all that an app needs, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from weighbridge.embedded import EmbeddedServer

SHOP = """
import os
from pathlib import Path

from fastapi import FastAPI
from weighbridge import BackgroundTasks, Dispatcher, task

dispatcher = Dispatcher()
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])


@task(weight=200)
def render(name: str) -> None:
    Path(name).write_text(f"{VERSION} {os.getpid()}")


@app.post("/render/{name}", status_code=202)
async def ask(name: str, tasks: BackgroundTasks) -> dict[str, object]:
    return {"lane": tasks.add_task(render, name).lane, "version": VERSION, "pid": os.getpid()}
"""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()[:1] not in ("", "Z")


def descendants(pid: int) -> set[int]:
    """All processes below a process, whatever session they are in."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.stdout.splitlines())}
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def eventually(condition: Callable[[], bool], *, within_s: float = 30.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Dev:
    """A running ``weighbridge dev``, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, pattern: str, *, times: int = 1) -> str:
        """The n-th line that fits."""
        assert eventually(lambda: len(self.found(pattern)) >= times), (pattern, self.lines)
        return self.found(pattern)[times - 1]

    def found(self, pattern: str) -> list[str]:
        return [line for line in self.lines if re.search(pattern, line)]

    def wait_until_up(self) -> str:
        """The address of the app, when all of it runs."""
        return self.wait_for(r"^dev    \| ready: ").split("ready: ")[1].split()[0]

    def end(self) -> int:
        status = self.process.wait(60)
        self._reader.join(10)
        return status


@contextmanager
def dev(*words: str, **environment: str) -> Iterator[Dev]:
    process = subprocess.Popen(
        [sys.executable, "-m", "weighbridge", "dev", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    with process:
        running = Dev(process)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
            running.end()


def post(url: str) -> dict[str, object]:
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30) as response:
        answer: dict[str, object] = json.load(response)
        return answer


def read(path: Path) -> str:
    assert eventually(lambda: path.exists() and path.read_text(encoding="utf-8") != "")
    return path.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_shop(tmp_path, version="one")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_shop(folder: Path, *, version: str) -> None:
    (folder / "shop.py").write_text(f"VERSION = {version!r}\n{SHOP}", encoding="utf-8")


def test_a_request_is_answered_and_its_queued_call_runs_in_the_worker(shop: Path) -> None:
    with dev("shop:app", "--port", "0") as running:
        answer = post(f"{running.wait_until_up()}/render/out.txt")
        assert answer["lane"] == "queue"
        version, pid = read(shop / "out.txt").split()
        assert version == "one"
        assert int(pid) != answer["pid"]
        assert int(pid) in descendants(running.process.pid)
        assert running.found(r"^server \| \S+-server started at unix:///")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_all_in_order_and_leaves_no_process(signum: signal.Signals) -> None:
    with dev("shop:app", "--port", "0") as running:
        running.wait_until_up()
        pids = descendants(running.process.pid)
        assert len(pids) >= 7  # three watchdogs, the server, uvicorn and its child, the worker and its child
        running.process.send_signal(signum)
        assert running.end() == 0
        order = [running.lines.index(running.found(pattern)[-1]) for pattern in STOPPING]
        assert order == sorted(order)
        assert not [pid for pid in pids if is_alive(pid)]


STOPPING = (
    r"^dev    \| stopping",
    r"^web    \|.*shutdown complete",
    r"^worker \|.*worker\.stopped",
    r"^dev    \| stopped",
)


SLOW = """

@task(weight=200)
def sleep(name: str) -> None:
    Path(name).write_text("asleep")
    __import__("time").sleep(60)


@app.post("/sleep/{name}", status_code=202)
async def put_to_sleep(name: str, tasks: BackgroundTasks) -> dict[str, object]:
    return {"lane": tasks.add_task(sleep, name).lane}
"""


@pytest.fixture
def asleep(shop: Path) -> Iterator[Dev]:
    """A session whose worker runs a call of a minute."""
    (shop / "slow.py").write_text(f"VERSION = 'slow'\n{SHOP}{SLOW}", encoding="utf-8")
    with dev("slow:app", "--port", "0") as running:
        post(f"{running.wait_until_up()}/sleep/out.txt")
        read(shop / "out.txt")
        yield running


@pytest.mark.parametrize("after_s", [1.2, 4.0])
def test_a_second_ctrl_c_ends_all_and_comes_back_only_when_nothing_runs_any_more(asleep: Dev, after_s: float) -> None:
    pids = descendants(asleep.process.pid)
    asleep.process.send_signal(signal.SIGINT)
    said = asleep.wait_for(r"^dev    \| stopping")
    assert said == (
        "dev    | stopping: requests and calls in the app have at most 15 s, then calls in the worker at most 10 s; "
        "Ctrl-C again ends all at once"
    )
    time.sleep(after_s)
    asked_s = time.monotonic()
    asleep.process.send_signal(signal.SIGINT)
    assert asleep.process.wait(60) == 0
    assert not [pid for pid in pids if is_alive(pid)]
    assert time.monotonic() - asked_s < 3
    assert asleep.end() == 0
    assert asleep.lines[-2:] == ["dev    | ending all at once", "dev    | stopped"]


def test_a_second_ctrl_c_within_a_second_is_taken_for_the_first_and_says_so(asleep: Dev) -> None:
    asleep.process.send_signal(signal.SIGINT)
    asleep.wait_for(r"^dev    \| stopping")
    asleep.process.send_signal(signal.SIGINT)
    asleep.wait_for(
        r"^dev    \| that came within a second of the first, so it counts as the same one; Ctrl-C once more"
    )
    assert not asleep.found("ending all at once")
    time.sleep(1.0)
    asleep.process.send_signal(signal.SIGINT)
    assert asleep.end() == 0
    assert asleep.found("ending all at once")


def test_a_dev_killed_with_sigkill_leaves_no_process() -> None:
    with dev("shop:app", "--port", "0") as running:
        running.wait_until_up()
        pids = descendants(running.process.pid)
        running.process.kill()
        running.process.wait()
        assert eventually(lambda: not any(map(is_alive, pids)))


def test_a_changed_source_file_restarts_the_app_and_the_worker(shop: Path) -> None:
    with dev("shop:app", "--port", "0") as running:
        url = running.wait_until_up()
        write_shop(shop, version="number two")
        running.wait_for(r"^worker \|.*worker\.ready", times=2)
        running.wait_for(r"^web    \|.*startup complete", times=2)
        assert running.found(r"^dev    \| shop\.py changed: the worker restarts")
        assert post(f"{url}/render/out.txt")["version"] == "number two"
        assert read(shop / "out.txt").startswith("number two")


def test_a_broken_source_file_is_waited_out(shop: Path) -> None:
    with dev("shop:app", "--port", "0") as running:
        url = running.wait_until_up()
        (shop / "shop.py").write_text("this is not Python", encoding="utf-8")
        running.wait_for(r"^worker \| ended with status 2; it starts again when a source file has changed")
        write_shop(shop, version="mended")
        running.wait_for(r"^worker \|.*worker\.ready", times=2)
        running.wait_for(r"^web    \|.*startup complete", times=2)
        assert post(f"{url}/render/out.txt")["version"] == "mended"


def headers(url: str) -> list[str]:
    """The values of the decision header on the answer."""
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30) as response:
        found: list[str] = response.headers.get_all("Weighbridge-Decision", [])
        return found


def test_a_response_says_where_its_calls_went() -> None:
    with dev("shop:app", "--port", "0") as running:
        (value,) = headers(f"{running.wait_until_up()}/render/out.txt")
    assert value.startswith('queue;task="shop.render";rule="heavy work is queued";weight=200;')


def test_it_says_so_once_where_the_app_has_that_header_of_its_own(shop: Path) -> None:
    with (shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write("\n\nimport weighbridge\n\napp.add_middleware(weighbridge.DecisionHeaderMiddleware)\n")
    with dev("shop:app", "--port", "0") as running:
        assert len(headers(f"{running.wait_until_up()}/render/out.txt")) == 1


def test_it_does_not_say_so_if_told_not_to() -> None:
    with dev("shop:app", "--port", "0", "--no-decision-header") as running:
        assert headers(f"{running.wait_until_up()}/render/out.txt") == []


@pytest.mark.parametrize("variables", [{}, {"UVICORN_FACTORY": "true"}])
def test_a_function_that_makes_the_app_is_called_as_under_uvicorn(shop: Path, variables: dict[str, str]) -> None:
    with (shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef make_app():\n    return app\n")
    with dev("shop:make_app", "--port", "0", **variables) as running:
        assert len(headers(f"{running.wait_until_up()}/render/out.txt")) == 1


WSGI = """

def wsgi_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"by": "wsgi"}']
"""


def test_an_app_of_another_interface_is_served_as_under_uvicorn(shop: Path) -> None:
    with (shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(WSGI)
    with dev("shop:wsgi_app", "--port", "0", UVICORN_INTERFACE="wsgi") as running:
        assert post(running.wait_until_up()) == {"by": "wsgi"}


def test_an_interface_that_uvicorn_does_not_know_is_refused_by_it() -> None:
    with dev("shop:app", "--port", "0", UVICORN_INTERFACE="fcgi") as running:
        running.wait_for("Invalid value for '--interface': 'fcgi'")


@pytest.mark.parametrize("line", ["None.attribute", "undefined_name", "1 + 'one'", "import not_installed"])
def test_what_breaks_the_app_later_is_shown_with_the_line_of_the_app(shop: Path, line: str) -> None:
    with dev("shop:app", "--port", "0") as running:
        running.wait_until_up()
        with (shop / "shop.py").open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
        running.wait_for(rf"^web    \|\s+{re.escape(line)}$")
        running.wait_for(r"^web    \| \w+Error: ")


def test_an_app_that_ends_later_ends_all_with_its_status() -> None:
    with dev("shop:app", "--port", "0") as running:
        running.wait_until_up()
        (uvicorn,) = [int(pid) for pid in re.findall(r"reloader process \[(\d+)\]", "\n".join(running.lines))]
        os.kill(uvicorn, signal.SIGKILL)
        assert running.end() == 128 + signal.SIGKILL
        assert "web    | ended with status 137" in running.lines
        assert running.lines[-1] == "dev    | stopped"


def test_a_server_that_dies_ends_all() -> None:
    with dev("shop:app", "--port", "0") as running:
        running.wait_until_up()
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
        (server,) = [
            int(line.split()[0])
            for line in listed.stdout.splitlines()
            if int(line.split()[0]) in descendants(running.process.pid) and "-server unixsocket" in line
        ]
        os.kill(server, signal.SIGKILL)
        assert running.end() == 1
        assert running.found(r"^server \| ended by itself")


def test_a_configured_broker_is_used_and_left_running() -> None:
    with EmbeddedServer.start() as server:
        with dev("shop:app", "--port", "0", WEIGHBRIDGE_BROKER_URL=server.url) as running:
            post(f"{running.wait_until_up()}/render/out.txt")
            read(Path("out.txt"))
            assert running.found(r"^server \| unix://.*, as configured")
        with redis.Redis.from_url(server.url) as client:
            assert client.keys("weighbridge:*")


def test_a_configured_broker_that_is_dead_is_an_error(tmp_path: Path) -> None:
    with dev("shop:app", WEIGHBRIDGE_BROKER_URL=f"unix://{tmp_path}/none?db=0") as running:
        assert running.end() == 2
        assert running.found("nothing answers there")


# -- ready --------------------------------------------------------------------------------------------------


def test_it_says_once_that_all_is_up_and_then_it_is(shop: Path) -> None:
    with dev("shop:app", "--port", "0") as running:
        url = running.wait_until_up()
        assert running.found(r"^worker \|.*worker\.ready")  # not before it
        assert post(f"{url}/render/out.txt")["version"] == "one"  # at the first try
        write_shop(shop, version="number two")
        running.wait_for(r"^worker \|.*worker\.ready", times=2)
        running.wait_for(r"^web    \|.*startup complete", times=2)
        assert len(running.found("ready: ")) == 1


def test_an_app_that_is_slow_to_start_is_not_called_ready_before_it_answers(shop: Path) -> None:
    (shop / "slow.py").write_text(SLOW_START, encoding="utf-8")
    with dev("slow:app", "--port", "0") as running:
        running.wait_until_up()
        up = running.lines.index(running.wait_for(r"^web    \|.*startup complete"))
        assert running.lines.index(running.wait_for("ready: ")) > up


SLOW_START = """
import asyncio
from contextlib import asynccontextmanager

from fastapi import FastAPI
from shop import dispatcher


@asynccontextmanager
async def lifespan(app):
    await asyncio.sleep(1.5)
    async with dispatcher:
        yield


app = FastAPI(lifespan=lifespan, dependencies=[dispatcher.gate])
"""


def test_without_a_task_that_can_be_queued_it_is_ready_without_a_worker(shop: Path) -> None:
    (shop / "light.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n", encoding="utf-8")
    with dev("light:app", "--port", "0") as running:
        running.wait_for(r"^dev    \| ready without a worker, which has ended \(see above\): http://127\.0\.0\.1:\d+ ")
        assert running.found(r"^worker \| Error: module 'light' declares no task that can be queued")


# -- refused ------------------------------------------------------------------------------------------------


def refused(*words: str, **environment: str) -> str:
    """What it says when it starts nothing, but for the word that a busy machine takes its time."""
    with dev(*words, **environment) as running:
        assert running.end() == 2, running.lines
        said = [line for line in running.lines if not re.match(r"dev +\| importing \S+ takes its time …$", line)]
        assert not [line for line in said if re.match(r"(server|web|worker|dev) +\|", line)], running.lines
        return "\n".join(said)


def test_what_is_no_app_is_refused_with_an_example() -> None:
    assert "as in app.main:app" in refused("shop")


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("shpo:app", "Error: module 'shpo' is not found from FOLDER; did you mean shop?"),
        ("shop:ap", "Error: module 'shop' has no 'ap'; did you mean shop:app?"),
        ("shop:VERSION", "Error: module 'shop' holds in 'VERSION' a value of type str, which is no app; did you mean"),
        ("shop.py:app", "Error: module 'shop.py' is not found from FOLDER; did you mean shop?"),
    ],
)
def test_an_app_that_is_not_there_is_refused_with_the_one_that_is_meant(shop: Path, app: str, says: str) -> None:
    assert refused(app).startswith(says.replace("FOLDER", str(shop)))


def test_an_app_that_cannot_be_imported_is_refused_with_its_own_traceback(shop: Path) -> None:
    (shop / "broken.py").write_text("print('on the way')\nimport inner\n", encoding="utf-8")
    (shop / "inner.py").write_text("\n1 / 0\n", encoding="utf-8")
    lines = refused("broken:app").splitlines()
    assert lines[:3] == [
        "on the way",
        "Traceback (most recent call last):",
        f'  File "{shop / "broken.py"}", line 2, in <module>',
    ]
    assert f'  File "{shop / "inner.py"}", line 2, in <module>' in lines
    assert lines[-1].startswith(
        f"Error: module 'broken' cannot be imported ({shop / 'inner.py'}, line 2): ZeroDivision"
    )
    assert not [line for line in lines if "importlib" in line or "weighbridge/" in line]


def test_a_syntax_error_is_shown_with_its_line(shop: Path) -> None:
    (shop / "broken.py").write_text("def (\n", encoding="utf-8")
    assert '", line 1\n    def (\n' in refused("broken:app")


def test_an_app_that_ends_its_process_is_refused(shop: Path) -> None:
    (shop / "broken.py").write_text("import os\nos._exit(7)\n", encoding="utf-8")
    assert "module 'broken' ends the process that imports it, with status 7" in refused("broken:app")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("WEIGHBRIDGE_POLICY", "by-wieght", "Error: policy 'by-wieght': there is no shipped policy of this name"),
        ("WEIGHBRIDGE_ON_FAILURE", "explode", "Error: setting on_failure is not valid ('explode')"),
        ("WEIGHBRIDGE_POLCY", "by-weight", "Error: setting WEIGHBRIDGE_POLCY is not a setting; did you mean"),
    ],
)
def test_a_wrong_setting_is_refused_as_such_and_not_as_a_fault_of_the_app(variable: str, value: str, says: str) -> None:
    said = refused("shop:app", **{variable: value})
    assert said.startswith(says)
    assert "cannot be imported" not in said
    assert "Traceback" not in said


def test_a_port_in_use_is_refused_with_the_option_for_another() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("shop:app", "--port", str(port))
        assert f"port {port} of 127.0.0.1 is in use by another process" in said
        assert "--port NUMBER" in said


def test_an_address_of_another_machine_is_refused() -> None:
    assert "give an address of this machine: --host" in refused("shop:app", "--host", "192.0.2.1")


def test_the_app_is_looked_up_with_the_broker_that_it_will_have(shop: Path) -> None:
    source = "import os\nassert os.environ['WEIGHBRIDGE_BROKER_URL'].startswith('unix://')\nfrom shop import app\n"
    (shop / "asks.py").write_text(source, encoding="utf-8")
    with dev("asks:app", "--port", "0") as running:
        running.wait_until_up()


def test_a_thread_of_the_app_does_not_hold_up_the_start(shop: Path) -> None:
    source = "import threading\nthreading.Thread(target=threading.Event().wait).start()\nraise RuntimeError\n"
    (shop / "threads.py").write_text(source, encoding="utf-8")
    assert "RuntimeError" in refused("threads:app")


def test_an_import_that_takes_long_is_named_and_can_be_stopped(shop: Path) -> None:
    (shop / "stuck.py").write_text("import time\ntime.sleep(600)\n", encoding="utf-8")
    with dev("stuck:app", "--port", "0") as running:
        running.wait_for(r"^dev    \| importing stuck takes its time")
        pids = descendants(running.process.pid)
        running.process.send_signal(signal.SIGINT)
        assert running.end() == 0
        assert not any(map(is_alive, pids))
