"""All methods at all code lengths on the features of one backbone, seen and unseen labels.

    python -m training.experiments.methods --data DIR... --weights NPZ --name frozen --out FILE.json
    python -m training.experiments.methods --data DIR... --checkpoint FILE --name tuned --out FILE.json
    python -m training.experiments.methods --data DIR... --model FILE.onnx --name shipped --out FILE.json
    python -m training.experiments.methods --data DIR... --features hand-made --name hand-made --out FILE.json

For each method and length: MAP@100 of the official queries; and, with a hash layer that was fitted
without a fifth of the labels, MAP@100 of these labels' queries against the whole database. The
backbone is what it is: only a backbone that never saw the held-out labels makes the second figure
one of unseen labels; the JSON says which it was. The float row, under the number of features, ranks
by cosine. Features made by hand (training/handmade) need no network: the baseline of old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from training.cli import LONGEST, SIDE, fail_in_one_line, say, settle
from training.data.photo_sets import Photo, label_indices, read_sets
from training.data.pixel_cache import PhotoReader
from training.data.splits import class_split, default_split, splits_of
from training.eval.metrics import average_precision
from training.eval.retrieval import SHUFFLE_SEED, TOP, Side, mean_ap
from training.files import write_json
from training.hash_layer import handcrafted
from training.hash_layer.build_model import UNSEEN_SEED, UNSEEN_SHARE, choose, to_codes
from training.hash_layer.features import Floats, Run, clean_features
from training.hash_layer.fit import HeadRecipe, fit_head
from training.methods import LEARNT, UNSUPERVISED, WHOLE

METHODS = (*UNSUPERVISED, *(name for name in LEARNT if name not in WHOLE))


def parse_methods(text: str) -> tuple[str, ...]:
    """ "paper,itq" -> ("paper", "itq"); raises InputError for a name that is no method's."""
    names = tuple(text.split(","))
    known = (*UNSUPERVISED, *LEARNT)
    for name in names:
        if name not in known:
            raise InputError(
                f'no method "{name}"', where="--methods", remedy=f"known: {', '.join(known)}"
            )
    return names


def parse_lengths(text: str, where: str = "--bits") -> tuple[int, ...]:
    """ "16,32" -> (16, 32), numbers of bits each 1 to LONGEST; raises InputError."""
    parts = text.split(",")
    lengths = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(lengths) < len(parts) or not all(1 <= bits <= LONGEST for bits in lengths):
        raise InputError(
            f'"{text}" is not a list of lengths',
            where=where,
            remedy=f"write 16,32,64, each 1 to {LONGEST}",
        )
    return lengths


@dataclass(frozen=True)
class Part:
    """Photos and their features float32 [N, F]."""

    photos: list[Photo]
    features: Floats

    def where(self, chosen: NDArray[np.bool_]) -> Part:
        """The rows `chosen`."""
        return Part(
            [p for p, c in zip(self.photos, chosen, strict=True) if c], self.features[chosen]
        )

    def labelled(self, labels: set[str]) -> Part:
        """The photos of `labels`."""
        return self.where(np.array([photo.label in labels for photo in self.photos]))

    def of(self, source: str) -> Part:
        """The photos of one set."""
        return self.where(np.array([photo.source == source for photo in self.photos]))


def float_map(database: Part, queries: Part) -> float:
    """MAP@100 in percent of ranking float features by cosine."""
    rows = np.random.default_rng(SHUFFLE_SEED).permutation(len(database.photos))
    names = np.array([database.photos[int(row)].label for row in rows])
    wanted = np.array([photo.label for photo in queries.photos])
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True)
            for part in (database.features[rows], queries.features)]  # fmt: skip
    order = np.argsort(-(unit[1] @ unit[0].T), axis=1, kind="stable")
    return 100 * float(average_precision(names[order] == wanted[:, None], TOP).mean())


def compare(
    database: Part,
    queries: Part,
    lengths: tuple[int, ...],
    seeds: Sequence[int],
    only: str = "",
    methods: tuple[str, ...] = METHODS,
) -> dict[str, dict[str, Any]]:
    """The table: source -> "seen" / "unseen" -> method -> bits -> MAP@100 in percent.

    The mean over `seeds`. `only` "seen" or "unseen" leaves the other half out.
    """
    sources = sorted({photo.source for photo in database.photos})
    seen, unseen = class_split(database.photos, UNSEEN_SHARE, UNSEEN_SEED)
    hidden = {photo.label for photo in unseen}
    shown = {photo.label for photo in seen}
    table: dict[str, dict[str, Any]] = {
        source: {"seen": {}, "unseen": {}, "unseen_labels": sum(
            label.startswith(f"{source}/") or len(sources) == 1 for label in hidden)}
        for source in sources
    }  # fmt: skip
    for source in sources:
        base, asked = database.of(source), queries.of(source)
        width = str(base.features.shape[1])
        table[source]["seen"]["float"] = {width: round(float_map(base, asked), 2)}
        asked = asked.labelled(hidden)
        table[source]["unseen"]["float"] = {width: round(float_map(base, asked), 2)}
    for name in methods:
        for bits in lengths:
            for which, fitted in (("seen", database), ("unseen", database.labelled(shown))):
                if only not in ("", which):
                    continue
                index = label_indices(fitted.photos)
                labels = np.array([index[photo.label] for photo in fitted.photos], np.int64)
                heads = [
                    fit_head([fitted.features], labels, len(index),
                             HeadRecipe(method=name, bits=bits, seed=seed))
                    for seed in seeds
                ]  # fmt: skip
                for source in sources:
                    base, asked = database.of(source), queries.of(source)
                    if which == "unseen":
                        asked = asked.labelled(hidden)
                    value = mean(
                        mean_ap(
                            Side(base.photos, to_codes(base.features, head)),
                            Side(asked.photos, to_codes(asked.features, head)),
                        )
                        for head in heads
                    )
                    table[source][which].setdefault(name, {})[str(bits)] = round(value, 2)
                    say(f"{name}, {bits} bits, {source}, {which} labels: {value:.2f}")
    return table


def source_of(
    made: str, weights: Path | None, checkpoint: Path | None, model: Path | None, size: int
) -> tuple[Run, int]:
    """What computes the features, and its input side in pixels; raises click.UsageError."""
    if made == "network":
        origin = choose(weights, checkpoint, model, size)
        return origin.run, origin.size
    if weights or checkpoint or model:
        raise click.UsageError("--features hand-made takes no --weights, --checkpoint or --model")
    return handcrafted.run, handcrafted.SIZE


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--weights", type=Path, help="ImageNet arrays: a frozen backbone.")
@click.option("--checkpoint", type=Path, help="A training run's checkpoint.pt.")
@click.option("--model", type=Path, help="A finished model's .onnx, of fp32: its own features.")
@click.option("--features", type=click.Choice(["network", "hand-made"]), default="network",
              show_default=True)  # fmt: skip
@click.option("--name", required=True, help="What to call this backbone.")
@click.option("--note", default="", help="What the backbone was trained on, for the reader.")
@click.option("--bits", default="16,32,64", show_default=True)
@click.option(
    "--size",
    type=SIDE,
    default=224,
    show_default=True,
    help="Input side in pixels, of a network of --weights or --checkpoint.",
)
@click.option("--only", type=click.Choice(["seen", "unseen"]), help="One half of the table.")
@click.option("--methods", default=",".join(METHODS), show_default=True)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Of each layer, from 1; their mean.",
)
@click.option("--out", type=Path, required=True)
@fail_in_one_line
def main(
    data: tuple[Path, ...],
    weights: Path | None,
    checkpoint: Path | None,
    model: Path | None,
    features: str,
    name: str,
    note: str,
    bits: str,
    size: int,
    only: str | None,
    methods: str,
    seeds: int,
    out: Path,
) -> None:
    """Command: see the module."""
    settle(1)
    lengths, chosen = parse_lengths(bits), parse_methods(methods)
    run, size = source_of(features, weights, checkpoint, model, size)
    *sides, split = default_split(read_sets(data))
    parts = []
    for photos in sides:
        cache = PhotoReader(photos)
        parts.append(Part(cache.kept, clean_features(run, cache, size)))
    table = compare(parts[0], parts[1], lengths, range(1, seeds + 1), only or "", chosen)
    splits = splits_of(parts[0].photos, parts[1].photos, split)
    write_json(out, {"backbone": name, "note": note, "size": size, "seeds": seeds, "sets": table,
                     "splits": splits})  # fmt: skip


if __name__ == "__main__":
    main()
