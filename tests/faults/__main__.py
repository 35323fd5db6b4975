"""``python -m tests.faults [--long [--write]] [--only NAME]…``: run the faults on both sides and print the accounts."""

from __future__ import annotations

import sys

from tests.faults.report import main

if __name__ == "__main__":
    sys.exit(main())
