"""The task that decisions are measured with: in a module, for one of ``__main__`` cannot be queued."""

from __future__ import annotations

from weighbridge.declaration import task


@task(weight=1, name="bench.light", tags=("mail",))
def light() -> None:
    """What is decided about; it never runs."""
