"""Generate the section of docs/results/ACCURACY.md on new objects and strangers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.eval.strangers import FIGURES, HEADS, spread
from training.reports.tables import markdown

HEADLINE_PHOTOS = 3
"""Photos per label of the row that is stated in words."""


def new_objects(results: Sequence[Any]) -> list[str]:
    """Generate the section from the results of `python -m training strangers`; empty if none."""
    if not results:
        return []
    parts = [
        "## New objects",
        "Objects that are enrolled after training, measured by `python -m training strangers`. A"
        " gallery of some labels is enrolled with a few photos of each, and the other photos of"
        " these labels are its queries. All of it is the path of the runtime with its default"
        " settings: a gallery file, six views per photo, the vote and the threshold. `strangers"
        " named` is the share of photos of labels that are not enrolled which get a label anyway."
        " If every label of a set is enrolled, labels are left out one at a time for this. `AUROC`"
        " tells known queries from strangers by their nearest match. `P@1` and `MAP@100` rank all"
        " enrolled pictures. Each cell is the median of the draws of labels and photos, with the"
        " lowest and the highest in brackets.",
    ]
    for name in dict.fromkeys(result["set"] for result in results):
        own = [result for result in results if result["set"] == name]
        parts += [f"### {name}", *_set(own)]
    return parts


def _set(results: Sequence[Any]) -> list[str]:
    first = results[0]
    protocol = first["protocol"]
    about = (
        f"{first['all_photos']} photos of {first['all_labels']} labels, {protocol['draws']} draws;"
        f" strangers: {protocol['strangers']}."
    )
    notes = [f"{result['model']}: {result['note']}." for result in results if result["note"]]
    rows = sorted(
        (
            [row["photos"], row["labels"], f"`{result['model']}`",
             *(spread(name, row[name]) for name in FIGURES)]
            for result in results
            for row in result["rows"]
        ),
        key=lambda cells: (cells[0], cells[1]),
    )  # fmt: skip
    head = ["photos per label", "labels", "model", *HEADS.values()]
    said = [sentence for result in results if (sentence := _headline(result))]
    return [" ".join([about, *dict.fromkeys(notes)]), " ".join(said), markdown(head, rows)]


def _headline(result: Any) -> str:
    """State the row of all labels with HEADLINE_PHOTOS photos in words."""
    rows = [row for row in result["rows"] if row["photos"] == HEADLINE_PHOTOS]
    if not rows:
        return ""
    row = rows[-1]
    right, unknown, wrong, named = (f"{row[name]['median']:.0f}" for name in FIGURES[:4])
    return (
        f"With {HEADLINE_PHOTOS} photos of each of {row['labels']} labels, `{result['model']}`"
        f" answers {right} % of the queries correctly, {unknown} % with unknown and {wrong} % with"
        f" a wrong label, and names {named} % of the strangers."
    )
