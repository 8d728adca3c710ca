"""Generate the section of docs/results/ACCURACY.md on new objects and strangers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.eval.reliability import quality, reliability, total
from training.eval.strangers import FIGURES, HEADS, spread
from training.reports.tables import markdown

HEADLINE_PHOTOS = 3
"""Photos per label of the row that is stated in words."""
LARGER = (20, 3)
"""Labels and photos per label of the galleries whose confidence is also stated alone."""
MOST_NAMED = 4
"""Percent of strangers; where the median of a row is above this, the page says so."""


def new_objects(results: Sequence[Any], more_draws: Sequence[Any] = ()) -> list[str]:
    """Generate the section from the results of `python -m training strangers`; empty if none.

    `more_draws` are results with more draws of some of their rows.
    """
    if not results:
        return []
    parts = [
        "## New objects",
        "Objects that are enrolled after training, measured by `python -m training strangers`. A"
        " gallery of some labels is enrolled with a few photos of each, and the other photos of"
        " these labels are its queries. All of it is the path of the runtime with its default"
        " settings: a gallery file, six views per photo, a fit to the gallery where it is better, a"
        " second look at what the first one leaves unknown,"
        " and the decision by similarity of"
        " features, calibrated on each gallery with the aim that 2 % of strangers are named. Where"
        " far fewer are named, the limit is stricter than the aim and costs known photos."
        " `strangers named` is the share of photos of labels that are not enrolled which get a"
        " label anyway. If fewer than a twentieth of the labels are not enrolled, enrolled ones are"
        " left out one at a time for this. `AUROC` tells known queries from strangers by the"
        " similarity of the most similar label, in spreads above the mean that the gallery expects"
        " of strangers. `P@1` and `MAP@100` rank all enrolled pictures by similarity. Each cell is"
        " the median of the draws of labels and photos, with the lowest and the highest in"
        " brackets.",
    ]
    for name in dict.fromkeys(result["set"] for result in results):
        own = [result for result in results if result["set"] == name]
        parts += [f"### {name}", *_set(own)]
        parts += [_more_draws(result) for result in more_draws if result["set"] == name]
    return parts + _confidence(results)


def _confidence(results: Sequence[Any]) -> list[str]:
    """Generate the table of how often answers of a stated confidence are right."""
    rows, whole = [], []
    for result in results:
        tallied = [row["tally"] for row in result["rows"] if "tally" in row]
        if not tallied:
            continue
        counts = total(tallied)
        name = [result["set"], f"`{result['model']}`"]
        for found in reliability(counts):
            bounds = f"{100 * found.least:.0f} to {100 * found.most:.0f}"
            shares = f"{100 * found.confidence:.1f}", f"{100 * found.right:.1f}"
            rows.append([*name, bounds, found.answers, *shares])
        if (overall := quality(counts)) is not None:
            figures = [f"{100 * one:.1f}" for one in (overall.confidence, overall.right)]
            of_all = f"{len(tallied)} of {len(result['rows'])}"
            losses = f"{100 * overall.gap:.1f}", f"{overall.log_loss:.3f}"
            whole.append([*name, of_all, *figures, *losses])
    head = ["set", "model", "confidence, %", "answers", "mean confidence, %", "right, %"]
    quality_head = [
        "set", "model", "rows", "mean confidence, %", "right, %", "gap, points", "log loss"
    ]  # fmt: skip
    return [
        "### Confidence",
        "How often an answer of a stated confidence is right, over the rows of the tables above."
        " Answers to strangers are wrong. Known queries and strangers count as equally frequent,"
        " as the runtime assumes: where strangers are rarer, more answers are right. The"
        " confidence of a gallery with one photo per label rests on what other galleries are like.",
        markdown(head, rows),
        "All answers together. `gap` is the expected calibration error: how far the mean confidence"
        " of a bin is from the share that is right, on average. The log loss is in nats; smaller is"
        " better. `rows` counts the rows of the tables above whose answers are included: the others"
        " were measured before the confidence was last changed, which changed no answer.",
        markdown(quality_head, whole),
        *filter(None, [_confident(results)]),
    ]


def _more_draws(result: Any) -> str:
    """State what more draws say about the strangers that are named."""
    cells = ", ".join(
        f"{row['photos']} x {row['labels']} {spread('named', row['named'])} % of the strangers"
        f" named, {spread('right', row['right'])} % right"
        for row in result["rows"]
    )
    return (
        f"Medians of few draws vary by chance. With {result['protocol']['draws']} draws,"
        f" `{result['model']}` (photos x labels): {cells}."
    )


def _confident(results: Sequence[Any]) -> str:
    """State in words how often the most confident answers of larger galleries are right."""
    cells = []
    for result in results:
        larger = [
            row["tally"]
            for row in result["rows"]
            if "tally" in row and row["labels"] >= LARGER[0] and row["photos"] >= LARGER[1]
        ]
        bins = reliability(total(larger)) if larger else []
        if bins and bins[-1].most == 1:
            found = bins[-1]
            cells.append(
                f"{result['set']} (`{result['model']}`) {100 * found.right:.0f} %"
                f" of {found.answers} answers"
            )
    if not cells:
        return ""
    return (
        "Many confident answers that are wrong come from galleries of few labels, or of one photo"
        " per label, which tell little about strangers. In galleries of at least"
        f" {LARGER[0]} labels with at least {LARGER[1]} photos each, answers in the last bin are"
        f" right as follows: {', '.join(cells)}."
    )


def _set(results: Sequence[Any]) -> list[str]:
    first = results[0]
    protocol = first["protocol"]
    about = (
        f"{first['all_photos']} photos of {first['all_labels']} labels, {protocol['draws']} draws;"
        f" strangers: {protocol['strangers']}."
    )
    notes = [f"{result['model']}: {result['note']}." for result in results if result["note"]]
    notes += [
        f"{result['model']} was measured with one look at each photo."
        for result in results
        if not result["protocol"].get("second_look")
    ]
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
    sentences = (
        sentence for result in results for sentence in (_headline(result), _excess(result))
    )
    summary = " ".join(filter(None, sentences))
    return [" ".join([about, *dict.fromkeys(notes)]), summary, markdown(head, rows)]


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


def _excess(result: Any) -> str:
    """State where more than MOST_NAMED percent of the strangers are named."""
    rows = result["rows"]
    above = [row for row in rows if row["named"]["median"] > MOST_NAMED]
    single = max(row["named"]["highest"] for row in rows)
    if not above:
        highest = max(row["named"]["median"] for row in rows)
        return (
            f"`{result['model']}` names more than {MOST_NAMED} % of the strangers in no row"
            f" (at most {highest:.1f} %; in a single draw {single:.1f} %)."
        )
    cells = ", ".join(
        f"{row['photos']} x {row['labels']} ({row['named']['median']:.1f} %)" for row in above
    )
    return (
        f"**`{result['model']}` names more than {MOST_NAMED} % of the strangers in {len(above)} of"
        f" {len(rows)} rows** (photos x labels; in a single draw up to {single:.1f} %): {cells}."
    )
