"""uvicorn's worker class for gunicorn, with a bound on the time that open requests get at shutdown."""

from __future__ import annotations

from typing import Any

from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]  # it ships no types


class Worker(UvicornWorker):  # type: ignore[misc]  # the same
    """Leaves the drain the rest of ``--graceful-timeout``."""

    CONFIG_KWARGS: dict[str, Any] = {**UvicornWorker.CONFIG_KWARGS, "timeout_graceful_shutdown": 1}  # noqa: RUF012  # as its base
