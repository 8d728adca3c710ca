"""Generate the text of a model card from result files."""

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
"""The training sets of the shipped model, counted as in its evidence file."""
_FACTS = {
    "grocery": "GroceryStoreDataset train + val (MIT)",
    "ie_tower": "the gallery part of ie-tower-visual-place-recognition (MIT)",
}


def card(shipped: Any, built: Any, small: Any, listed: Any) -> str:
    """Generate a card from the evaluations `shipped` and `small` (int8) and the result `built`."""
    rows = [
        [source, row["split"], row["queries"], number(row["map100"]), number(row["precision1"])]
        for source, entry in shipped["sets"].items()
        for row in entry["protocols"].values()
    ]
    measured, parity, run = built["open_set"], built["parity"], built["backbone"]
    basis = _radius_basis(run, built, _shipped_photos(built))
    parts = [
        f"# {shipped['model']}, version {shipped['version']}",
        f"Converts a photo to {shipped['bits']} bits that are compared by Hamming distance."
        f" {shipped['bytes']:,} bytes, SHA-256 `{shipped['id']}`.",
        "- **Training**: MobileNet-v1 1.0 224 with the ImageNet weights of TF-slim (Apache-2.0);"
        f" {_made(run, built)} {_photos(built)}\n"
        "- **Input**: `image`, float32 [1, 3, 224, 224], RGB, value = pixel / 127.5 - 1, the whole"
        " photo squashed to the square by `edge_runtime.image.preprocess`.\n"
        f"- **Output**: `hash`, float32 [1, {shipped['bits']}], sigmoid activations; bit k is 1"
        " where activation k is above 0.5. `edge_runtime.code` packs the bits."
        f"{_features(shipped)}\n"
        f"- **Radius {shipped['radius']}**: a query is unknown if its nearest neighbor is farther"
        f" away. Measured on a fifth of the labels, {basis}. In each of 50 draws, 10 of these"
        " labels were enrolled, and queries of these and of the other labels were looked up. The"
        " radius has the largest difference between accepted known and accepted unknown queries:"
        f" {100 * measured['accepted_known']:.0f} % and {100 * measured['accepted_unknown']:.0f} %"
        f" (area under the ROC curve {measured['auroc']:.2f}). Distances depend on the gallery: the"
        " nearest of many unrelated codes is closer than the nearest of few.\n"
        f"- **Parity** with torch: {parity['bits_differing']} bits differ on {parity['photos']}"
        f" photos, activations by at most {parity['largest']:.1e}.\n"
        f"- **Limitations**: {_limits(built)} `python -m training finetune` fits the hash layer to"
        " your own photos.",
        "## Evaluation",
        "MAP over the top 100 and precision of the nearest neighbor, in percent. The queries were"
        f" not used in {_evaluation_note(built)}",
        markdown(["set", "split", "queries", "MAP@100", "P@1"], rows),
    ]
    if small is not None:
        scores = [
            f"{source} {small['sets'][source]['protocols']['official']['map100']:.1f}"
            for source in small["sets"]
        ]
        parts.append(
            f"The int8 version (`{small['model']}.onnx`, {small['bytes']:,} bytes, per channel,"
            f" calibrated on training photos) reaches MAP@100 {', '.join(scores)} on the official"
            " split of each set. Its codes differ from those of the fp32 model: do not mix the two"
            " in one gallery."
        )
    if listed is not None:
        parts += ["## Commands", commands(listed)]
    return "\n\n".join(parts) + "\n"


def _features(shipped: Any) -> str:
    """Describe the second output, and the earlier files with the same codes."""
    width, earlier = shipped.get("features"), shipped.get("same_codes_as")
    text = (
        f" `features`, float32 [1, {width}], are the pooled features that enter the hash layer."
        if width
        else ""
    )
    if earlier:
        ids = " and ".join(f"`{each}`" for each in earlier)
        text += f" The codes are those of the earlier file {ids}, so its galleries remain valid."
    return text


def _shipped_photos(built: Any) -> bool:
    """Return whether all photos are those of the shipped model, which this module describes."""
    sets = built.get("sets", OURS)  # older evidence lists no sets
    return all(OURS.get(name) == held for name, held in sets.items())


def _photos(built: Any) -> str:
    """Describe the training photos."""
    if _shipped_photos(built):
        used = [_FACTS[name] for name in built.get("sets", OURS)]
        both = (
            ", one model for both sets; two labels of the building hold the same frames (see"
            " docs/results/ACCURACY.md)"
        )
        summary = f"{' and '.join(used)}, {built['photos']:,} photos of {built['labels']} labels"
        return (
            f"Photos: {summary}{both if len(used) > 1 else ''}. The file is licensed under"
            " Apache-2.0, like the rest of the project."
        )
    listed = " and ".join(
        f"`{name}` ({held['photos']:,} photos of {held['labels']} labels)"
        for name, held in built["sets"].items()
    )
    more = (
        " The card of that model states what its features were trained on."
        if _reused(built)
        else ""
    )
    return f"Photos: {listed}; {built['split']}.{more}"


def _reused(built: Any) -> bool:
    """Return whether the hash layer was fitted to the features of a finished model."""
    return "model" in built["backbone"]


def _limits(built: Any) -> str:
    if _shipped_photos(built):
        return (
            "the model was trained on groceries and on the inside of one building. The section on"
            " unseen labels in docs/results/ACCURACY.md measures what else it can tell apart."
        )
    return "accuracy on objects that are not among the photos above was not measured."


def _evaluation_note(built: Any) -> str:
    if _shipped_photos(built):
        return (
            "training or to choose the method and the schedule. The radius was measured on the"
            " queries of held-out labels, and some of them were known when the weight averaging was"
            " decided. docs/results/ACCURACY.md has more."
        )
    fitted = "the fit of the hash layer" if _reused(built) else "training"
    return f"{fitted}. The radius was measured on the queries of held-out labels."


def _radius_basis(run: Any, built: Any, ours: bool) -> str:
    """State to which parts of the network the labels of the radius measurement were unknown."""
    measured_on = built["open_set"]["backbone"]
    if "hold" in built:
        basis = "which the layer was fitted without"
        finished = "model" in run
        return f"{basis}; the finished network below it may know them" if finished else basis
    if run == "frozen":
        return "which the hash layer used for it has not seen"
    if measured_on == "the same" and not ours and "model" in run:
        return "which a second hash layer has not seen"
    if measured_on == "the same":
        return "which a second hash layer has not seen, although the backbone was trained on them"
    return (
        "which neither the backbone nor the hash layer used for it has seen; that backbone is a"
        f" shorter run of the same kind ({measured_on['epochs_done']} epochs on"
        f" {measured_on['labels']} labels)"
    )


def _made(run: Any, built: Any) -> str:
    """Describe in one sentence how the network was made."""
    head = built["head"]
    layer = (
        f"a hash layer of {head['bits']} sigmoid units fitted ({head['method']}) to its fp32"
        f" features of every photo and of {built['passes']} augmented views of each."
    )
    if run == "frozen":
        return f"used as a frozen backbone; {layer}"
    if "model" in run:
        return f"the features of `{run['model']}`, version {run['version']}, unchanged; {layer}"
    stages = ", ".join(f"{epochs} epochs at {size} px" for size, epochs in run["stages"])
    return (
        f"trained by `python -m training train` (method {run['method']}, {stages},"
        f" {run['optimizer']}, rate {run['rate']}, the first {run['frozen']} convolutions frozen;"
        f" averaged weights){_averaging(run)}; then {layer}"
    )


def _averaging(run: Any) -> str:
    share = run.get("blended")
    return (
        f", averaged with the ImageNet weights ({share:.0%} trained; Wortsman et al. 2022), which"
        " costs a little on the labels of the training set and gains on others"
        if share
        else ""
    )


def read(path: Path | None) -> Any:
    """Read a result file, or return None if no path is given.

    Raises ReportError when the file cannot be read.
    """
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(
            f"cannot be read: {error}", where=path, remedy="run the evaluation again"
        ) from error
