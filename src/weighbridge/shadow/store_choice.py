"""Which store keeps a service's counts: a file, if the settings name one, else the server of the broker, if it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighbridge.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    import dramatiq

    from weighbridge.shadow.file_store import FileStore
    from weighbridge.shadow.server_store import ServerStore


def store_in_file(path: Path) -> FileStore:
    """The store in a file. Without I/O.

    :raises SettingsError: if this Python has no SQLite.
    """
    try:
        from weighbridge.shadow.file_store import FileStore  # noqa: PLC0415  # not every Python has SQLite
    except ImportError as error:
        raise SettingsError(
            setting="shadow_file",
            problem=f"is {str(path)!r}, and this Python has no SQLite ({error})",
            remedy="use a Python that was built with it, or leave shadow_file out",
        ) from error
    return FileStore(path)


def store_beside(broker: dramatiq.Broker) -> ServerStore | None:
    """The store beside the queues of a broker; ``None`` if it is not of the kind that has a place for counts."""
    from weighbridge.lanes.queue import StreamsBroker  # noqa: PLC0415  # a service without a queue loads no Dramatiq
    from weighbridge.shadow.server_store import ServerStore  # noqa: PLC0415  # as above

    return ServerStore.of(broker) if isinstance(broker, StreamsBroker) else None
