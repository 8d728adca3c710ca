"""Make the rows of training/results/papers/handmade.json."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from training.papers.rows import SEEDS, Extra, Row

PUBLISHED = {"VHB": 19.36, "SSFS": 20.22}
"""MAP in percent (Qi et al., Table 3), at 64 bits."""
PUBLISHED_ON = "8,062 photos of 162 places (not public), MAP of the top 100, Qi et al., Table 3"
_SOURCES = {
    "VHB": "He et al. 2012, CVPR",
    "SSFS": "Wang et al. 2016, PCM",
    "global features": "HOG, color histogram and GIST (training/hash_layer/handcrafted.py)",
    "network": "models/MODEL_CARD.md",
}
_DIFFERS = {
    "VHB": (
        "Other photos. The text was not available: rebuilt from the abstract, a review and what is"
        " commonly known of the method. SIFT instead of the paper's features, SPICA bits, 12"
        " tables of at most 18 of the 80 bits, and our own weights of votes, verification score"
        " and outline."
    ),
    "SSFS": (
        "Other photos. The text was not available: rebuilt from the title and what both papers say"
        " of it. The formulas of saliency and distinctness are ours."
    ),
}
_STAGES = {"VHB": "votes, geometry and outline", "SSFS": "salient and distinct features"}
"""The stage that is the whole system, and that the published figure belongs to."""


def rows_of(
    system: str, setting: str, results: Sequence[dict[str, Any]], reason: str = ""
) -> list[Row]:
    """Return the rows of MAP@100 and P@1 of one system; `results` has one entry per seed.

    `reason` says why there is one seed.
    """
    extra: dict[str, Extra] = {
        "bytes_per_query": round(mean(each["bytes"] for each in results)),
        "ms_per_query": round(mean(each["ms"] for each in results), 1),
    }
    if "search_ms" in results[0]:
        extra["search_ms"] = round(mean(each["search_ms"] for each in results), 1)
    if not reason and len(results) < SEEDS:
        reason = f"{len(results)} of {SEEDS} seeds were run"
    whole = _STAGES.get(system) == results[0]["stage"]
    source = _SOURCES.get(system, _SOURCES["network"])
    rows = []
    for name, measure in (("map100", "MAP@100 (%)"), ("p1", "P@1 (%)")):
        published = whole and name == "map100"
        rows.append(
            Row(
                system=system,
                source=source,
                setting=setting,
                measure=measure,
                published=PUBLISHED[system] if published else None,
                published_on=PUBLISHED_ON if published else "",
                values=tuple(round(each[name], 2) for each in results),
                one_seed_reason=reason,
                differs=_DIFFERS[system] if published else "",
                extra=extra,
            )
        )
    return rows
