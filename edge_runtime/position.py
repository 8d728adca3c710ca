"""Geographic positions: where an image was taken, as a second cue beside its content.

Liu et al. 2017 name the phone's position as the modality to fuse with mobile visual search. Here it
reorders or filters pictures that look alike. It never compensates for pictures that look
different.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError

EARTH_RADIUS_M = 6_371_008.8
"""Mean Earth radius (IUGG). Distances on this sphere are accurate to 0.5 %."""

PositionArray = NDArray[np.float64]
"""float64 [n, 3]: latitude, longitude, heading; NaN for unknown values."""


@dataclass(frozen=True)
class Position:
    """A place (WGS 84) and the direction of the camera; raises `InputError` for invalid values."""

    latitude: float
    """Degrees north, -90 to 90."""
    longitude: float
    """Degrees east, -180 to 180."""
    heading: float | None = None
    """Degrees clockwise from north, 0 to 360; None if unknown."""

    def __post_init__(self) -> None:
        limits = (("latitude", -90, 90), ("longitude", -180, 180), ("heading", 0, 360))
        for name, low, high in limits:
            value = getattr(self, name)
            if (name != "heading" or value is not None) and not low <= value <= high:
                raise InputError(
                    f"{name} must be between {low} and {high} degrees, got {value:g}",
                    where="position",
                )

    def to_row(self) -> tuple[float, float, float]:
        """Return the position as a row of a `PositionArray`."""
        heading = math.nan if self.heading is None else self.heading
        return self.latitude, self.longitude, heading


def position_from_row(row: Sequence[float]) -> Position | None:
    """Return the position in a row of a `PositionArray`, or None; raises `InputError`."""
    latitude, longitude, heading = row
    if math.isnan(latitude):
        return None
    return Position(latitude, longitude, None if math.isnan(heading) else heading)


def parse_position(text: str) -> Position:
    """Parse LATITUDE,LONGITUDE[,HEADING] in degrees; raises `InputError`."""
    try:
        values = [float(part) for part in text.split(",")]
        if len(values) not in (2, 3):
            raise ValueError
    except ValueError as error:
        raise InputError(
            "not a position", where=text, remedy="use LATITUDE,LONGITUDE[,HEADING] in degrees"
        ) from error
    return Position(*values)


@dataclass(frozen=True)
class QueryPosition:
    """A query's position and how it affects the ranking.

    A neighbor's score is its distance in bits, plus one bit per `meters_per_bit` of ground distance
    beyond `error_m`, plus one bit per `degrees_per_bit` between the headings. Codes without a
    position get no penalty.
    """

    position: Position
    within_m: float | None = None
    """Codes farther away than this are excluded; None excludes no code."""
    meters_per_bit: float | None = None
    """None ignores the ground distance."""
    degrees_per_bit: float | None = None
    """None ignores the heading."""
    error_m: float = 10.0
    """Typical error of a phone's position; smaller distances add no penalty."""

    def __post_init__(self) -> None:
        for name in ("within_m", "meters_per_bit", "degrees_per_bit", "error_m"):
            value = getattr(self, name)
            least = 0.0 if name in ("within_m", "error_m") else 1e-9
            if value is not None and not least <= value < math.inf:
                raise InputError(f"{name} must be a positive number, got {value:g}")

    def penalties(self, positions: PositionArray) -> NDArray[np.float64]:
        """Return the bits to add to the distances of codes enrolled at `positions`, float64 [n]."""
        added = np.zeros(len(positions))
        if self.meters_per_bit is not None:
            beyond = np.maximum(ground_distance_m(self.position, positions) - self.error_m, 0)
            added += np.nan_to_num(beyond / self.meters_per_bit)
        if self.degrees_per_bit is not None and self.position.heading is not None:
            turned = np.abs((positions[:, 2] - self.position.heading + 180) % 360 - 180)
            added += np.nan_to_num(turned / self.degrees_per_bit)
        return added

    def reaches(self, positions: PositionArray) -> NDArray[np.bool_]:
        """Return which of `positions` are within `within_m` or unknown: bool [n]."""
        within = math.inf if self.within_m is None else self.within_m
        # The difference in latitude is a lower bound that excludes most positions cheaply.
        north = np.abs(positions[:, 0] - self.position.latitude)
        reached: NDArray[np.bool_] = ~(north > math.degrees(within / EARTH_RADIUS_M) + 1e-9)
        rows = np.flatnonzero(reached)
        reached[rows[ground_distance_m(self.position, positions[rows]) > within]] = False
        return reached


def ground_distance_m(here: Position, positions: PositionArray) -> NDArray[np.float64]:
    """Return the great-circle distance in meters from `here` to each of `positions` (haversine)."""
    latitudes, longitudes = np.radians(positions[:, 0]), np.radians(positions[:, 1])
    latitude, longitude = math.radians(here.latitude), math.radians(here.longitude)
    chord = (
        np.sin((latitudes - latitude) / 2) ** 2
        + math.cos(latitude) * np.cos(latitudes) * np.sin((longitudes - longitude) / 2) ** 2
    )
    meters: NDArray[np.float64] = 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(chord, 1)))
    return meters
