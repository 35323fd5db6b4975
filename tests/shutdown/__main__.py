"""``python -m tests.shutdown [--only NAME]… [--write]``: stop each server under load, and print the accounts."""

from __future__ import annotations

import sys

from tests.shutdown.report import main

if __name__ == "__main__":
    sys.exit(main())
