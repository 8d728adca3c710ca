"""The file of the inbox: groups, their centroids and pictures, and the means of the cameras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.code import Code, Embedding, words_of
from edge_runtime.database.side_file import DamagedError, SideFile
from edge_runtime.database.transaction import transaction
from edge_runtime.fitting.quantized import Floats, QuantizedFeatures
from edge_runtime.model import ModelInfo
from edge_runtime.unknowns.clusters import CameraMean, Centroid

APPLICATION_ID = 0x45524E55  # "ERNU"
STEPS = (
    (
        "CREATE TABLE meta (model TEXT NOT NULL)",
        "CREATE TABLE camera (name TEXT NOT NULL UNIQUE, mean BLOB NOT NULL, "
        "weight REAL NOT NULL, seconds REAL NOT NULL)",
        "CREATE TABLE thing (id INTEGER PRIMARY KEY AUTOINCREMENT, sightings INTEGER NOT NULL, "
        "first_s REAL NOT NULL, last_s REAL NOT NULL, dismissed INTEGER NOT NULL)",
        "CREATE TABLE centroid (thing_id INTEGER NOT NULL, camera TEXT NOT NULL, "
        "mean BLOB NOT NULL, sightings INTEGER NOT NULL, seconds REAL NOT NULL, "
        "UNIQUE (thing_id, camera))",
        "CREATE TABLE picture (id INTEGER PRIMARY KEY AUTOINCREMENT, thing_id INTEGER NOT NULL, "
        "taken_s REAL NOT NULL, camera TEXT NOT NULL, region TEXT, code BLOB NOT NULL, "
        "features BLOB NOT NULL, jpeg BLOB NOT NULL)",
        "CREATE INDEX picture_of_thing ON picture (thing_id)",
    ),
)


@dataclass
class Thing:
    """A group of sightings."""

    id: int
    sightings: int
    first_s: float
    """Time of the first sighting, seconds since the epoch."""
    last_s: float
    dismissed: bool


@dataclass(frozen=True)
class StoredPicture:
    """A picture without its bytes."""

    id: int
    thing: int
    taken_s: float
    camera: str
    region: str | None
    code: Code
    features: QuantizedFeatures | None

    @property
    def embedding(self) -> Embedding:
        """Code and features."""
        features = None if self.features is None else self.features.astype(np.float32)
        return Embedding(self.code, features)


@dataclass
class Contents:
    """What is kept in memory."""

    things: dict[int, Thing]
    cameras: dict[str, CameraMean]
    camera_seconds: dict[str, float]
    centroids: list[Centroid]


def unknowns_file(path: Path) -> SideFile:
    """Return the inbox at `path`."""
    return SideFile(path, APPLICATION_ID, STEPS)


class Store:
    """The open file. It belongs to one thread. Each method raises `StorageError`, or
    `DamagedError` if the content is not usable."""

    def __init__(self, path: Path, model: ModelInfo) -> None:
        """Open or create the file; forget everything if another model filled it."""
        self._file = unknowns_file(path)
        self._model = model
        self._connection = self._file.open()
        try:
            with self._file.translated(), transaction(self._connection):
                row = self._connection.execute("SELECT model FROM meta").fetchone()
                if row is None or row[0] != model.id:
                    for table in ("meta", "camera", "thing", "centroid", "picture"):
                        self._connection.execute(f"DELETE FROM {table}")
                    self._connection.execute("INSERT INTO meta VALUES (?)", (model.id,))
        except BaseException:
            self._connection.close()
            raise

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self._file.path

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Commit the changes of the block together, and give free space back."""
        with self._file.translated():
            with transaction(self._connection):
                yield
            self._connection.executescript("PRAGMA incremental_vacuum")  # execute() frees one page

    # -- reading ------------------------------------------------------------------------------

    def contents(self) -> Contents:
        """Read everything but the pictures."""
        with self._file.translated():
            things = {
                row[0]: Thing(row[0], row[1], row[2], row[3], bool(row[4]))
                for row in self._rows("SELECT id, sightings, first_s, last_s, dismissed FROM thing")
            }
            cameras, seconds = {}, {}
            for name, mean, weight, total_s in self._rows(
                "SELECT name, mean, weight, seconds FROM camera"
            ):
                cameras[name] = CameraMean(self._vector(mean), weight)
                seconds[name] = total_s
            centroids = [
                Centroid(thing, camera, self._vector(mean), sightings, still_s)
                for thing, camera, mean, sightings, still_s in self._rows(
                    "SELECT thing_id, camera, mean, sightings, seconds FROM centroid"
                )
            ]
        if any(one.group not in things for one in centroids):
            raise DamagedError("a centroid belongs to nothing")
        return Contents(things, cameras, seconds, centroids)

    def pictures(self, thing: int | None = None) -> list[StoredPicture]:
        """Return the pictures of one thing or of all, the oldest first."""
        columns = "id, thing_id, taken_s, camera, region, code, features"
        where, values = ("", ()) if thing is None else (" WHERE thing_id = ?", (thing,))
        with self._file.translated():
            rows = self._rows(f"SELECT {columns} FROM picture{where} ORDER BY id", values)
        size, features = 8 * words_of(self._model.bits), self._model.features
        if any(len(row[5]) != size or len(row[6]) != features for row in rows):
            raise DamagedError("a picture has features of another length")
        return [
            StoredPicture(
                *(one, thing, taken_s, camera, region),
                np.frombuffer(code, "<u8").astype(np.uint64),
                np.frombuffer(vector, np.int8) if features else None,
            )
            for one, thing, taken_s, camera, region, code, vector in rows
        ]

    def jpeg(self, picture: int) -> bytes:
        """Return a picture, or b""."""
        with self._file.translated():
            found = self._rows("SELECT jpeg FROM picture WHERE id = ?", (picture,))
        return bytes(found[0][0]) if found else b""

    def usage(self) -> tuple[int, int]:
        """Return the number of pictures, and the bytes of the file that are in use."""
        with self._file.translated():
            ((count,),) = self._rows("SELECT count(*) FROM picture")
            ((pages,),) = self._rows("PRAGMA page_count")
            ((free,),) = self._rows("PRAGMA freelist_count")
            ((size,),) = self._rows("PRAGMA page_size")
        return int(count), int((pages - free) * size)

    # -- changes, inside `writing` ------------------------------------------------------------

    def new_thing(self, seen_s: float) -> Thing:
        """Add a thing without sightings."""
        cursor = self._connection.execute(
            "INSERT INTO thing (sightings, first_s, last_s, dismissed) VALUES (0, ?, ?, 0)",
            (seen_s, seen_s),
        )
        assert cursor.lastrowid is not None
        return Thing(cursor.lastrowid, 0, seen_s, seen_s, dismissed=False)

    def write(
        self,
        things: Iterable[Thing],
        centroids: Iterable[Centroid],
        cameras: Iterable[tuple[str, CameraMean, float]],
    ) -> None:
        """Write changed values; the last number of a camera is how long it was watched."""
        self._connection.executemany(
            "UPDATE thing SET sightings = ?, first_s = ?, last_s = ?, dismissed = ? WHERE id = ?",
            [(one.sightings, one.first_s, one.last_s, one.dismissed, one.id) for one in things],
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO centroid VALUES (?, ?, ?, ?, ?)",
            [
                (one.group, one.camera, _bytes(one.mean), one.sightings, one.seconds)
                for one in centroids
            ],
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO camera VALUES (?, ?, ?, ?)",
            [(name, _bytes(one.mean), one.weight, total_s) for name, one, total_s in cameras],
        )

    def add_picture(self, picture: StoredPicture, jpeg: bytes) -> None:
        """Add a picture; its id is not used."""
        features = b"" if picture.features is None else picture.features.tobytes()
        self._connection.execute(
            "INSERT INTO picture (thing_id, taken_s, camera, region, code, features, jpeg) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(picture.thing, picture.taken_s, picture.camera, picture.region),
                *(picture.code.astype("<u8").tobytes(), features, jpeg),
            ),
        )

    def remove_pictures(self, ids: Iterable[int]) -> None:
        """Remove pictures."""
        self._connection.executemany("DELETE FROM picture WHERE id = ?", [(one,) for one in ids])

    def remove_thing(self, thing: int) -> None:
        """Remove a thing with its pictures."""
        for table, column in (("picture", "thing_id"), ("centroid", "thing_id"), ("thing", "id")):
            self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (thing,))

    # -- internals ----------------------------------------------------------------------------

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def _vector(self, data: bytes) -> Floats:
        if len(data) != 4 * length_of(self._model):
            raise DamagedError(f"a mean has {len(data)} bytes")
        vector = np.frombuffer(data, "<f4").astype(np.float32)
        if not np.isfinite(vector).all():
            raise DamagedError("a mean is not finite")
        return vector


def set_aside(path: Path, why: str) -> None:
    """Rename the damaged file; raises `StorageError`."""
    file = SideFile(path, APPLICATION_ID, STEPS)
    with file.translated():
        file.set_aside(why)


def length_of(model: ModelInfo) -> int:
    """Return the length of the vectors that are compared: features, or the bits of a code."""
    return model.features or model.bits


def _bytes(vector: Floats) -> bytes:
    return vector.astype("<f4").tobytes()
