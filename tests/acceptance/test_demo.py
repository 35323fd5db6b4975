"""``weighbridge demo``: the main job on real input, in one command."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "weighbridge", "demo"]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()[:1] not in ("", "Z")


def descendants(pid: int) -> dict[int, str]:
    """All processes below a process, whatever session they are in, with their command lines."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    found: dict[int, str] = {}
    while more := {
        int(child): command
        for child, parent, command in rows
        if int(parent) in found.keys() | {pid} and int(child) not in found
    }:
        found |= more
    return found


def eventually(condition: Callable[[], bool], *, within_s: float = 40.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo runs in any folder, and leaves nothing in it, nor among the temporary files."""
    temporary = tmp_path / "t"
    temporary.mkdir()
    monkeypatch.chdir(temporary)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return temporary


def sections(output: str) -> dict[str, str]:
    """What is shown for each policy, by its name, and the comparison as the last one."""
    parts = re.split(
        r"^(by-weight|all-in-process|all-queued|─+ What the policy changes ─+)(?::|$)", output, flags=re.MULTILINE
    )
    pages = zip(parts[1::2], parts[2::2], strict=True)
    return {name.strip("─ "): page for name, page in pages if "\u2500" in page}


def rows(page: str) -> dict[str, list[str]]:
    """The rows of a table by their first word: calls, lane, process, its id, and times."""
    return {line.split()[0]: line.split()[1:] for line in page.splitlines() if line.strip()}


@pytest.mark.timeout(300)
def test_the_demo_shows_each_call_in_its_lane_and_none_lost_or_double(elsewhere: Path) -> None:
    started_s = time.monotonic()
    ended = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    took_s = time.monotonic() - started_s
    assert ended.returncode == 0, ended.stdout + ended.stderr
    pages = sections(ended.stdout)
    assert list(pages) == ["by-weight", "all-in-process", "all-queued", "What the policy changes"]
    expected = {
        "by-weight": {"audit": "in_process", "render_report": "queue"},
        "all-in-process": {"audit": "in_process", "render_report": "in_process"},
        "all-queued": {"audit": "queue", "render_report": "queue"},
    }
    for policy, lanes in expected.items():
        table = rows(pages[policy])
        for task, lane in {**lanes, "count_sale": "in_process", "charge": "queue"}.items():
            assert table[task][1:3] == [lane, "web" if lane == "in_process" else "worker"], policy
        assert sum(int(table[task][0]) for task in ("audit", "count_sale", "charge", "render_report")) == 562
        assert "562 calls were accepted, and each ran exactly once" in pages[policy]
    compared = [line for line in pages["What the policy changes"].splitlines() if line.startswith(("a ", "an "))]
    assert len(compared) == 6
    assert all(line.count("\N{MULTIPLICATION SIGN}") == 2 for line in compared), compared
    assert took_s < 60
    assert list(elsewhere.iterdir()) == []


def worker_processes(demo: int) -> list[int]:
    return [
        pid
        for pid, command in descendants(demo).items()
        if (" worker orders.tasks" in command or "weighbridge.worker.child" in command) and "watchdog.py" not in command
    ]


@pytest.mark.timeout(180)
def test_calls_that_were_lost_are_named_and_the_demo_fails(elsewhere: Path) -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert eventually(lambda: any(elsewhere.glob("weighbridge-demo-*/runs.jsonl")))
        assert eventually(lambda: len(worker_processes(demo.pid)) >= 2)  # the supervisor and its child
        for pid in worker_processes(demo.pid):
            os.kill(pid, signal.SIGKILL)
        output, _ = demo.communicate(timeout=150)
    assert demo.returncode == 1
    assert re.search(r"^by-weight: \d+ accepted and never run$", output, flags=re.MULTILINE), output
    assert re.search(r"^    (charge|render_report) of by-weight-(order|report)-\d+$", output, flags=re.MULTILINE)
    assert "What the policy changes" not in output
    assert list(elsewhere.iterdir()) == []


@pytest.mark.timeout(180)
def test_a_call_that_ran_twice_is_named_and_the_demo_fails(elsewhere: Path) -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert eventually(lambda: any(path.stat().st_size for path in elsewhere.glob("weighbridge-demo-*/runs.jsonl")))
        (journal,) = elsewhere.glob("weighbridge-demo-*/runs.jsonl")
        first = journal.read_text(encoding="utf-8").partition("\n")[0]
        with journal.open("ab", buffering=0) as file:
            file.write(first.encode() + b"\n")
        output, _ = demo.communicate(timeout=150)
    assert demo.returncode == 1
    assert re.search(r"^by-weight: 1 run more than once$", output, flags=re.MULTILINE), output
    assert re.search(r"^    \w+ of by-weight-\w+-\d+: 2 times$", output, flags=re.MULTILINE), output


def test_on_a_terminal_it_shows_progress_and_ctrl_c_leaves_nothing(elsewhere: Path) -> None:
    controller, terminal = pty.openpty()
    with subprocess.Popen(COMMAND, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True) as demo:
        os.close(terminal)
        shown = b""
        while b"requests answered" not in shown:
            shown += os.read(controller, 65_536)
        pids = descendants(demo.pid)
        assert len(pids) >= 7  # three watchdogs, the server, uvicorn, the worker and its child
        demo.send_signal(signal.SIGINT)
        try:
            while chunk := os.read(controller, 65_536):
                shown += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
        # A shell shows 130 for both. Python ends itself by the signal if that came while it executed a string, as it
        # does to make a dataclass in a module that is imported late.
        assert demo.wait(60) in (130, -signal.SIGINT)
    os.close(controller)
    assert b"Traceback" not in shown
    assert b"ended by Ctrl-C; nothing is left behind" in shown
    assert not any(map(is_alive, pids))
    assert list(elsewhere.iterdir()) == []


def test_a_demo_killed_with_sigkill_leaves_no_process(elsewhere: Path) -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL) as demo:
        assert eventually(lambda: any(elsewhere.glob("weighbridge-demo-*/runs.jsonl")))
        pids = descendants(demo.pid)
        demo.kill()
    assert len(pids) >= 7
    assert eventually(lambda: not any(map(is_alive, pids)))


def test_rabbitmq_is_refused_since_its_queues_are_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", "amqp://guest:secret@127.0.0.1:5672")
    ended = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "needs Redis or Valkey" in ended.stderr
    assert "secret" not in ended.stderr
