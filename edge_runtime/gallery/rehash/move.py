"""Move a gallery to another model, by means of the pictures that it keeps.

The new codes and features are first collected in a side file, GALLERY.rehash, with one commit per
batch. Until all are there, the gallery answers as before. One transaction then replaces codes,
features and model. A process that is killed leaves the old gallery or the new one, and the next
call continues with the side file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np

from edge_runtime.code import Embedding
from edge_runtime.database.transaction import transaction
from edge_runtime.errors import PicturesMissingError, StorageError
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery.features.fitted import forget_fit
from edge_runtime.gallery.features.rows import write_features
from edge_runtime.gallery.pictures import count_by_label
from edge_runtime.gallery.rehash.plan import Plan, Task, make_plan
from edge_runtime.gallery.rehash.side_file import Result, open_side, read_results, remove_side
from edge_runtime.gallery.rows import (
    Meta,
    begin_generation,
    bind,
    checksum_of,
    forget_history,
    latest_generation,
    read_items,
    write_meta,
)
from edge_runtime.gallery.schema import checkpoint, connect, damaged, translated
from edge_runtime.gallery.snapshot.file import snapshot_path
from edge_runtime.model import ModelInfo

BATCH = 32
"""Pictures per commit to the side file. A process that is killed loses at most this many."""
_LISTED = 10
"""Labels that an error message lists."""

Embed = Callable[[bytes, Sequence[int]], list[Embedding]]
"""Returns the embeddings of the views with these numbers, of a kept picture (JPEG)."""
Progress = Callable[[int], AbstractContextManager[Callable[[float], None]]]
"""Gets the number of pictures to come; the function that it yields gets the number of new ones."""


@dataclass(frozen=True)
class Rehash:
    """The outcome of a rehash."""

    model_changed: bool
    """False if the gallery had this model. Then only missing features were added."""
    codes: int
    """Codes that were replaced, or got features."""
    missing: dict[str, int]
    """The number of pictures of each label that were not kept. They were dropped; without a change
    of the model, they still lack features."""
    fitted_dropped: bool
    """Whether the gallery had a fitted code. It does not fit another model's features."""


def rehash(
    path: Path,
    model: ModelInfo,
    embed: Embed,
    *,
    drop_missing: bool = False,
    progress: Progress = lambda _total: nullcontext(lambda _count: None),
) -> Rehash:
    """Make the gallery at `path`, which may be in use, one of `model`.

    With another model, all codes and features are replaced and the fitted code is dropped;
    everything else stays. With the same model, missing features are added. `drop_missing` removes
    the codes whose pictures were not kept. Raises `PicturesMissingError` without it, or if no
    picture was kept, and `GalleryError` or `StorageError`. The gallery is then unchanged.
    """
    side = path.with_name(path.name + ".rehash")
    with closing(connect(path, create=False, read_only=False)) as connection:
        meta = bind(connection, path, None)
        change = not model.accepts_codes_of(meta.model_id)
        if not change and not model.features:
            return Rehash(change, 0, {}, fitted_dropped=False)
        if change:
            _check_pictures(connection, path)
        with closing(open_side(side, Meta(model.id, model.bits))) as results:
            outcome = None
            while outcome is None:
                with translated(path), transaction(connection, "DEFERRED"):
                    plan = make_plan(connection, path, change=change)
                if change and plan.missing and not drop_missing:
                    raise _missing(connection, path, plan.missing_pictures)
                compute(connection, path, results, side, plan, embed, progress)
                with translated(path):
                    outcome = replace(connection, results, side, plan, model, change=change)
        with translated(path):
            checkpoint(connection)
    with suppress(OSError):
        if change:
            snapshot_path(path).unlink(missing_ok=True)
        remove_side(side)
    return outcome


def _check_pictures(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `PicturesMissingError`, without reading every row, if no picture is kept at all."""
    with translated(path):
        if connection.execute("SELECT 1 FROM picture").fetchone() is None:
            counts = count_by_label(connection)
            raise _missing(connection, path, {name: count[0] for name, count in counts.items()})


def _missing(
    connection: sqlite3.Connection, path: Path, pictures: dict[str, int]
) -> PicturesMissingError:
    total = sum(count.pictures for count in count_by_label(connection).values())
    missing = sum(pictures.values())
    if not total:
        return PicturesMissingError("nothing is enrolled", where=path, remedy="enroll photos first")
    listed = ", ".join(f"{count} of {name}" for name, count in [*pictures.items()][:_LISTED])
    more = len(pictures) - _LISTED
    others = f" and {more} more labels" if more > 0 else ""
    without = "" if missing == total else ", or continue without them: --drop-missing"
    return PicturesMissingError(
        f"{missing} of {total} pictures were not kept and must be photographed again: "
        f"{listed}{others}",
        where=path,
        remedy="with their photos at hand, first run edge-runtime enroll --keep-pictures with the "
        f"gallery's model{without}",
    )


def compute(
    connection: sqlite3.Connection,
    path: Path,
    results: sqlite3.Connection,
    side: Path,
    plan: Plan,
    embed: Embed,
    progress: Progress,
) -> None:
    """Store the results that the side file lacks."""
    with translated(side):
        done = {row.item_id: row.origin for row in read_results(results)}
    tasks = sorted(task for task in plan.tasks if done.get(task.item_id) != task.origin)
    pictures = [list(views) for _, views in groupby(tasks, attrgetter("picture_id"))]
    with progress(len(pictures)) as advance:
        for start in range(0, len(pictures), BATCH):
            rows: list[Result] = []
            for views in pictures[start : start + BATCH]:
                rows += _embedded(connection, path, views, embed)
                advance(1)
            with translated(side), transaction(results):
                results.executemany(
                    "INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?, ?)",
                    ((*row, checksum_of(tuple(row))) for row in rows),
                )


def _embedded(
    connection: sqlite3.Connection, path: Path, tasks: list[Task], embed: Embed
) -> Iterator[Result]:
    """Yield the results for the views of one picture; none if it was removed by now."""
    picture_id = tasks[0].picture_id
    with translated(path):
        row = connection.execute(
            "SELECT jpeg, checksum FROM picture WHERE item_id = ?", (picture_id,)
        ).fetchone()
    if row is None:
        return
    if row[1] != checksum_of((picture_id, row[0])):
        raise damaged(path, f"the checksum of the kept picture of code {picture_id} is wrong")
    embeddings = embed(row[0], [task.view for task in tasks])
    for task, embedding in zip(tasks, embeddings, strict=True):
        values = None if embedding.features is None else quantize(embedding.features).tobytes()
        yield Result(task.item_id, task.origin, embedding.code.astype("<u8").tobytes(), values)


def replace(
    connection: sqlite3.Connection,
    results: sqlite3.Connection,
    side: Path,
    plan: Plan,
    model: ModelInfo,
    *,
    change: bool,
) -> Rehash | None:
    """Put all results into the gallery; return None if it has changed since `plan` was made."""
    origins = {task.item_id: task.origin for task in plan.tasks}
    codes = {
        row.item_id: row.code
        for row in read_results(results)
        if origins.get(row.item_id) == row.origin
    }
    with transaction(connection):
        if latest_generation(connection) != plan.generation:
            return None
        if len(codes) != len(origins):
            raise StorageError(
                "what was written cannot be read back", where=side, remedy="check the disk"
            )
        fitted = connection.execute("SELECT 1 FROM layer").fetchone() is not None
        if change:
            connection.execute("DELETE FROM feature")
            for item_id in plan.missing:
                connection.execute("DELETE FROM item WHERE id = ?", (item_id,))
            connection.execute("DELETE FROM label WHERE id NOT IN (SELECT label_id FROM item)")
            for row in list(read_items(connection)):
                values = row._replace(code=codes[row.id])[:-1]
                connection.execute(
                    "UPDATE item SET code = ?, checksum = ? WHERE id = ?",
                    (codes[row.id], checksum_of(values), row.id),
                )
            forget_fit(connection)
            connection.execute("DELETE FROM meta")
            write_meta(connection, Meta(model.id, model.bits))
        write_features(
            connection,
            (
                (row.item_id, np.frombuffer(row.features, np.int8))
                for row in read_results(results)
                if row.item_id in codes and row.features is not None
            ),
        )
        if codes or change:
            begin_generation(connection)
        if change:  # readers must load every code again
            forget_history(connection)
    return Rehash(change, len(codes), plan.missing_pictures, change and fitted)
