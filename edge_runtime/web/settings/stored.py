"""What the history and the inbox keep on the board: how much it is, and its deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.errors import ConfigLockedError, InputError

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service
    from edge_runtime.database.side_file import SideFile

STORES = ("history", "unknowns")
"""Tables of the configuration that store something."""


def stored_bytes(service: Service) -> dict[str, int]:
    """Return the size of what is stored, by table; 0 if there is nothing."""
    return {table: _file(service, table).size_bytes for table in STORES}


def erase(service: Service, table: str) -> None:
    """Delete what a table stored that is turned off. May block; call it on any thread.

    Raises `ConfigLockedError` if it is on, `InputError`, `StorageError` or `BusyError`.
    """
    if table not in STORES:
        raise InputError("nothing is stored under this name", remedy=f"one of {', '.join(STORES)}")
    if getattr(service.settings, table) is not None:
        raise ConfigLockedError("it is turned on", where=table, remedy="turn it off first")
    part = service.unknowns if table == "unknowns" else service.history
    if part is not None:
        part.erase()
    else:
        _file(service, table).remove()


def _file(service: Service, table: str) -> SideFile:
    if table == "unknowns":
        from edge_runtime.unknowns.part import path_beside
        from edge_runtime.unknowns.store import unknowns_file

        return unknowns_file(path_beside(service.pipeline.gallery.path))
    from edge_runtime.history.file import history_file
    from edge_runtime.history.file import path_beside as history_beside

    if service.history is not None:
        return service.history.recorder.file
    return history_file(history_beside(service.pipeline.gallery.path))
