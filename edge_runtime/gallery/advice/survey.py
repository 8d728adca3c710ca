"""Look at a gallery as a whole, and advise."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from edge_runtime.fitting.calibration import FALSE_NAME_RATE, Calibration
from edge_runtime.gallery.advice import findings
from edge_runtime.gallery.advice.actions import actions
from edge_runtime.gallery.advice.leave_one_out import Rows, leave_one_out, sampled
from edge_runtime.gallery.advice.photos import check_photos
from edge_runtime.gallery.advice.report import Advice, PictureName, PicturePair
from edge_runtime.gallery.features.index import FeatureIndex, named_only
from edge_runtime.gallery.pictures import DIGEST_BYTES
from edge_runtime.gallery.records import MOST_CODES
from edge_runtime.gallery.snapshot.packed import Columns, Snapshot

MOST_PHOTOS = 300


@dataclass(frozen=True)
class AdviceOptions:
    """What is compared. The limits bound the time; beyond, all labels get an equal share."""

    false_name_rate: float = FALSE_NAME_RATE
    most_pictures: int = 1_000
    """Pictures that are compared with the others."""
    most_photos: int = MOST_PHOTOS
    """Pictures whose pixels are checked."""
    labels: Collection[str] | None = None
    """Compare only the pictures of these labels with the others; None: of all."""


class _Names:
    """The pictures that rows of codes belong to."""

    def __init__(
        self, connection: sqlite3.Connection, columns: Columns, labels: dict[int, str]
    ) -> None:
        self._connection, self._columns, self._labels = connection, columns, labels
        self._found: dict[int, PictureName] = {}

    def of_row(self, row: int) -> PictureName:
        columns = self._columns
        ids = columns.ids if columns.pictures is None else columns.pictures
        item_id = int(ids[row])
        if item_id not in self._found:
            source = self._connection.execute("SELECT source FROM item WHERE id = ?", (item_id,))
            label = self._labels[int(columns.label_ids[row])]
            self._found[item_id] = PictureName(item_id, label, (source.fetchone() or ("",))[0])
        return self._found[item_id]


def advise(
    connection: sqlite3.Connection,
    snapshot: Snapshot,
    index: FeatureIndex | None,
    calibration: Calibration | None,
    options: AdviceOptions,
) -> Advice:
    """Return the advice on the gallery of `snapshot`; `index` and `calibration` belong to it."""
    columns = _named(snapshot)
    names = _Names(connection, columns, snapshot.labels)
    firsts = _first_rows(columns)
    counts = Counter(snapshot.labels[int(owner)] for owner in columns.label_ids[firsts])
    chosen = sampled(firsts, columns.label_ids, options.most_photos)
    pictures = [names.of_row(row) for row in chosen.tolist()]
    advice = Advice(
        actions=(),
        pictures=len(firsts),
        labels=len(counts),
        queried=0,
        note=_note(connection, len(columns.ids)) if index is None else "",
        accuracy=None,
        few=findings.few_pictures(counts, {}),
        mislabeled=(),
        alike=(),
        duplicates=_same_files(connection, snapshot.labels),
        repeated=(),
        photos=check_photos(connection, pictures, len(firsts) - len(pictures)),
    )
    if index is not None and calibration is not None and len(firsts):
        advice = _compared(advice, named_only(index), calibration, names, counts, options)
    return replace(advice, actions=actions(advice))


def _compared(
    advice: Advice,
    index: FeatureIndex,
    calibration: Calibration,
    names: _Names,
    counts: Counter[str],
    options: AdviceOptions,
) -> Advice:
    """Add what comparing the pictures with each other shows."""
    labels = index.snapshot.labels
    wanted = None
    if options.labels is not None:
        wanted = [number for number, label in labels.items() if label in options.labels]
    trials = leave_one_out(index, options.most_pictures, wanted)
    wrong = findings.mislabeled(trials, calibration, names.of_row, counts)

    def cosine(row: int, other: int) -> float:
        return float(index.cosines(index.units(np.array([row]))[0], np.array([other]))[0])

    repeated = findings.repeated(trials, names.of_row, cosine)
    same = {(pair.picture.id, pair.other.id): pair for pair in advice.duplicates}
    for pair in findings.duplicates(trials, names.of_row):
        same.setdefault((pair.picture.id, pair.other.id), pair)
    return replace(
        advice,
        queried=len(trials),
        accuracy=findings.accuracy_of(
            trials, calibration.threshold(options.false_name_rate), labels
        ),
        few=findings.few_pictures(counts, Counter(pair.picture.label for pair in repeated)),
        mislabeled=wrong,
        alike=findings.alike_labels(trials, calibration, names.of_row, wrong),
        duplicates=tuple(same.values()),
        repeated=repeated,
    )


def _named(snapshot: Snapshot) -> Columns:
    """Return the living rows without the label `UNKNOWN`, which needs no advice."""
    columns = snapshot.columns()
    if snapshot.unknown is None:
        return columns
    named = columns.label_ids != snapshot.unknown
    return Columns(
        columns.ids[named],
        columns.label_ids[named],
        columns.codes[named],
        pictures=None if columns.pictures is None else columns.pictures[named],
    )


def _first_rows(columns: Columns) -> Rows:
    """Return the first row of each picture, ascending."""
    if columns.pictures is None:
        return np.arange(len(columns.ids))
    return np.unique(columns.pictures, return_index=True)[1]


def _note(connection: sqlite3.Connection, codes: int) -> str:
    """Return why the pictures cannot be compared."""
    if not codes:
        return ""
    if codes > MOST_CODES:
        return f"pictures are not compared: {codes} codes are more than the limit of {MOST_CODES}"
    (features,) = connection.execute("SELECT count(*) FROM feature").fetchone()
    return (
        f"pictures are not compared: {codes - features} of {codes} codes have no features "
        "(enroll the same photos again to add them)"
    )


def _same_files(connection: sqlite3.Connection, labels: dict[int, str]) -> tuple[PicturePair, ...]:
    """Return the photos that are enrolled under more than one label."""
    rows = connection.execute(
        "SELECT digest, id, label_id, source FROM item WHERE digest IN (SELECT digest FROM item "
        "WHERE length(digest) = ? GROUP BY digest HAVING count(*) > 1) ORDER BY id",
        (DIGEST_BYTES,),
    )
    first: dict[bytes, PictureName] = {}
    pairs = []
    for digest, item_id, label_id, source in rows:
        picture = PictureName(item_id, labels[label_id], source)
        earlier = first.setdefault(digest, picture)
        if earlier is not picture:
            pairs.append(PicturePair(earlier, picture, 1.0))
    return tuple(pairs)
