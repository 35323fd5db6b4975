"""Which store keeps a service's counts: the file of the settings, else the server of the broker, else none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighbridge.errors import SettingsError
from weighbridge.settings import Settings
from weighbridge.shadow.store import ShadowStore

if TYPE_CHECKING:
    import dramatiq

    from weighbridge.shadow.file_store import FileStore


def store_for(settings: Settings, broker: dramatiq.Broker | None) -> ShadowStore | None:
    """The store; ``None`` if there is neither a file nor a broker of the kind that has a place for counts.

    :raises SettingsError: if there is a file, and this Python cannot read it.
    """
    if settings.shadow_file is not None:
        return store_in_file(settings)
    if broker is None:
        return None
    from weighbridge.lanes.queue import StreamsBroker  # noqa: PLC0415  # a service without a queue loads no Dramatiq
    from weighbridge.shadow.server_store import store_of  # noqa: PLC0415  # as above

    return store_of(broker) if isinstance(broker, StreamsBroker) else None


def store_in_file(settings: Settings) -> FileStore:
    """The store in the file of the settings, which name one. Without I/O.

    :raises SettingsError: if this Python has no SQLite.
    """
    assert settings.shadow_file is not None
    try:
        from weighbridge.shadow.file_store import FileStore  # noqa: PLC0415  # not every Python has SQLite
    except ImportError as error:
        raise SettingsError(
            setting="shadow_file",
            problem=f"is {str(settings.shadow_file)!r}, and this Python has no SQLite ({error})",
            remedy="use a Python that was built with it, or leave shadow_file out",
        ) from error
    return FileStore(settings.shadow_file)
