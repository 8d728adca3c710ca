"""Judge low-rank and pruned variants of a hash network beside the whole one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from torch import nn

from training.data.photo_sets import label_indices
from training.data.pixel_cache import PixelCache
from training.files import write_bytes
from training.hash_layer.fit import HeadRecipe, fit_head
from training.models.alexnet import AlexNet
from training.models.cost import cost_of
from training.papers.compressed.chain import Chain, Judge, alexnet_chain, mobilenet_chain, moments
from training.papers.compressed.chain_layers import chain_layers
from training.papers.compressed.low_rank import decompose, low_rank
from training.papers.compressed.neurons import remove_neurons
from training.papers.compressed.pruned import prune_channels, prune_weights, sparse_megabytes
from training.papers.compressed.qcnn.judging import Photos, map_of
from training.papers.compressed.qcnn.onnx_copy import to_int8, to_onnx
from training.papers.compressed.qcnn.program import to_program
from training.papers.compressed.variants import Variant, system_of
from training.papers.inputs import clean_batch
from training.papers.rows import Row

SAMPLES = 128
"""Photos of the database that the factors and the channels are chosen on."""
MEASURE = "MAP@100 (%)"
_FIXED = "Deterministic: nothing is trained."
_RESULTS = Path(__file__).resolve().parents[2] / "results"


class Maker:
    """Make the variants of one network; what they are fitted to is computed once."""

    def __init__(self, chain: Chain, judge: Judge):
        self._late = chain.late
        self._moments = moments(chain.late, judge.samples(SAMPLES))
        self._factors = decompose(chain.late, self._moments)

    def make(self, variant: Variant) -> nn.Sequential:
        """Return the late layers of a variant."""
        made = {
            "whole": lambda: self._late,
            "rank": lambda: low_rank(self._late, self._factors, variant.share),
            "weights": lambda: prune_weights(self._late, variant.share),
            "neurons": lambda: remove_neurons(self._late, variant.share),
            "channels": lambda: prune_channels(self._late, self._moments, variant.share),
        }[variant.kind]()
        return made.eval()


def judge_variant(
    chain: Chain, judge: Judge, variant: Variant, late: nn.Sequential
) -> dict[str, float]:
    """Return MAP@100 in percent, size in MB and million multiply-adds of a variant `late`."""
    whole = chain.with_late(late).whole
    cost = cost_of(whole, chain.side)
    size = sparse_megabytes(whole) if variant.kind == "weights" else cost.megabytes
    return {
        "map": judge.mean_ap(late),
        "MB": round(size, 2),
        "million_multiply_adds": round(cost.multiply_adds / 1e6, 1),
        "million_without_zeros": round(cost.nonzero_multiply_adds / 1e6, 1),
    }


def judge_int8(chain: Chain, judge: Judge, file: Path) -> dict[str, float]:
    """Write the int8 version of a network to `file`; return its MAP@100 in percent and size in MB.

    The ranges are those of SAMPLES photos of the database.
    """
    pictures = clean_batch(judge.database, judge.sampled(SAMPLES), chain.side)
    file.parent.mkdir(parents=True, exist_ok=True)
    to_int8(chain_layers(chain), pictures, file)
    photos = Photos(judge.database, judge.queries, "")
    return {
        "map": round(map_of(file, photos, chain.side), 2),
        "MB": round(file.stat().st_size / 1e6, 2),
    }


def write_network(chain: Chain, late: nn.Sequential, file: Path) -> None:
    """Write a variant as `file`.qcnn and `file`.onnx, to count the instructions of a picture."""
    network = chain_layers(chain.with_late(late))
    write_bytes(file.with_suffix(".qcnn"), to_program(network, {}))
    write_bytes(file.with_suffix(".onnx"), to_onnx(network).SerializeToString())


def row_of(name: str, variant: Variant, found: dict[str, float] | None, source: str) -> Row:
    """Return the row of a variant of the network `name` on the set `source`; None: not judged."""
    extra = {key: value for key, value in (found or {}).items() if key != "map"}
    return Row(
        system=system_of(name, variant), source=variant.source,
        setting=f"64 bits, {source}", measure=MEASURE, values=[found["map"]] if found else [],
        one_seed_reason=_FIXED if found else "", missing="" if found else "Not yet run.",
        extra=extra,
    )  # fmt: skip


def shipped(model: Path, database: PixelCache, queries: PixelCache) -> tuple[Chain, Judge]:
    """Return the shipped network and what judges its variants."""
    chain = mobilenet_chain(model)
    return chain, Judge(chain, database, queries)


def fitted(network: AlexNet, database: PixelCache, queries: PixelCache) -> tuple[Chain, Judge]:
    """Return the AlexNet-shaped network with a 64-bit layer of the paper's loss, and its judge.

    The network itself is that of `papers alexnet`; only the layer has seen labels.
    """
    blank = np.zeros((64, network.hidden), np.float32), np.zeros(64, np.float32)
    chain = alexnet_chain(network, blank)
    judge = Judge(chain, database, queries)
    features, _ = judge.features(nn.Sequential(*list(chain.late)[:-1]))
    index = label_indices(database.photos)
    labels = np.array([index[photo.label] for photo in database.photos], np.int64)
    layer = fit_head([features], labels, len(index), HeadRecipe("paper", 64))
    return chain.with_late(alexnet_chain(network, layer).late), judge


def int8_row(source: str) -> Row | None:
    """Return the row of the shipped int8 model, from its own result file, if it knows the set."""
    found = json.loads((_RESULTS / "shipped_int8.json").read_text(encoding="utf-8"))
    if source not in found["sets"]:
        return None
    value = found["sets"][source]["protocols"]["official"]["map100"]
    return Row(
        system="MobileNet-v1, int8", source="results/shipped_int8.json", measure=MEASURE,
        setting=f"64 bits, {source}", values=[round(value, 2)], one_seed_reason=_FIXED,
        extra={"MB": round(found["bytes"] / 1e6, 2)},
    )  # fmt: skip
