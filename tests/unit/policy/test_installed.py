"""The shipped policies, in a package that is installed and not checked out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import weighbridge
from weighbridge.policy import shipped_names


def test_the_shipped_files_are_found_in_an_installed_package(tmp_path: Path) -> None:
    package = Path(weighbridge.__file__).parent
    shutil.copytree(package, tmp_path / "weighbridge", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(package.parents[1] / "policies", tmp_path / "weighbridge" / "shipped" / "policies")
    script = (
        "from weighbridge.policy import catalogue\n"
        "print(catalogue.__file__)\n"
        "print(catalogue.shipped_names())\n"
        "print(catalogue.load_policy('by-weight').name)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    where, names, name = ran.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path)
    assert names == str(shipped_names())
    assert name == "by-weight"


def test_a_package_without_its_files_says_so(tmp_path: Path) -> None:
    package = Path(weighbridge.__file__).parent
    shutil.copytree(package, tmp_path / "weighbridge", ignore=shutil.ignore_patterns("__pycache__"))
    ran = subprocess.run(
        [sys.executable, "-c", "from weighbridge.policy import load_policy; load_policy('by-weight')"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr.splitlines()[-1].endswith(
        "PolicyNotFoundError: policy (shipped): the package was installed without its policies; install it anew"
    )
