"""Generate the text of docs/results/ACCURACY.md from the committed result files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.errors import ReportError
from training.eval.corruptions import SEVERITIES
from training.reports.general import general_section
from training.reports.model_card import read
from training.reports.preserved import preserved_section
from training.reports.seen import seen_section
from training.reports.strangers import new_objects
from training.reports.studies import (
    code_lengths,
    equal_budget,
    handcrafted_comparison,
    ingredients,
    limits,
)
from training.reports.tables import commands, markdown, number
from training.reports.targets import TARGETS, target_table
from training.reports.unseen import fitted_section

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "training" / "results"
_METHODS = (
    "paper", "ssdh", "dlbh", "orthohash", "csq", "contrastive", "relational",
    "neighbors", "itq", "lsh",
)  # fmt: skip
ABLATIONS = ("ablation", "ablation_ie_tower")
_PROTOCOL = {
    "official": "official (ie_tower: middle fifth of each walk)",
    "distinct": "distinct places, middle fifth",
    "distinct_interleaved": "distinct places, interleaved (leaks: near copies, trained frames)",
    "distinct_interleaved_untrained": "the same, only queries not used in training",
}


def load(name: str) -> Any:
    """Read the result file `name`.json; None if it does not exist.

    Raises ReportError when the file is corrupt.
    """
    path = RESULTS / f"{name}.json"
    return read(path) if path.exists() else None


def document() -> str:
    """Generate the text of docs/results/ACCURACY.md."""
    parts = [
        "# Accuracy",
        "Generated from `training/results/*.json` by `python -m training accuracy-page`; a test"
        " checks that the page is up to date. MAP@100 is defined as in the paper: the precision at"
        " each relevant item found in the top 100, averaged over the relevant items found there."
        " Rankings are by Hamming distance; ties are broken by the order of the database, which is"
        " shuffled once. All figures are percentages unless stated otherwise. The figures of the"
        " models are measured on codes from the code path of the runtime"
        " (`edge_runtime.image.preprocess`, its engine, its packing). The method tables are"
        " measured on features from ONNX Runtime after the same preprocessing, with the hash layer"
        " applied in numpy.",
    ]
    shipped = load("shipped")
    if shipped is None:
        raise ReportError(
            "shipped.json is missing", where=RESULTS, remedy="run python -m training evaluate first"
        )
    general = load("general")
    if general is not None:
        parts += general_section(general, load("shipped_general"), shipped)
        preserved = load("preserved")
        if preserved is not None:
            parts += preserved_section(preserved)
    parts += _shipped(shipped, load("v0"), load("shipped_int8"), load("ceilings"))
    parts += new_objects(
        [read(path) for path in sorted(RESULTS.glob("strangers_*.json"))],
        [read(path) for path in sorted(RESULTS.glob("draws_*.json"))],
    )
    layers, handmade = load("layers"), load("methods_handmade")
    ablations = [found for name in ABLATIONS if (found := load(name)) is not None]
    evidence = (
        load("shipped_int8"), layers, load("methods_unseen"), load("methods_frozen"), handmade,
    )  # fmt: skip
    if all(evidence):
        parts += target_table(shipped, *evidence, ablations)
    parts += _methods()
    if layers is not None:
        parts += (
            code_lengths(layers) + ingredients(layers) + limits(layers, shipped, load("ceilings"))
        )
    if ablations:
        parts += equal_budget(ablations, handmade)
    fitted = load("seen_fitted")
    if fitted is not None:
        parts += seen_section(fitted)
    parts += _unseen()
    parts += _disturbed(shipped)
    parts += _open_set(shipped)
    tried = load("tried")
    if tried is not None:
        rows = [[row["what"], row["result"]] for row in tried["rows"]]
        parts += ["## Experiments", tried["note"], markdown(["experiment", "result"], rows)]
    parts += ["## Commands", commands(load("commands"))]
    return "\n\n".join(parts) + "\n"


def _shipped(shipped: Any, first: Any, small: Any, ceilings: Any) -> list[str]:
    rows: list[list[object]] = []
    targets = {(source, protocol): target for source, protocol, _, target in TARGETS}
    for source, entry in shipped["sets"].items():
        for protocol, row in entry["protocols"].items():
            others = [
                number(other["sets"][source]["protocols"][protocol]["map100"]) if other else "-"
                for other in (first, small)
            ]
            target = targets.get((source, protocol))
            rows.append(
                [source, _PROTOCOL.get(protocol, protocol), row["queries"],
                 number(row["map100"]), number(row["map100_tie_aware"]),
                 number(row["precision1"]), target if target else "",
                 number(ceilings[source][protocol]), *others]
            )  # fmt: skip
    head = ["set", "split", "queries", "MAP@100", "tie-aware", "P@1", "target", "best possible",
            "version 0", "int8"]  # fmt: skip
    sizes = f"fp32 {shipped['bytes']:,} bytes" + (
        f", int8 {small['bytes']:,} bytes" if small else ""
    )
    note = (
        "The specialist is one network for both sets, and was the default before the general model."
        " The sections below call it the shipped model. It was trained on grocery train + val and"
        f" on the ie_tower gallery, and its codes have 64 bits. Sizes: {sizes}. The column `target`"
        " is the goal of the project. In ie_tower the labels `f22_cafeteria_main` and"
        " `f22_central_alt` hold the same 42 frames, so a query of one cannot be told from the"
        " other. `best possible` is what a code without any other error would reach."
    )
    return ["## The specialist", note, markdown(head, rows)]


def _method_table(result: Any, source: str, which: str) -> str:
    table = result["sets"][source][which]
    codes = {name: row for name, row in table.items() if name != "float"}
    lengths = sorted({bits for row in codes.values() for bits in row}, key=int)
    rows = [
        [f"`{name}`", *(number(row[bits]) if bits in row else "-" for bits in lengths)]
        for name in _METHODS
        if (row := codes.get(name)) is not None
    ]
    (plain,) = table["float"].values()  # under the number of features
    rows.append(["float features, cosine", *["-"] * (len(lengths) - 1), number(plain)])
    return markdown(["method", *(f"{bits} bits" for bits in lengths)], rows)


def _methods() -> list[str]:
    parts = ["## Methods at 16, 32 and 64 bits, compared with the published figures"]
    published = load("published")
    lengths = ("16", "32", "64")
    rows = [
        [name, *(number(row[bits]) if bits in row else "-" for bits in lengths)]
        for name, row in published["methods"].items()
    ]
    parts += [
        published["source"] + ". The data set is another one and the split is random: compare"
        " the methods below with each other, not with these figures.",
        markdown(["published", *(f"{bits} bits" for bits in lengths)], rows),
        "In the following tables, the hash layers of all methods are fitted to the same features,"
        " each for its own length. DLBH first fine-tunes the features without a hash layer. On"
        " fixed features only its second stage remains, and its loss is that of the paper, so the"
        " two differ by chance only. Table 3 of the paper compares whole networks (its SSDH and"
        " DLBH are AlexNets). With one backbone for all, the three have no fixed order on fixed"
        " features; see below for end-to-end training. On labels that were part of the fit, the"
        " unsupervised methods (ITQ, LSH) are the least accurate.",
    ]
    networks = [load(name) for name in ("methods_frozen", "methods_tuned")]
    handmade = load("methods_handmade")
    parts.append(handcrafted_comparison(handmade, networks, networks[0]))
    for result in (*networks, handmade):
        kind = "features" if result is handmade else "backbone"
        for source in result["sets"]:
            title = f"### {source}, {result['backbone']} {kind}"
            parts += [title, result["note"], _method_table(result, source, "seen")]
    return parts


def _unseen() -> list[str]:
    parts = ["## Unseen labels"]
    fitted = load("unseen_fitted")
    if fitted is not None:
        parts += fitted_section(fitted)
    for name in ("methods_frozen", "methods_unseen"):
        result = load(name)
        if result is None:
            continue
        for source, entry in result["sets"].items():
            parts += [
                f"### {source}, {result['backbone']} backbone",
                f"{entry['unseen_labels']} labels were held out of the fit of the hash layer and"
                " then enrolled. MAP@100 of their queries against the whole database,"
                f" {seed_count(result)}. Backbone: {result['note']}.",
                _method_table(result, source, "unseen"),
                _gain(entry["unseen"], load("methods_frozen")["sets"][source]["unseen"]),
            ]
    return parts if len(parts) > 1 else []


def seed_count(result: Any) -> str:
    """State the number of seeds behind a table of methods."""
    count = result.get("seeds", 1)
    return "one seed" if count == 1 else f"the mean of {count} seeds"


def _gain(here: Any, frozen: Any) -> str:
    """State how far our layers are from the methods that need no training."""
    ours = here["paper"]["64"]
    summary = (
        f"At 64 bits the paper's layer is {ours - here['itq']['64']:+.1f} points from ITQ and"
        f" {ours - here['lsh']['64']:+.1f} from LSH on the same features, and"
        f" {ours - frozen['itq']['64']:+.1f} from ITQ and {ours - frozen['lsh']['64']:+.1f} from"
        " LSH on ImageNet features."
    )
    if "neighbors" not in here:
        return summary
    gains = ", ".join(
        f"{value - here['itq'][bits]:+.1f} at {bits} bits"
        for bits, value in here["neighbors"].items()
    )
    return f"{summary} `neighbors`, on the same features, is {gains} from ITQ."


def _disturbed(shipped: Any) -> list[str]:
    parts: list[str] = []
    for source, entry in shipped["sets"].items():
        if "disturbances" not in entry:
            continue
        plain = entry["protocols"]["official"]["map100"]
        rows = [
            [name, *(f"{number(row[s])} ({row[s] - plain:+.1f})" for s in SEVERITIES)]
            for name, row in entry["disturbances"].items()
        ]
        parts += [
            f"### {source}",
            markdown([f"undisturbed {number(plain)}", *SEVERITIES], rows),
        ]
    if not parts:
        return []
    head = (
        "MAP@100. Only the queries are disturbed. The strengths are in"
        " `training/eval/corruptions.py`."
    )
    return ["## Disturbed queries", head, *parts]


def _open_set(shipped: Any) -> list[str]:
    rows = []
    for source, entry in shipped["sets"].items():
        measured, radius = entry["open_set"], shipped["radius"]
        rows.append(
            [source, f"{measured['auroc']:.3f}",
             number(100 * measured["accepted_known"][radius]),
             number(100 * measured["accepted_unknown"][radius])]
        )  # fmt: skip
    return [
        "## Open set of the specialist",
        "Each of 50 draws enrolls the photos of 10 labels. Queries of these labels are known,"
        " queries of the other labels of the set are unknown, and the score is the distance to the"
        f" nearest neighbor. Its radius is {shipped['radius']}; models/SPECIALIST_CARD.md states"
        " how it was chosen. All labels were part of the training set here.",
        markdown(["set", "area under ROC", "known accepted", "unknown accepted"], rows),
    ]
