"""The keys of the table [history]."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edge_runtime.settings.table import Table


class HistorySettings(Table, frozen=True, kw_only=True):
    """Events with a snapshot each, stored on the board. Without this table: off. Another path needs
    a restart."""

    path: Annotated[
        str,
        Meta(description="The file of the history. Empty: NAME.history.sqlite beside the gallery."),
    ] = ""
    days: Annotated[
        float, Meta(gt=0, le=3650, description="Age at which events are removed, days.")
    ] = 30.0
    megabytes: Annotated[
        float,
        Meta(
            ge=1,
            le=100_000,
            description="Size of the file at which the oldest events are removed, megabytes. A "
            "snapshot is about 40 kB. At most 100,000 events are kept.",
        ),
    ] = 200.0
    snapshots: Annotated[
        bool, Meta(description="Store what the camera or the region showed at each event.")
    ] = True
    snapshot_side: Annotated[
        int,
        Meta(ge=64, le=1920, description="Longer side of a snapshot, pixels."),
    ] = 640
