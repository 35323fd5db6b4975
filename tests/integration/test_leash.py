"""Children of the commands: on a leash, swept with all that they started, and heard line by line."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from weighbridge.cli.dev.watch import SourceWatch
from weighbridge.cli.leash import LeashedProcess
from weighbridge.embedded import watchdog


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


class Heard:
    """What a child said, and how it ended."""

    def __init__(self, code: str, *, grace_s: float = 30.0, folder: Path | None = None) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self.statuses: queue.Queue[int] = queue.Queue()
        self.child = LeashedProcess(
            [sys.executable, "-c", code],
            name="child",
            environment={"ONLY": "this"},
            grace_s=grace_s,
            folder=None if folder is None else str(folder),
            on_line=self.lines.put,
            on_end=lambda _child, status: self.statuses.put(status),
        )


def test_a_child_is_heard_line_by_line_and_its_status_after_its_last_words() -> None:
    heard = Heard("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    assert heard.statuses.get(timeout=30) == 7
    assert [heard.lines.get(timeout=1), heard.lines.get(timeout=1)] == ["out", "err"]
    assert list(heard.child.last_lines) == ["out", "err"]
    assert heard.child.end() == 7


def test_a_child_has_its_environment_and_its_folder_and_no_more(tmp_path: Path) -> None:
    heard = Heard("import os; print(sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd())", folder=tmp_path)
    assert heard.lines.get(timeout=30) == f"['ONLY', 'PYTHONUNBUFFERED'] {tmp_path}"
    heard.child.end()


def test_a_child_that_is_ended_gets_sigterm() -> None:
    heard = Heard("import time; print('up'); time.sleep(600)")
    assert heard.lines.get(timeout=30) == "up"
    assert heard.child.running
    assert heard.child.end() == 128 + 15
    assert not heard.child.running


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    heard = Heard(STUBBORN, grace_s=0.2)
    assert heard.lines.get(timeout=30) == "up"
    assert heard.child.end() == 128 + 9


def test_a_child_is_killed_at_once_if_that_is_asked_for() -> None:
    heard = Heard(STUBBORN, grace_s=3_600)
    assert heard.lines.get(timeout=30) == "up"
    heard.child.ask_to_end()
    heard.child.kill()
    assert heard.statuses.get(timeout=30) == 128 + 9
    heard.child.end()


def test_what_a_child_has_started_and_left_behind_is_swept_with_it() -> None:
    sleeper = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    )
    heard = Heard(sleeper)
    pid = int(heard.lines.get(timeout=30))
    assert heard.statuses.get(timeout=30) == 0
    assert eventually(lambda: not is_alive(pid))
    heard.child.end()


FAR_AWAY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True).pid)
time.sleep(600)
"""


def test_what_a_killed_child_has_started_in_another_session_is_dead_when_its_end_is_told() -> None:
    heard = Heard(FAR_AWAY, grace_s=3_600)
    pid = int(heard.lines.get(timeout=30))
    heard.child.kill()
    assert heard.statuses.get(timeout=30) == 128 + 9
    assert not is_alive(pid)
    heard.child.end()


def test_the_process_table_is_read_alike_from_proc_and_from_ps() -> None:
    ours = os.getpid()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        for table in (watchdog.parents(), watchdog.parents_by_ps()):
            assert table[child.pid] == ours
            assert child.pid in watchdog.descendants(os.getppid(), table)
        child.kill()


def test_a_binary_that_is_not_there_ends_with_a_word() -> None:
    heard = Heard("pass")
    heard.child.end()
    said: queue.Queue[str] = queue.Queue()
    missing = LeashedProcess(
        ["/no/such/binary"], name="x", environment={}, grace_s=1, on_line=said.put, on_end=lambda _c, _s: None
    )
    assert missing.end() != 0
    assert any("No such file" in line for line in said.queue)


class Changes:
    """What a watch has told, as file names."""

    def __init__(self, folder: Path) -> None:
        self._told: queue.Queue[Sequence[Path]] = queue.Queue()
        self.watch = SourceWatch(folder, on_change=self._told.put)

    def next(self) -> list[str]:
        return [path.name for path in self._told.get(timeout=30)]


def test_a_watch_tells_of_new_changed_and_removed_sources(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("1", encoding="utf-8")
    changes = Changes(tmp_path)
    with changes.watch:
        (tmp_path / "package").mkdir()
        (tmp_path / "package" / "new.py").write_text("1", encoding="utf-8")
        assert changes.next() == ["new.py"]
        (tmp_path / "old.py").write_text("22", encoding="utf-8")
        assert changes.next() == ["old.py"]
        (tmp_path / "old.py").unlink()
        assert changes.next() == ["old.py"]


def test_a_watch_leaves_out_what_is_not_the_users_source(tmp_path: Path) -> None:
    for folder in (".git", "__pycache__", "node_modules", "venv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    changes = Changes(tmp_path)
    with changes.watch:
        for folder in (".git", "__pycache__", "node_modules", "venv"):
            (tmp_path / folder / "theirs.py").touch()
        (tmp_path / "notes.txt").touch()
        (tmp_path / "zz_mine.py").touch()
        assert changes.next() == ["zz_mine.py"]
