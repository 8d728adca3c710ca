"""The rows of training/results/papers/clips.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from edge_runtime.clips.fusion import CORRELATION, SURE
from edge_runtime.fitting.calibration import Calibration
from training.papers.clips.figures import (
    Outcome,
    Record,
    after,
    fused_verdicts,
    log_loss,
    progressive,
    shares,
)
from training.papers.clips.sounds import Noise
from training.papers.rows import Row

SURVEY = "Liu et al. 2017, section 3.4 (proposed, without figures)"
WALKS = "ie_tower's walks"
CORRELATIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
ALL = 1000
DETERMINISTIC = "deterministic: one gallery, one set of clips"


def walk_rows(records: Sequence[Record], calibration: Calibration) -> list[Row]:
    """Return the rows of clips as queries, from the stored evidence."""
    places = [record["place"] for record in records]
    own = [fused_verdicts(record, "own", calibration) for record in records]
    without = [fused_verdicts(record, "without", calibration) for record in records]
    modes = {
        "1 frame": [after(each, 1) for each in own],
        "2 frames": [after(each, 2) for each in own],
        "3 frames": [after(each, 3) for each in own],
        "all frames": [after(each, ALL) for each in own],
        f"progressive, sure at {SURE:g}": [progressive(each) for each in own],
        "progressive, sure at 0.8": [progressive(each, 0.8) for each in own],
    }
    stranger_modes = {
        "1 frame": [after(each, 1) for each in without],
        "2 frames": [after(each, 2) for each in without],
        "3 frames": [after(each, 3) for each in without],
        "all frames": [after(each, ALL) for each in without],
        f"progressive, sure at {SURE:g}": [progressive(each) for each in without],
        "progressive, sure at 0.8": [progressive(each, 0.8) for each in without],
    }
    rows = [_photo_row(records, calibration)]
    for setting, outcomes in modes.items():
        figures = shares(outcomes, places)
        strangers = stranger_modes[setting]
        named = 100 * sum(each.label is not None for each in strangers) / len(strangers)
        rows.append(
            _row(
                "clip, frames fused",
                setting,
                "right clips (%)",
                figures.pop("right"),
                {**figures, "strangers_named_percent": named, "clips": len(outcomes)},
            )
        )
    return rows + _correlation_rows(records, calibration)


def _photo_row(records: Sequence[Record], calibration: Calibration) -> Row:
    """Return the row of every frame as a photo of its own."""
    outcomes: list[Outcome] = []
    places: list[str] = []
    for record in records:
        for labels, _ in zip(record["own"], record["cosines"], strict=True):
            alone = {"own": [labels], "cosines": [[1.0]]}
            outcomes.append(after(fused_verdicts(alone, "own", calibration), 1))
            places.append(record["place"])
    figures = shares(outcomes, places)
    extra = {**figures, "photos": len(outcomes)}
    return _row("single photos", "every frame alone", "right photos (%)", extra.pop("right"), extra)


def _correlation_rows(records: Sequence[Record], calibration: Calibration) -> list[Row]:
    """Return the log loss of the confidence for each assumed correlation of frames.

    Half of the places choose it, the other half judge the choice.
    """
    rows = []
    long = [record for record in records if len(record["own"]) > 1]
    for correlation in CORRELATIONS:
        losses, gaps = [], []
        for half in (long[::2], long[1::2]):
            outcomes = [
                after(fused_verdicts(record, "own", calibration, correlation), ALL)
                for record in half
            ]
            places = [record["place"] for record in half]
            losses.append(log_loss(outcomes, places))
            figures = shares(outcomes, places)
            gaps.append(figures["mean_confidence_percent"] - figures["right_of_named_percent"])
        chosen = " (in use)" if correlation == CORRELATION else ""
        rows.append(
            _row(
                "correlation of frames",
                f"r = {correlation:g}{chosen}",
                "log loss of the confidence, first half of the places",
                losses[0],
                {
                    "log_loss_second_half": losses[1],
                    "confidence_minus_right_percent_first_half": gaps[0],
                    "confidence_minus_right_percent_second_half": gaps[1],
                },
            )
        )
    return rows


def sound_rows(
    answers: Mapping[tuple[Noise, float], Sequence[Mapping[str, Any]]], labels: int
) -> list[Row]:
    """Return one row per noise: labels told apart by sound, and false matches."""
    rows = []
    for (noise, snr_db), records in answers.items():
        known = [each for each in records if each["known"]]
        foreign = [each for each in records if not each["known"]]
        right = 100 * mean(each["with_sound"] == each["name"] for each in known)
        extra = {
            "picture_alone_percent": 100 * mean(each["alone"] == each["name"] for each in known),
            "heard_percent": 100 * mean(each["name"] in each["heard"] for each in known),
            "wrong_sound_matches": sum(
                sum(label != each["name"] for label in each["heard"]) for each in known
            ),
            "foreign_sounds": len(foreign),
            "false_matches_of_foreign": sum(bool(each["heard"]) for each in foreign),
            "labels": labels,
        }
        setting = "no noise" if noise == "none" else f"{noise} noise, {snr_db:g} dB"
        rows.append(_row("sound beside the picture", setting, "right clips (%)", right, extra))
    return rows


def heading_rows(runs: Sequence[Mapping[float, Mapping[str, float]]]) -> list[Row]:
    """Return one row per weight of the heading; `runs` has one entry per seed."""
    rows = []
    for degrees in runs[0]:
        values = [run[degrees]["right"] for run in runs]
        setting = f"{degrees:g} degrees per bit" if degrees else "heading ignored"
        rows.append(
            Row(
                "compass heading (simulated)",
                SURVEY,
                setting,
                "right photos (%)",
                values=values,
                one_seed_reason="" if len(values) > 2 else "a short run",
                differs="Simulated: ie_tower records no headings.",
                extra={
                    name: mean(run[degrees][name] for run in runs)
                    for name in ("unknown_percent", "wrong_percent")
                },
            )
        )
    return rows


def _row(system: str, setting: str, measure: str, value: float, extra: Mapping[str, float]) -> Row:
    rounded = {name: round(figure, 3) for name, figure in extra.items()}
    return Row(
        system,
        SURVEY,
        setting,
        measure,
        values=(round(value, 3),),
        one_seed_reason=DETERMINISTIC,
        differs="The survey proposes it and gives no figures.",
        extra=rounded,
    )
