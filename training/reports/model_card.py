"""The text of a model card, generated from result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_runtime.errors import ReportError
from training.reports.tables import commands, markdown, number

OURS = {
    "grocery": {"photos": 2936, "labels": 81},
    "ie_tower": {"photos": 2310, "labels": 124},
}
"""The sets that the shipped model was made of, as its evidence counts them."""
_FACTS = {
    "grocery": "GroceryStoreDataset train + val (MIT)",
    "ie_tower": "the gallery part of ie-tower-visual-place-recognition (MIT)",
}


def card(shipped: Any, ship: Any, small: Any, listed: Any) -> str:
    """The text of the card, from the evaluations `shipped` and `small` and the export `ship`."""
    rows = [
        [source, row["split"], row["queries"], number(row["map100"]), number(row["precision1"])]
        for source, entry in shipped["sets"].items()
        for row in entry["protocols"].values()
    ]
    measured, parity, run = ship["open_set"], ship["parity"], ship["backbone"]
    strangers = _radius_basis(run, ship, _shipped_photos(ship))
    parts = [
        f"# {shipped['model']}, version {shipped['version']}",
        f"A photo becomes {shipped['bits']} bits that are compared by Hamming distance."
        f" {shipped['bytes']:,} bytes, SHA-256 `{shipped['id']}`.",
        "- **Made from**: MobileNet-v1 1.0 224 with the ImageNet weights of TF-slim (Apache-2.0);"
        f" {_made(run, ship)} {_photos(ship)}\n"
        "- **Input**: `image`, float32 [1, 3, 224, 224], RGB, value = pixel / 127.5 - 1, the whole"
        " photo squashed to the square by `edge_runtime.image.preprocess`.\n"
        f"- **Output**: `hash`, float32 [1, {shipped['bits']}], sigmoid activations; bit k is 1"
        " where activation k is above 0.5, packed by `edge_runtime.code`.\n"
        f'- **Radius {shipped["radius"]}**: a nearest neighbour farther away is "unknown".'
        f" Measured on labels (a fifth) that {strangers}:"
        " galleries of 10 of them, queries of these and of the others, 50 draws; the radius with"
        " the largest difference of accepted known and accepted unknown queries:"
        f" {100 * measured['accepted_known']:.0f} % and {100 * measured['accepted_unknown']:.0f} %"
        f" (area under the ROC curve {measured['auroc']:.2f}). Other galleries, other distances:"
        " the nearest of many strangers is nearer than the nearest of few.\n"
        f"- **Parity** with torch: {parity['bits_differing']} bits differ on {parity['photos']}"
        f" photos, activations by at most {parity['largest']:.1e}.\n"
        f"- **Know before use**: {_limits(ship)} `python -m training finetune` fits the hash layer to"
        " your own photos.",
        "## How it was judged",
        "MAP over the top 100 and precision of the nearest neighbour, percent. The queries took no"
        f" part in {_judged(ship)}",
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


def _shipped_photos(ship: Any) -> bool:
    """Whether all photos are those of the shipped model, whose facts are known here."""
    sets = ship.get("sets", OURS)  # evidence from before sets were noted is the shipped model's
    return all(OURS.get(name) == held for name, held in sets.items())


def _photos(ship: Any) -> str:
    """The photos that were used, in a sentence or two."""
    if _shipped_photos(ship):
        used = [_FACTS[name] for name in ship.get("sets", OURS)]
        both = (
            ", one model for both; one of them, the building, has two labels of the same frames"
            " (see docs/results/ACCURACY.md)"
        )
        told = f"{' and '.join(used)}, {ship['photos']:,} photos of {ship['labels']} labels"
        return (
            f"Photos: {told}{both if len(used) > 1 else ''}. The file is Apache-2.0 like the rest"
            " of the project."
        )
    listed = " and ".join(
        f"`{name}` ({held['photos']:,} photos of {held['labels']} labels)"
        for name, held in ship["sets"].items()
    )
    more = " What the features were trained on, that model's card says." if _reused(ship) else ""
    return f"Photos that were used: {listed}; {ship['split']}.{more}"


def _reused(ship: Any) -> bool:
    """Whether only the hash layer is new, on the features of a finished model."""
    return "model" in ship["backbone"]


def _limits(ship: Any) -> str:
    if _shipped_photos(ship):
        return (
            "trained on groceries and on the insides of one building. What else it can tell apart"
            " is measured under unseen labels in docs/results/ACCURACY.md;"
        )
    return "how well it tells apart what is not among the photos above was not measured;"


def _judged(ship: Any) -> str:
    if _shipped_photos(ship):
        return (
            "training or in the choice of method and schedule; the radius was measured on the"
            " queries of held-out labels, and the blending was decided on with sight of some of"
            " them. More in docs/results/ACCURACY.md."
        )
    fitted = "the fit of the hash layer" if _reused(ship) else "training"
    return f"{fitted}; the radius was measured on those of held-out labels."


def _radius_basis(run: Any, ship: Any, ours: bool) -> str:
    """To what the labels were unknown on which the radius was measured."""
    measured_on = ship["open_set"]["backbone"]
    if "hold" in ship:
        kept = "the layer was fitted without"
        return f"{kept}; the finished network below it may know them" if "model" in run else kept
    if run == "frozen":
        return "the hash layer used for it never saw"
    if measured_on == "the same" and not ours and "model" in run:
        return "a second hash layer never saw"
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
        f"trained by `training.fit.train` (method {run['method']}, {stages}, {run['optimiser']}, rate"
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
