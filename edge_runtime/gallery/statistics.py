"""The numbers of a gallery."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge_runtime.database.transaction import transaction
from edge_runtime.gallery.pictures import count_by_label
from edge_runtime.gallery.records import Stats
from edge_runtime.gallery.rows import Meta, latest_generation
from edge_runtime.gallery.schema import translated
from edge_runtime.gallery.shared import count_pending, read_fleet


def gallery_stats(connection: sqlite3.Connection, path: Path, meta: Meta) -> Stats:
    """Return the gallery in numbers, all of one generation. This reads every row."""
    with translated(path), transaction(connection, "DEFERRED"):
        counts = count_by_label(connection).values()
        generation = latest_generation(connection).number
        (features,) = connection.execute("SELECT count(*) FROM feature").fetchone()
        kept = connection.execute(
            "SELECT count(*), coalesce(sum(length(jpeg)), 0) FROM picture"
        ).fetchone()
        (sounds,) = connection.execute("SELECT count(*) FROM sound").fetchone()
        fitted = connection.execute("SELECT bits FROM layer").fetchone()
        state = read_fleet(connection)
        pending = None if state is None else count_pending(connection)
        metric = connection.execute("SELECT 1 FROM metric").fetchone()
        size = sum(
            file.stat().st_size
            for suffix in ("", "-wal", "-shm", ".codes")
            if (file := path.with_name(path.name + suffix)).exists()
        )
    return Stats(
        path=str(path),
        model_id=meta.model_id,
        bits=meta.bits,
        pictures=sum(count.pictures for count in counts),
        codes=sum(count.codes for count in counts),
        labels=len(counts),
        generation=int(generation),
        size_bytes=size,
        features=int(features),
        kept_pictures=kept[0],
        kept_bytes=kept[1],
        fitted_bits=fitted[0] if fitted else None,
        fitted_similarity=metric is not None,
        fleet_version=None if state is None else state.version,
        pending_pictures=pending,
        sounds=int(sounds),
    )
