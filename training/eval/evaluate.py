"""Evaluate an ONNX hash model on sets of photos through the code path of the runtime."""

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
    """The figures of a model and the rankings behind them."""

    result: dict[str, Any]
    rankings: dict[str, Ranking]
    """The official ranking of each set."""
    splits: bytes
    """CSV (training.data.splits) with the photos of every protocol."""


def evaluate(
    model: Path, data: tuple[Path, ...], corrupted: bool, unseen: Path | None = None
) -> Evaluation:
    """Evaluate `model` on the sets `data`.

    `unseen` is a stored split whose held-out labels `model` was not trained on.
    """
    hasher = Hasher(model)
    bits = hasher.info.bits
    result: dict[str, Any] = {
        "model": hasher.info.name, "version": hasher.info.version, "id": hasher.info.id,
        "bytes": hasher.info.size_bytes, "bits": bits, "radius": hasher.info.radius,
        "features": hasher.info.features, "same_codes_as": list(hasher.info.same_codes_as),
        "description": description(model, hasher.info), "sets": {},
    }  # fmt: skip
    rankings: dict[str, Ranking] = {}
    splits: list[tuple[str, Parts]] = []
    photos = read_sets(data)
    held_out = held_out_labels(unseen, photos) if unseen else set()
    if unseen:
        result["unseen"] = {"labels": len(held_out), "split_sha256": identify(unseen)[0]}
    for source in sorted({photo.source for photo in photos}):
        own = [photo for photo in photos if photo.source == source]
        cache = PhotoReader(own)
        for line in cache.skipped:
            log(f"skipped {line}")
        log(f"{source}: hashing {len(cache)} photos")
        codes_of_set = CodeSet(cache.photos, hasher.hash_all(cache))
        entry: dict[str, Any] = {"skipped": cache.skipped, "protocols": {}}
        for name, (database, queries, split) in protocols(own, codes_of_set, held_out).items():
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
                if corrupted:
                    entry["disturbances"] = _corrupted(hasher, database, queries)
            if name == "unseen":
                unseen_database = database.where(lambda photo: photo.label in held_out)
                entry |= _open_set(source, "open_set_unseen", unseen_database, queries, bits)
        if held_out and "unseen" not in entry["protocols"]:
            log(f"note: {source}: no query has a held-out label")
        result["sets"][source] = entry
    split_list = split_csv(splits)
    result["split_sha256"] = hashlib.sha256(split_list).hexdigest()
    return Evaluation(result, rankings, split_list)


def _open_set(
    source: str, name: str, database: CodeSet, queries: CodeSet, bits: int
) -> dict[str, Any]:
    """Return {name: open set}, or an empty dict where it cannot be measured."""
    known = {photo.label for photo in database.photos}
    if len(known) > 1 and any(photo.label in known for photo in queries.photos):
        return {name: open_set_of(database, queries, bits)}
    measure = name.replace("_", " ")
    log(f"note: {source}: the {measure} needs queries of at least two labels; left out")
    return {}


def _corrupted(hasher: Hasher, database: CodeSet, queries: CodeSet) -> dict[str, dict[str, float]]:
    cache = PhotoReader(queries.photos)
    table: dict[str, dict[str, float]] = {}
    for name in CORRUPTIONS:
        log(f"hashing queries with {name}")
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
    """Format the main figures as text."""
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
