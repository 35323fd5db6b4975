"""The policies that come with the package: their names, and the text of each."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from weighbridge.errors import PolicyNotFoundError

#: How the name of a policy file ends.
SUFFIX: Final = ".toml"


def shipped_names() -> tuple[str, ...]:
    """The names of the policies that come with the package, in alphabetical order."""
    return tuple(sorted(file.name.removesuffix(SUFFIX) for file in _folder().iterdir() if _is_policy(file)))


def shipped_text(name: str) -> str:
    """The file of the shipped policy of this name, which :func:`shipped_names` has."""
    return (_folder() / f"{name}{SUFFIX}").read_text(encoding="utf-8")


def shipped_source(name: str) -> str:
    """How messages call the file of a shipped policy."""
    return f"{name} (shipped)"


def _is_policy(file: Traversable) -> bool:
    return file.name.endswith(SUFFIX)


def _folder() -> Traversable:
    """The shipped files: the package's data in a wheel; in a checkout the folder that wheels take them from."""
    packaged = files("weighbridge") / "shipped" / "policies"
    if packaged.is_dir():
        return packaged
    source = Path(__file__).resolve().parents[2]
    checkout = source.parent / "policies"
    if source.name == "src" and checkout.is_dir():
        return checkout
    raise PolicyNotFoundError(
        source="(shipped)", problem="the package was installed without its policies", remedy="install it anew"
    )
