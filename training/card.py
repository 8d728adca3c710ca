"""A model's card, generated from its result files.

    python -m training.card --evaluation FILE.json --evidence SHIP.json --out CARD.md

The shipped model's, models/MODEL_CARD.md, is written by training/accuracy beside the document.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edge_runtime.errors import ReportError
from training.cli import fail_in_one_line
from training.files import write_bytes
from training.tables import commands, markdown, number


def card(shipped: Any, ship: Any, small: Any, listed: Any) -> str:
    """The text of the card, from the evaluations `shipped` and `small` and the export `ship`."""
    rows = [
        [source, row["split"], row["queries"], number(row["map100"]), number(row["precision1"])]
        for source, entry in shipped["sets"].items()
        for row in entry["protocols"].values()
    ]
    measured, parity, run = ship["open_set"], ship["parity"], ship["backbone"]
    parts = [
        f"# {shipped['model']}, version {shipped['version']}",
        f"A photo becomes {shipped['bits']} bits that are compared by Hamming distance."
        f" {shipped['bytes']:,} bytes, SHA-256 `{shipped['id']}`.",
        "- **Made from**: MobileNet-v1 1.0 224 with the ImageNet weights of TF-slim (Apache-2.0);"
        f" {_made(run, ship)} Photos: GroceryStoreDataset train + val (MIT) and the gallery part of"
        f" ie-tower-visual-place-recognition (MIT), {ship['photos']:,} photos of {ship['labels']}"
        " labels, one model for both; one of them, the building, has two labels of the same frames"
        " (see docs/ACCURACY.md). The file is Apache-2.0 like the rest of the project.\n"
        "- **Input**: `image`, float32 [1, 3, 224, 224], RGB, value = pixel / 127.5 - 1, the whole"
        " photo squashed to the square by `edge_runtime.fit`.\n"
        f"- **Output**: `hash`, float32 [1, {shipped['bits']}], sigmoid activations; bit k is 1"
        " where activation k is above 0.5, packed by `edge_runtime.code`.\n"
        f'- **Radius {shipped["radius"]}**: a nearest neighbour farther away is "unknown".'
        f" Measured on labels (a fifth) that {_strangers(run, ship)}:"
        " galleries of 10 of them, queries of these and of the others, 50 draws; the radius with"
        " the largest difference of accepted known and accepted unknown queries:"
        f" {100 * measured['accepted_known']:.0f} % and {100 * measured['accepted_unknown']:.0f} %"
        f" (area under the ROC curve {measured['auroc']:.2f}). Other galleries, other distances:"
        " the nearest of many strangers is nearer than the nearest of few.\n"
        f"- **Parity** with torch: {parity['bits_differing']} bits differ on {parity['photos']}"
        f" photos, activations by at most {parity['largest']:.1e}.\n"
        "- **Know before use**: trained on groceries and on the insides of one building. What else"
        " it can tell apart is measured under unseen labels in docs/ACCURACY.md; `python -m"
        " training.adapt` fits the hash layer to your own photos.",
        "## How it was judged",
        "MAP over the top 100 and precision of the nearest neighbour, percent. The queries took no"
        " part in training or in the choice of method and schedule; the radius was measured on the"
        " queries of held-out labels, and the blending was decided on with sight of some of them."
        " More in docs/ACCURACY.md.",
        markdown(["set", "split", "queries", "MAP@100", "P@1"], rows),
    ]
    if small is not None:
        lost = [
            f"{source} {small['sets'][source]['protocols']['official']['map100']:.1f}"
            for source in small["sets"]
        ]
        parts.append(
            f"The int8 version (`{small['model']}.onnx`, {small['bytes']:,} bytes, per channel,"
            f" calibrated on training photos) reaches MAP@100 {', '.join(lost)} on the official"
            " split of each set. Its codes differ from fp32 codes: do not mix them in one gallery."
        )
    if listed is not None:
        parts += ["## Commands", commands(listed)]
    return "\n\n".join(parts) + "\n"


def _strangers(run: Any, ship: Any) -> str:
    """To what the labels were unknown on which the radius was measured."""
    measured_on = ship["open_set"]["backbone"]
    if "hold" in ship:
        kept = "the layer was fitted without"
        return f"{kept}; the finished network below it may know them" if "model" in run else kept
    if run == "frozen":
        return "the hash layer used for it never saw"
    if measured_on == "the same":
        return "a second hash layer never saw, though the backbone was trained on them"
    return (
        "neither backbone nor hash layer used for it ever saw; that backbone is a shorter run of"
        f" the same kind ({measured_on['epochs_done']} epochs on {measured_on['labels']} labels)"
    )


def _made(run: Any, ship: Any) -> str:
    """How the network was made, in a sentence."""
    head = ship["head"]
    layer = (
        f"a hash layer of {head['bits']} sigmoid units fitted ({head['method']}) to its fp32"
        f" features of every photo and of {ship['passes']} augmented views of each."
    )
    if run == "frozen":
        return f"kept frozen; {layer}"
    if "model" in run:
        return f"the features of `{run['model']}`, version {run['version']}, as they are; {layer}"
    stages = ", ".join(f"{epochs} epochs at {size} px" for size, epochs in run["stages"])
    return (
        f"trained by `training.run` (method {run['method']}, {stages}, {run['optimiser']}, rate"
        f" {run['rate']}, the first {run['frozen']} convolutions kept; averaged weights)"
        f"{_blended(run)}; then {layer}"
    )


def _blended(run: Any) -> str:
    share = run.get("blended")
    return (
        f", blended with the ImageNet weights ({share:.0%} trained; Wortsman et al. 2022), which"
        " costs a little on the labels it was trained on and gains on others"
        if share
        else ""
    )


def read(path: Path | None) -> Any:
    """A result file; None where no path is given. Raises ReportError when it is none."""
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"damaged: {error}", where=path, remedy="evaluate again") from error


@click.command(help=__doc__)
@click.option("--evaluation", type=Path, required=True, help="Of training.evaluate.")
@click.option("--evidence", type=Path, required=True, help="Of training.ship.")
@click.option("--small", type=Path, help="Of training.evaluate, for the int8 version.")
@click.option("--out", type=Path, required=True)
@fail_in_one_line
def main(evaluation: Path, evidence: Path, small: Path | None, out: Path) -> None:
    """Command: see the module."""
    text = card(read(evaluation), read(evidence), read(small), None)
    write_bytes(out, text.encode())


if __name__ == "__main__":
    main()
