"""The command line, ``weighbridge``: needs the extra ``cli``, and says so if it is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

NEEDED: Final = ("click", "rich")


def main() -> None:
    """Run the command line and exit; the console script ``weighbridge`` and ``python -m weighbridge``."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"The weighbridge command needs {' and '.join(missing)}, which the library does without. Run:\n"
            "    python -m pip install 'weighbridge[cli]'\n"
        )
        sys.exit(2)
    # A console script's path starts with the folder of scripts; the user's modules are in this one.
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.insert(0, here)
    from weighbridge.cli.group import command  # noqa: PLC0415  # click is optional, and was looked for above

    command(prog_name="weighbridge")
