"""What was fitted to a gallery: the tables layer, metric, refit and calibration.

Each table has at most one row, with a checksum over its values.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edge_runtime.fitting.calibration import Calibration
from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.metric import FittedMetric
from edge_runtime.gallery.rows import Generation, checksum_of, latest_generation

CALIBRATION_VERSION = 3
"""Version of the method of calibration. Increase it when the method changes."""


@dataclass(frozen=True, eq=False)
class Fit:
    """The fitted parts of a gallery; None where nothing was fitted, or nothing was better."""

    layer: HashLayer | None = None
    """Replaces the model's layer: the codes that are searched are its codes of the features."""
    metric: FittedMetric | None = None
    """Replaces the cosine of the features."""
    checksums: tuple[int | None, int | None] = (None, None)
    """Of both parts; tell two fits apart."""


def read_fit(connection: sqlite3.Connection) -> Fit:
    """Return what was fitted; raises ValueError if it is corrupt."""
    layer, _, layer_checksum = read_layer(connection)
    metric, metric_checksum = read_metric(connection)
    return Fit(layer, metric, (layer_checksum, metric_checksum))


def fit_checksums(connection: sqlite3.Connection) -> tuple[int | None, int | None]:
    """Return the checksums of both parts without reading the parts."""
    query = "SELECT (SELECT checksum FROM layer), (SELECT checksum FROM metric)"
    layer, metric = connection.execute(query).fetchone()
    return layer, metric


def read_layer(
    connection: sqlite3.Connection,
) -> tuple[HashLayer | None, dict[str, Any] | None, int | None]:
    """Return the fitted layer, its details and its checksum; raises ValueError if corrupt."""
    values, checksum = _read(connection, "SELECT bits, weights, details, checksum FROM layer")
    if values is None:
        return None, None, None
    bits, weights, details = values
    return HashLayer.from_bytes(weights, bits), json.loads(details), checksum


def read_metric(connection: sqlite3.Connection) -> tuple[FittedMetric | None, int | None]:
    """Return the fitted metric and its checksum; raises ValueError if corrupt."""
    values, checksum = _read(
        connection, "SELECT features, directions, folds, weights, checksum FROM metric"
    )
    if values is None:
        return None, None
    features, directions, folds, weights = values
    return FittedMetric.from_bytes(weights, features, directions, folds), checksum


def read_outcome(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """Return the outcome of the last refit; raises ValueError if it is corrupt."""
    values, _ = _read(connection, "SELECT details, checksum FROM refit")
    return None if values is None else json.loads(values[0])


def read_calibration(connection: sqlite3.Connection, generation: Generation) -> Calibration | None:
    """Return the calibration of this generation; None if another one or none is stored.

    Raises ValueError if it is corrupt. One that another version has measured is not returned.
    """
    values, _ = _read(connection, "SELECT generation, stamp, details, checksum FROM calibration")
    if values is None or Generation(*values[:2]) != generation:
        return None
    details = json.loads(values[2])
    if details.pop("version", None) != CALIBRATION_VERSION:
        return None
    closer = details.pop("closer")
    return Calibration(**details, closer=None if closer is None else Calibration(**closer))


def fit_faults(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what is wrong with the parts that were fitted, a line each."""
    parts: tuple[tuple[str, Callable[[sqlite3.Connection], object]], ...] = (
        ("layer", read_layer),
        ("metric", read_metric),
        ("outcome", read_outcome),
        ("calibration", lambda one: read_calibration(one, latest_generation(one))),
    )
    for part, read in parts:
        try:
            read(connection)
        except ValueError as error:
            yield f"fitted {part}: {error}"


def write_calibration(
    connection: sqlite3.Connection, generation: Generation, calibration: Calibration
) -> None:
    """Replace the stored calibration."""
    details = json.dumps({"version": CALIBRATION_VERSION, **asdict(calibration)})
    _write(connection, "calibration", (*generation, details))


def write_layer(
    connection: sqlite3.Connection, layer: HashLayer | None, details: dict[str, Any]
) -> None:
    """Replace the layer of the gallery; None removes it."""
    values = None if layer is None else (layer.bits, layer.to_bytes(), json.dumps(details))
    _write(connection, "layer", values)


def write_metric(connection: sqlite3.Connection, metric: FittedMetric | None) -> None:
    """Replace the metric of the gallery; None removes it."""
    values = None
    if metric is not None:
        directions, features = metric.metric.directions.shape
        values = (features, directions, len(metric.folds), metric.to_bytes())
    _write(connection, "metric", values)


def write_outcome(connection: sqlite3.Connection, details: dict[str, Any]) -> None:
    """Replace the outcome of the last refit."""
    _write(connection, "refit", (json.dumps(details),))


def forget_fit(connection: sqlite3.Connection) -> None:
    """Remove everything that was fitted: its features are replaced."""
    for table in ("layer", "metric", "refit"):
        _write(connection, table, None)


def _read(connection: sqlite3.Connection, query: str) -> tuple[tuple[Any, ...] | None, int | None]:
    row = connection.execute(query).fetchone()
    if row is None:
        return None, None
    *values, checksum = row
    if checksum != checksum_of(tuple(values)):
        raise ValueError("its checksum does not match")
    return tuple(values), checksum


def _write(connection: sqlite3.Connection, table: str, values: tuple[Any, ...] | None) -> None:
    connection.execute(f"DELETE FROM {table}")
    if values is not None:
        marks = ", ".join("?" * (len(values) + 2))
        row = (1, *values, checksum_of(values))
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
