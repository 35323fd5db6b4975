"""A page as a reader uses it: its files written into a folder, its Python imported, its tests run by pytest."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from tests.documentation.blocks import ROOT, Block, blocks_of

from weighbridge.task import registry

RUNNABLE = ("python", "py")


class OpenPage:
    """A page whose files lie in ``folder``. ``modules`` are those that its Python made, by name."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.blocks = [block for block in blocks_of(page) if block.not_run is None]
        self.modules: dict[str, ModuleType] = {}
        self._write()

    @property
    def own_module(self) -> str:
        """The module of the blocks that belong to no file."""
        stem = self.page.relative_to(ROOT).with_suffix("").as_posix()
        return "page_" + "".join(char if char.isalnum() else "_" for char in stem).lower()

    def file_of(self, block: Block) -> str:
        return block.title or f"{self.own_module}.py"

    @property
    def python_files(self) -> list[str]:
        """In the order in which the page brings them up. A ``conftest.py`` is pytest's alone to import."""
        found = [self.file_of(block) for block in self.blocks if block.language in RUNNABLE]
        return [name for name in dict.fromkeys(found) if Path(name).name != "conftest.py"]

    @property
    def test_files(self) -> list[str]:
        return [name for name in self.python_files if Path(name).name.startswith("test_")]

    def _write(self) -> None:
        texts: defaultdict[str, str] = defaultdict(str)
        for block in self.blocks:
            if block.language in RUNNABLE or block.title is not None:
                # Code is added to what stands above; a policy is shown as a whole, and the last one is the reader's.
                before = texts[self.file_of(block)] if block.language != "toml" else ""
                if block.title is None:  # so that a traceback names the page's own line
                    before += "\n" * (block.line - 1 - before.count("\n"))
                texts[self.file_of(block)] = before + block.code
        for name, text in texts.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def import_all(self) -> None:
        """Import the page's modules, and open each app that they hold, as a server would."""
        for name in self.python_files:
            if name not in self.test_files:
                module = Path(name).with_suffix("").as_posix().replace("/", ".")
                self.modules[module] = importlib.import_module(module)
        for found in self.modules.values():
            for value in list(vars(found).values()):
                if isinstance(value, FastAPI | Starlette):
                    with TestClient(value):
                        pass

    def run_tests(self) -> None:
        """Run the page's test files, each folder's with pytest in a process of its own, as a reader would."""
        folders: defaultdict[Path, list[str]] = defaultdict(list)
        for name in self.test_files:
            folders[self.folder / Path(name).parent].append(Path(name).name)
        for folder, names in folders.items():
            ended = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names],
                cwd=folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert ended.returncode == 0, f"{self.page}\n{ended.stdout}{ended.stderr}"


@contextmanager
def opened(page: Path, folder: Path) -> Iterator[OpenPage]:
    """The page in ``folder``, which is the current one meanwhile. Its tasks are the only ones that there are."""
    modules, tasks, path, here = set(sys.modules), list(registry), list(sys.path), Path.cwd()
    log = logging.getLogger()
    handlers, level = list(log.handlers), log.level
    for spec in tasks:
        registry.discard(spec.name)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield OpenPage(page, folder)
    finally:
        os.chdir(here)
        sys.path[:] = path
        log.handlers[:], log.level = handlers, level  # a page may configure logging
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if Path(file).is_relative_to(folder):
                del sys.modules[name]
        for spec in registry:
            registry.discard(spec.name)
        for spec in tasks:
            registry.add(spec)
