"""Make the result file of Table 3 from the finished trainings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.models.alexnet import SIDE, AlexNet
from training.models.cost import Cost, cost_of
from training.models.mobilenet_v1 import Backbone
from training.models.staged import Staged
from training.papers.rows import RESULTS, SEEDS, Row, Table, read_table
from training.papers.table3.verdict import (
    BACKBONES,
    MEASURE,
    ORDER,
    OWN,
    SYSTEMS,
    Cells,
    judge_hand_made,
    sentences,
)

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published.json"
PAPER_CLASSES = 162
_ON = "162 campus places, the authors' own photos, not public"
_SOURCES = {
    "paper": "Qi, Liu & Liu 2017",
    "ssdh": "Yang, Lin & Chen 2015, arXiv:1507.00101",
    "dlbh": "Lin et al. 2015, CVPR Workshops",
}  # fmt: skip
_PUBLISHED_AS = {"paper": "this network (MobileNet)", "ssdh": "SSDH", "dlbh": "DLBH"}
_SHARED = "One training of each method serves all lengths (the mean of their losses)."
_WITHOUT_IMAGENET = (
    "The AlexNet-shaped network has not seen ImageNet: it imitated MobileNet-v1 on a few thousand"
    " photos, with a smaller input and narrower fully connected layers. It is weaker than the"
    " original, so part of its distance from MobileNet-v1 is that of the pretraining and not of the"
    " architecture. The rows of one network can be compared; the step from the paper's method to"
    " SSDH, each on its own network, is larger here than it would be with the original's weights."
)
_VHB = "The table of the hand-made systems has not been made."
HAND_MADE = ("SSFS", "VHB")
Found = dict[tuple[str, int, str, str], list[float]]
"""(set, bits, network, method) -> MAP@100 per seed."""


def table(
    command: str,
    splits: dict[str, str],
    lengths: Sequence[int],
    found: Found,
    networks: dict[str, Staged],
    side: int,
    settings: str,
    results: Path = RESULTS,
) -> Table:
    """Return the table; `splits` says for each set how it is split, in words.

    `networks` are the two backbones as they are trained here, for inputs of `side` pixels.
    The rows of VHB and SSFS are those of the hand-made systems in the folder `results`, if any.
    """
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))["methods"]
    costs = {
        (name, bits): cost_of(network, side, bits)
        for name, network in networks.items()
        for bits in lengths
    }
    rows = [
        _row(source, bits, network, method, found, published, costs[network, bits])
        for source in splits
        for bits in lengths
        for method in ORDER
        for network in (OWN[method], *(name for name in BACKBONES if name != OWN[method]))
    ]
    by_hand = hand_made(results)
    known = {row.system for row in by_hand}
    rows += by_hand
    rows += [_missing(name, published) for name in HAND_MADE if name not in known]
    rows += _costs(published)
    said = [
        sentence
        for source in splits
        for bits in lengths
        for sentence in sentences(source, bits, _cells(source, bits, found))
    ]
    for source in splits:
        values = {row.system: row.values for row in by_hand if source in row.setting}
        said.append(judge_hand_made(source, values, _cells(source, max(lengths), found)))
    notes = [settings, _SHARED, _WITHOUT_IMAGENET, *said]
    data = "; ".join(f"{source}: {words}" for source, words in splits.items())
    return Table(command=command, data=data, rows=rows, notes=notes)


def _cells(source: str, bits: int, found: Found) -> Cells:
    return {
        (network, method): values
        for (one, length, network, method), values in found.items()
        if (one, length) == (source, bits)
    }


def _row(
    source: str,
    bits: int,
    network: str,
    method: str,
    found: Found,
    published: dict[str, Any],
    cost: Cost,
) -> Row:
    own = OWN[method] == network
    values = found.get((source, bits, network, method), [])
    figure = published[_PUBLISHED_AS[method]].get(str(bits)) if own else None
    reason = "" if len(values) >= SEEDS else f"{len(values)} of {SEEDS} seeds have been run."
    backbone = BACKBONES[network].removeprefix("the ")
    differs = f"Other photos; a shorter training at a smaller input. {_SHARED}"
    if network == "alexnet":
        differs += " Without ImageNet weights of its own; narrower fully connected layers."
    return Row(
        system=f"{SYSTEMS[method]}, {backbone}", source=_SOURCES[method],
        setting=f"{bits} bits, {source}", measure=MEASURE,
        published=figure, published_on=_ON if figure is not None else "", values=values,
        one_seed_reason=reason if values else "", differs=differs if own else "A control.",
        missing="" if values else "Not yet run.",
        extra={"backbone": "its own" if own else "the other one", "MB": round(cost.megabytes, 2),
               "million_multiply_adds": round(cost.multiply_adds / 1e6, 1)},
    )  # fmt: skip


def hand_made(results: Path) -> list[Row]:
    """Return the rows of VHB and SSFS, as whole systems, in the folder `results`."""
    path = results / "handmade.json"
    rows = read_table(path).rows if path.exists() else ()
    return [
        row
        for row in rows
        if row.system in HAND_MADE and row.measure == MEASURE and row.published is not None
    ]


def _missing(name: str, published: dict[str, Any]) -> Row:
    source = {"SSFS": "Wang et al. 2016", "VHB": "He et al. 2012, CVPR"}[name]
    return Row(
        system=name, source=source, setting="64 bits", measure=MEASURE,
        published=published[name]["64"], published_on=_ON, missing=_VHB,
    )  # fmt: skip


def _costs(published: dict[str, Any]) -> list[Row]:
    """Return sizes and multiply-adds of both architectures at the size of their papers."""
    alexnet, mobilenet = AlexNet().eval(), Backbone().eval()
    counted = {
        "AlexNet with a 64-bit layer": (cost_of(alexnet, SIDE, 64, PAPER_CLASSES), 230.0, None),
        "AlexNet as published, 1000 classes": (cost_of(alexnet, SIDE, 1000), None, 720.0),
        "MobileNet-v1 with a 64-bit layer": (cost_of(mobilenet, 224, 64), 13.0, None),
        "MobileNet-v1, 1000 classes": (cost_of(mobilenet, 224, 1000), None, 569.0),
    }
    source, rows = _SOURCES["paper"], []
    for system, (cost, size, times) in counted.items():
        for measure, value, figure in (
            ("size (MB)", cost.megabytes, size),
            ("multiply-adds (million)", cost.multiply_adds / 1e6, times),
        ):
            rows.append(Row(
                system=system, source=source, setting="full size", measure=measure,
                published=figure, published_on="section 3 and Table 2" if figure else "",
                values=[round(value, 2)], one_seed_reason="Counted, not trained.",
                differs="fp32 weights with folded batch norms, 10^6 bytes." if figure else "",
            ))  # fmt: skip
    return rows
