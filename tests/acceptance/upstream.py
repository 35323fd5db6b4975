"""Starlette's and FastAPI's own tests, from the source distributions of the installed versions.

They are fetched when the tests run and never become part of this project.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from .changed_import import with_import_changed

#: What of a source distribution its tests need. The package itself is the installed one.
NEEDED = ("tests", "docs_src", "pyproject.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """An unpacked source distribution."""

    root: Path

    @property
    def tests(self) -> list[str]:
        """The test files that concern background tasks: by their text, or by their name (the tutorial's)."""
        return [
            str(path.relative_to(self.root))
            for path in sorted((self.root / "tests").rglob("test_*.py"))
            if "BackgroundTask" in path.read_text() or "background" in str(path.relative_to(self.root))
        ]

    def copy_to(self, root: Path) -> Upstream:
        shutil.copytree(self.root, root)
        return Upstream(root=root)

    def change_import(self, *, to: str = "weighbridge") -> list[str]:
        """Change the one import wherever it stands; the files that were changed."""
        changed = []
        for path in sorted([*(self.root / "tests").rglob("*.py"), *(self.root / "docs_src").rglob("*.py")]):
            if "BackgroundTasks" not in (source := path.read_text()):
                continue
            migrated = with_import_changed(source, to=to)
            if migrated != source:
                path.write_text(migrated)
                changed.append(str(path.relative_to(self.root)))
        return changed


def fetch(package: str, cache: Path) -> Upstream:
    """The source distribution of the installed version; from ``cache``, if it was fetched before.

    Offline is an error and no skip: then nothing was proved.
    """
    installed = version(package)
    root = cache / f"{package}-{installed}"
    if not root.exists():  # two processes of one run may both find it missing
        download = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--no-binary", package, "--dest", str(cache), f"{package}=={installed}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if download.returncode:
            raise RuntimeError(
                f"the tests of {package} {installed} cannot be fetched; this needs a package registry once, and then "
                f"finds them in {cache}\n{download.stderr}"
            )
        _unpack(cache / f"{package}-{installed}.tar.gz", root)
    return Upstream(root=root)


def _unpack(archive: Path, root: Path) -> None:
    partial = Path(tempfile.mkdtemp(dir=root.parent))
    with tarfile.open(archive) as tar:
        members = [
            member for member in tar.getmembers() if len(parts := Path(member.name).parts) > 1 and parts[1] in NEEDED
        ]
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            tar.extractall(partial, members=members, filter="data")
        else:
            tar.extractall(partial, members=members)
    with contextlib.suppress(OSError):  # another process was faster
        (partial / root.name).rename(root)
    shutil.rmtree(partial)
