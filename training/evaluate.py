"""Judge any ONNX hash model on sets of photos, through the runtime's own path.

    python -m training.evaluate --model FILE.onnx --data DIR... --out FILE.json

Writes one JSON of all figures, with the split named; `--page DIR` adds an HTML page with plots and
contact sheets (photos of other people's data: keep it out of the repository). A model that does not
describe itself is judged by what the options say of it, as `training.adopt` would take it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from edge_runtime.code import unpack
from training.adopt import description, self_described, told
from training.cache import PhotoReader
from training.cli import fail_in_one_line, say, settle
from training.data import DataError, Photo, label_indices, read_sets
from training.disturb import DISTURBANCES, SEVERITIES, disturbance
from training.files import write_json
from training.foreign import Said, describing
from training.judge import (
    Hasher,
    Ranking,
    Side,
    code_health,
    figures,
    mean_ap,
    per_label,
    retrieve,
    worst_pairs,
)
from training.metrics import open_set_episodes
from training.page import write_page
from training.splits import default_split


def protocols(photos: list[Photo], everything: Side) -> dict[str, tuple[Side, Side, str]]:
    """Named (database, queries, split in words) for one set of `photos`.

    `everything` holds the codes of those that could be read. Raises DataError for an empty side.
    """
    kept, asked, split = default_split(photos)
    names, asked_names = ({photo.name for photo in part} for part in (kept, asked))
    database = everything.where(lambda photo: photo.name in names)
    queries = everything.where(lambda photo: photo.name in asked_names)
    found = {"official": (database, queries, split)}
    if all("distinct" in photo.extra for photo in photos):
        clear = everything.where(lambda photo: photo.extra["distinct"] == "1")
        queried = clear.where(lambda photo: photo.extra["interleaved"] == "query")
        stored = clear.where(lambda photo: photo.extra["interleaved"] == "gallery")
        fresh = queried.where(lambda photo: photo.name in asked_names)
        found["official"] = (database, queries, "middle fifth of each walk")
        found["distinct"] = (
            database,
            queries.where(lambda photo: photo.extra["distinct"] == "1"),
            "middle fifth of each walk, queries of spots that are not look-alikes",
        )
        found["distinct_interleaved"] = (
            stored, queried,
            "every fifth frame of the distinct spots; a random split of a burst: near copies, and "
            "most queries belong to the gallery that the shipped model was trained on",
        )  # fmt: skip
        found["distinct_interleaved_untrained"] = (
            stored, fresh, "the same, only queries that no training saw"
        )  # fmt: skip
    for name, sides in found.items():
        for side, what in zip(sides[:2], ("database", "query"), strict=True):
            if not side.photos:
                raise DataError(
                    f"no readable {what} photo for the protocol {name}",
                    where=photos[0].source,
                    remedy="add photos, or see the manifest's columns",
                )
    return found


def open_set_of(database: Side, queries: Side, bits: int) -> dict[str, Any]:
    """Galleries of 10 labels against queries of others, all labels of the set taking part."""
    index = label_indices(database.photos)
    kept = queries.where(lambda photo: photo.label in index)
    measured = open_set_episodes(
        (database.codes, np.array([index[p.label] for p in database.photos], np.int64)),
        (kept.codes, np.array([index[p.label] for p in kept.photos], np.int64)),
        np.arange(len(index), dtype=np.int64),
        bits,
    )
    return {
        "auroc": measured.auroc,
        "radius": measured.radius,
        "accepted_known": [round(float(v), 4) for v in measured.accepted_known],
        "accepted_unknown": [round(float(v), 4) for v in measured.accepted_unknown],
    }


def evaluate(
    model: Path, data: tuple[Path, ...], disturbed: bool
) -> tuple[dict[str, Any], dict[str, Ranking]]:
    """All figures of `model` on the sets `data`, and the official ranking of each set."""
    hasher = Hasher(model)
    bits = hasher.info.bits
    result: dict[str, Any] = {
        "model": hasher.info.name, "version": hasher.info.version, "id": hasher.info.id,
        "bytes": hasher.info.size_bytes, "bits": bits, "radius": hasher.info.radius,
        "description": description(model, hasher.info), "sets": {},
    }  # fmt: skip
    rankings: dict[str, Ranking] = {}
    photos = read_sets(data)
    for source in sorted({photo.source for photo in photos}):
        own = [photo for photo in photos if photo.source == source]
        cache = PhotoReader(own)
        for line in cache.skipped:
            say(f"skipped {line}")
        say(f"{source}: hashing {len(cache)} photos")
        everything = Side(cache.kept, hasher.hash_all(cache))
        entry: dict[str, Any] = {"skipped": cache.skipped, "protocols": {}}
        for name, (database, queries, split) in protocols(own, everything).items():
            ranking = retrieve(database, queries)
            entry["protocols"][name] = {"split": split, **figures(ranking)}
            if name == "official":
                rankings[source] = ranking
                entry["labels"] = per_label(ranking)
                entry["worst_pairs"] = worst_pairs(ranking)
                known = {photo.label for photo in database.photos}
                if len(known) > 1 and known & entry["labels"].keys():
                    entry["open_set"] = open_set_of(database, queries, bits)
                else:
                    say(f"note: {source}: the open set needs queries of two labels: left out")
                entry["codes"] = code_health(database.codes, unpack(database.codes, bits))
                if disturbed:
                    entry["disturbances"] = _disturbed(hasher, database, queries)
        result["sets"][source] = entry
    return result, rankings


def _disturbed(hasher: Hasher, database: Side, queries: Side) -> dict[str, dict[str, float]]:
    cache = PhotoReader(queries.photos)
    table: dict[str, dict[str, float]] = {}
    for name in DISTURBANCES:
        say(f"queries under {name}")
        table[name] = {
            severity: round(
                mean_ap(
                    database, Side(cache.kept, hasher.hash_all(cache, disturbance(name, severity)))
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
        f" {told(result['description'])}"
    ]
    lines.append(f"{'set / protocol':44}{'queries':>8}{'MAP@100':>9}{'tie-aware':>10}{'P@1':>7}")
    for source, entry in result["sets"].items():
        for name, row in entry["protocols"].items():
            lines.append(
                f"{source + ' / ' + name:44}{row['queries']:8}{row['map100']:9.2f}"
                f"{row['map100_tie_aware']:10.2f}{row['precision1']:7.2f}"
            )
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="An ONNX hash model.")
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--out", type=Path, help="Where the JSON goes.")
@click.option("--page", type=Path, help="Folder of the HTML page.")
@click.option("--disturbances/--no-disturbances", default=False, show_default=True)
@describing
@fail_in_one_line
def main(
    model: Path,
    data: tuple[Path, ...],
    out: Path | None,
    page: Path | None,
    disturbances: bool,
    said: Said,
) -> None:
    """Command: see the module."""
    settle(1)
    with self_described(model, said) as described:
        result, rankings = evaluate(described, data, disturbances)
    if out is not None:
        write_json(out, result)
    if page is not None:
        write_page(page, result, rankings)
    click.echo(table(result))


if __name__ == "__main__":
    main()
