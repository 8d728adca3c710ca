"""Judge any ONNX hash model on sets of photos, through the runtime's own path.

    python -m training evaluate --model FILE.onnx --data DIR... --out FILE.json

Writes one JSON of all figures and beside it FILE.split.csv, the photos of every protocol's database
and queries; the JSON names each by its SHA-256, so that two results of one split can be told to be
so. `--page DIR` adds an HTML page with plots and
contact sheets (photos of other people's data: keep it out of the repository). A model that does not
describe itself is judged by what the options say of it, as `training.onnx.import_model` would take it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.code import unpack
from edge_runtime.model import identify
from training.cli import log
from training.data.photo_sets import read_sets
from training.data.pixel_cache import PhotoReader
from training.data.splits import Parts, held_out_labels, split_csv, split_digest
from training.eval.corruptions import CORRUPTIONS, SEVERITIES, corruption
from training.eval.protocols import protocols
from training.eval.retrieval import (
    OPEN_SETS,
    CodeSet,
    Hasher,
    Ranking,
    acceptance_rates,
    code_health,
    figures,
    mean_ap,
    open_set_of,
    per_label,
    retrieve,
    worst_pairs,
)
from training.onnx.import_model import description, input_summary


class Evaluation(NamedTuple):
    """A model's figures, and what they were made of."""

    result: dict[str, Any]
    rankings: dict[str, Ranking]
    """The official one of each set."""
    splits: bytes
    """CSV (training.data.splits): the photos of every protocol."""


def evaluate(
    model: Path, data: tuple[Path, ...], disturbed: bool, unseen: Path | None = None
) -> Evaluation:
    """All figures of `model` on the sets `data`.

    `unseen` is a stored split whose held-out labels no training of `model` saw.
    """
    hasher = Hasher(model)
    bits = hasher.info.bits
    result: dict[str, Any] = {
        "model": hasher.info.name, "version": hasher.info.version, "id": hasher.info.id,
        "bytes": hasher.info.size_bytes, "bits": bits, "radius": hasher.info.radius,
        "description": description(model, hasher.info), "sets": {},
    }  # fmt: skip
    rankings: dict[str, Ranking] = {}
    splits: list[tuple[str, Parts]] = []
    photos = read_sets(data)
    hidden = held_out_labels(unseen, photos) if unseen else set()
    if unseen:
        result["unseen"] = {"labels": len(hidden), "split_sha256": identify(unseen)[0]}
    for source in sorted({photo.source for photo in photos}):
        own = [photo for photo in photos if photo.source == source]
        cache = PhotoReader(own)
        for line in cache.skipped:
            log(f"skipped {line}")
        log(f"{source}: hashing {len(cache)} photos")
        everything = CodeSet(cache.photos, hasher.hash_all(cache))
        entry: dict[str, Any] = {"skipped": cache.skipped, "protocols": {}}
        for name, (database, queries, split) in protocols(own, everything, hidden).items():
            ranking = retrieve(database, queries)
            splits.append((name, {"database": database.photos, "queries": queries.photos}))
            entry["protocols"][name] = {
                "split": split, "split_sha256": split_digest(*splits[-1]), **figures(ranking)
            }  # fmt: skip
            if name == "official":
                rankings[source] = ranking
                entry["labels"] = per_label(ranking)
                entry["worst_pairs"] = worst_pairs(ranking)
                entry |= _open_set(source, "open_set", database, queries, bits)
                entry["codes"] = code_health(database.codes, unpack(database.codes, bits))
                if disturbed:
                    entry["disturbances"] = _disturbed(hasher, database, queries)
            if name == "unseen":
                strangers = database.where(lambda photo: photo.label in hidden)
                entry |= _open_set(source, "open_set_unseen", strangers, queries, bits)
        if hidden and "unseen" not in entry["protocols"]:
            log(f"note: {source}: no query of a held-out label")
        result["sets"][source] = entry
    listed = split_csv(splits)
    result["split_sha256"] = hashlib.sha256(listed).hexdigest()
    return Evaluation(result, rankings, listed)


def _open_set(
    source: str, name: str, database: CodeSet, queries: CodeSet, bits: int
) -> dict[str, Any]:
    """The open set of these as `name`; nothing where it cannot be measured."""
    known = {photo.label for photo in database.photos}
    if len(known) > 1 and any(photo.label in known for photo in queries.photos):
        return {name: open_set_of(database, queries, bits)}
    log(f"note: {source}: the {name.replace('_', ' ')} needs queries of two labels: left out")
    return {}


def _disturbed(hasher: Hasher, database: CodeSet, queries: CodeSet) -> dict[str, dict[str, float]]:
    cache = PhotoReader(queries.photos)
    table: dict[str, dict[str, float]] = {}
    for name in CORRUPTIONS:
        log(f"queries under {name}")
        table[name] = {
            severity: round(
                mean_ap(
                    database,
                    CodeSet(cache.photos, hasher.hash_all(cache, corruption(name, severity))),
                ),
                2,
            )
            for severity in SEVERITIES
        }
    return table


def table(result: dict[str, Any]) -> str:
    """The main figures as text."""
    lines = [
        f"{result['model']}: {result['bits']} bits, radius {result['radius']};"
        f" {input_summary(result['description'])}"
    ]
    lines.append(f"{'set / protocol':44}{'queries':>8}{'MAP@100':>9}{'tie-aware':>10}{'P@1':>7}")
    for source, entry in result["sets"].items():
        for name, row in entry["protocols"].items():
            lines.append(
                f"{source + ' / ' + name:44}{row['queries']:8}{row['map100']:9.2f}"
                f"{row['map100_tie_aware']:10.2f}{row['precision1']:7.2f}"
            )
    for source, entry in result["sets"].items():
        for name in [each for each in OPEN_SETS if each in entry]:
            known, unknown = acceptance_rates(entry[name], result["radius"])
            lines.append(
                f"{source}, {name.replace('_', ' ')}: area under ROC {entry[name]['auroc']:.3f},"
                f" accepted {known:.1f} % of the known and {unknown:.1f} % of the unknown"
                f" (best radius here {entry[name]['radius']})"
            )
    return "\n".join(lines)
