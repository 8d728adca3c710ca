"""Generate the sections of docs/results/ACCURACY.md on labels that training did not see."""

from __future__ import annotations

from typing import Any

from training.reports.tables import markdown, number

FITTED_TARGETS = {
    "grocery": {"64": 62.0, "128": 67.0},
    "ie_tower": {"64": 32.0, "128": 35.0},
}
"""Minimum MAP@100 of hidden labels by set and bits, with codes fitted to the gallery."""
_SHARES = {"0": "0 (ImageNet)", "1": "1 (the run)"}


def fitted_section(result: Any) -> list[str]:
    """Write the section on codes that are fitted to a gallery with hidden labels.

    `result` comes from `python -m training unseen`.
    """
    run, rows = result["run"], result["rows"]
    stages = ", ".join(f"{epochs} at {side} px" for side, epochs in run["stages"])
    counts = "; ".join(
        f"{source}: {held['labels']} of {held['all_labels']} labels, {held['enrolled']} of the"
        f" {held['database']:,} enrolled photos, {held['queries']} queries"
        for source, held in result["hidden"].items()
    )
    return [
        "### Codes fitted to the gallery",
        f"The network was trained for {run['epochs_done']} epochs ({stages}), as long as the"
        f" specialist, without the hidden labels ({counts}). Only training did not see them: the"
        " gallery has labeled photos of them, and `edge_runtime.fitting.fit` fits the code to all"
        " enrolled photos in closed form, as `edge-runtime gallery refit` does. Each photo is"
        " enrolled whole, without further views, with its features as int8. The prior is the"
        " covariance within the labels that training saw. MAP@100 of the hidden labels' queries"
        " against the whole database of their set, by Hamming distance. `share` is that of the"
        " run's weights; the rest are ImageNet's.",
        _table(result),
        _verdicts(rows),
        _forgetting(rows),
    ]


def _table(result: Any) -> str:
    sources = list(result["hidden"])
    lengths = sorted(FITTED_TARGETS["grocery"], key=int)
    head = ["share"]
    for source in sources:
        head += [f"{source}, fitted, {bits} bits" for bits in lengths]
        head += [f"{source}, own layer", f"{source}, float features, cosine"]
    body: list[list[object]] = []
    for share, row in result["rows"].items():
        cells: list[object] = [_SHARES.get(share, share)]
        for source in sources:
            found = row[source]
            cells += [number(found["fitted"][bits]) for bits in lengths]
            cells += [_own(found), number(found["float"])]
        body.append(cells)
    goals: list[object] = ["target"]
    for source in sources:
        goals += [f"at least {FITTED_TARGETS[source][bits]:.0f}" for bits in lengths] + ["", ""]
    return markdown(head, [*body, goals])


def _own(found: Any) -> str:
    values = [f"{number(value)} ({bits} bits)" for bits, value in found.get("own", {}).items()]
    return values[0] if values else "-"


def _verdicts(rows: Any) -> str:
    """State for every target the shares that reach it, and those that reach all."""
    lines = []
    missing: set[str] = set()
    for source, targets in FITTED_TARGETS.items():
        for bits, least in targets.items():
            figures = {share: row[source]["fitted"][bits] for share, row in rows.items()}
            best = max(figures, key=lambda share: figures[share])
            reached = [share for share, value in figures.items() if value >= least]
            missing |= rows.keys() - set(reached)
            which = f"**reached** by the shares {', '.join(reached)}" if reached else "**missed**"
            lines.append(
                f"- {source}, {bits} bits, at least {least:.0f}: {which}; the best is"
                f" {number(figures[best])} at the share {best}."
            )
    whole = [share for share in rows if share not in missing]
    by = f"by the shares {', '.join(whole)}" if whole else "by no share"
    return "\n".join([*lines, f"- all targets: {by}."])


def _forgetting(rows: Any) -> str:
    """Compare what the run's own layer makes of hidden labels with ImageNet features."""
    words = []
    for source, found in rows["1"].items():
        plain = rows["0"][source]["float"]
        ((bits, own),) = found["own"].items()
        words.append(
            f"{source} {number(own)} ({own - plain:+.1f} from ImageNet features by cosine,"
            f" {own - found['float']:+.1f} from the run's own features by cosine,"
            f" {own - found['fitted'][bits]:+.1f} from a fitted code of them at {bits} bits)"
        )
    return (
        "**The learned layer forgets**: its bits separate the labels of the training. On labels"
        f" that it did not see it reaches {'; '.join(words)}. The features keep what the layer"
        " drops, and a layer that is fitted to the gallery recovers it."
    )
