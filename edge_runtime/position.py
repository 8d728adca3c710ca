"""Where on Earth a picture was taken, as a second sense beside what it shows.

Liu et al. 2017 name the phone's position as the modality that mobile visual search should fuse
with. Here it re-orders or filters what looks alike; it never makes up for what does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError

EARTH_RADIUS_M = 6_371_008.8
"""The mean radius (IUGG). On this sphere, distances are right to half a per cent."""

PositionArray = NDArray[np.float64]
"""float64 [n, 3]: latitude, longitude, heading; NaN where it is not known."""


@dataclass(frozen=True)
class Position:
    """A place (WGS 84), and which way the camera looked; raises `InputError`."""

    latitude: float
    """Degrees north, -90 to 90."""
    longitude: float
    """Degrees east, -180 to 180."""
    heading: float | None = None
    """Degrees clockwise from north, 0 to 360; None: not known."""

    def __post_init__(self) -> None:
        limits = (("latitude", -90, 90), ("longitude", -180, 180), ("heading", 0, 360))
        for name, low, high in limits:
            value = getattr(self, name)
            if (name != "heading" or value is not None) and not low <= value <= high:
                raise InputError(
                    f"a {name} of {value:g}",
                    where="position",
                    remedy=f"give degrees from {low} to {high}",
                )

    def to_row(self) -> tuple[float, float, float]:
        """As a row of `PositionArray`."""
        heading = math.nan if self.heading is None else self.heading
        return self.latitude, self.longitude, heading


def position_from_row(row: Sequence[float]) -> Position | None:
    """The position in a row of `PositionArray`, if there is one; raises `InputError`."""
    latitude, longitude, heading = row
    if math.isnan(latitude):
        return None
    return Position(latitude, longitude, None if math.isnan(heading) else heading)


def parse_position(text: str) -> Position:
    """LATITUDE,LONGITUDE[,HEADING] in degrees; raises `InputError`."""
    try:
        values = [float(part) for part in text.split(",")]
        if len(values) not in (2, 3):
            raise ValueError
    except ValueError as error:
        raise InputError(
            "not a position", where=text, remedy="write LATITUDE,LONGITUDE[,HEADING] in degrees"
        ) from error
    return Position(*values)


@dataclass(frozen=True)
class QueryPosition:
    """How a query's position bears on its neighbours; an item without a position is not judged.

    A neighbour's score is its distance in bits, plus a bit for every `meters_per_bit` that lie
    between the two beyond `error_m`, plus a bit for every `degrees_per_bit` between their headings.
    """

    position: Position
    within_m: float | None = None
    """Items farther away than this are left out; None: none are."""
    meters_per_bit: float | None = None
    """None: the distance on the ground does not change a score."""
    degrees_per_bit: float | None = None
    """None: the heading does not change a score."""
    error_m: float = 10.0
    """What a phone's position is usually off by: closer than this, nothing is nearer."""

    def __post_init__(self) -> None:
        for name in ("within_m", "meters_per_bit", "degrees_per_bit", "error_m"):
            value = getattr(self, name)
            least = 0.0 if name in ("within_m", "error_m") else 1e-9
            if value is not None and not least <= value < math.inf:
                raise InputError(f"{name} is {value:g}", remedy="give a positive number")

    def penalties(self, places: PositionArray) -> NDArray[np.float64]:
        """What to add to the distances of items at `places`: bits, float64 [n], 0 or more."""
        added = np.zeros(len(places))
        if self.meters_per_bit is not None:
            beyond = np.maximum(ground_distance_m(self.position, places) - self.error_m, 0)
            added += np.nan_to_num(beyond / self.meters_per_bit)
        if self.degrees_per_bit is not None and self.position.heading is not None:
            turned = np.abs((places[:, 2] - self.position.heading + 180) % 360 - 180)
            added += np.nan_to_num(turned / self.degrees_per_bit)
        return added

    def reaches(self, places: PositionArray) -> NDArray[np.bool_]:
        """Which of `places` are not farther than `within_m`, or not known: bool [n]."""
        within = math.inf if self.within_m is None else self.within_m
        # Degrees of latitude bound the distance from below, and leave little to compute.
        north = np.abs(places[:, 0] - self.position.latitude)
        reached = ~(north > math.degrees(within / EARTH_RADIUS_M) + 1e-9)
        rows = np.flatnonzero(reached)
        reached[rows[ground_distance_m(self.position, places[rows]) > within]] = False
        return reached


def ground_distance_m(here: Position, places: PositionArray) -> NDArray[np.float64]:
    """Metres along a great circle from `here` to each of `places`, by the haversine formula."""
    latitudes, longitudes = np.radians(places[:, 0]), np.radians(places[:, 1])
    latitude, longitude = math.radians(here.latitude), math.radians(here.longitude)
    chord = (
        np.sin((latitudes - latitude) / 2) ** 2
        + math.cos(latitude) * np.cos(latitudes) * np.sin((longitudes - longitude) / 2) ** 2
    )
    metres: NDArray[np.float64] = 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(chord, 1)))
    return metres
