"""The keys of the inbox of unknown things."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edge_runtime.settings.table import Table


class UnknownsSettings(Table, frozen=True, kw_only=True):
    """The inbox: recurring unknown things are kept as small pictures, to be named on the page.

    The pictures stay on the board, in a file beside the gallery. Without this table: off.
    """

    pictures: Annotated[
        int, Meta(ge=1, le=5000, description="Most pictures that are kept, of all things.")
    ] = 300
    days: Annotated[
        float, Meta(gt=0, le=3650, description="Longest time that a picture is kept, days.")
    ] = 14.0
    megabytes: Annotated[
        float,
        Meta(ge=1, le=1000, description="Largest size of the file, megabytes."),
    ] = 16.0
    least: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="How often a thing must be seen before it is shown. A thing that stays in "
            "view counts once per minute.",
        ),
    ] = 3
    size: Annotated[
        int,
        Meta(
            ge=64,
            le=640,
            description="Shorter side of the pictures, pixels. The views that are enrolled are cut "
            "from them: below 320, they have less detail than the network can use.",
        ),
    ] = 320
