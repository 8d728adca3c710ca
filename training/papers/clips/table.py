"""The rows of training/results/papers/clips.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

from edge_runtime.clips.fusion import CORRELATION, SURE
from edge_runtime.fitting.calibration import FALSE_NAME_RATE, Calibration
from training.papers.clips.figures import (
    Evidence,
    Record,
    known_loss,
    label_loss,
    outcome,
    part_of,
    shares,
    windows,
)
from training.papers.clips.sounds import Noise
from training.papers.rows import Row

SURVEY = "Liu et al. 2017, section 3.4 (proposed, without figures)"
CORRELATIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
RATES = (FALSE_NAME_RATE, 0.2)
SURES = (0.6, SURE)
DETERMINISTIC = "deterministic: one gallery, one set of clips"


def walk_rows(data: str, records: Sequence[Record], calibration: Calibration) -> list[Row]:
    """Return the rows of clips of the set `data` as queries, from the stored evidence."""
    rows = []
    for rate in RATES:
        for count in (1, 2, 3):
            setting = f"{data}, {f'{count} frames in a row' if count > 1 else 'single photos'}"
            own, without = (windows(records, part, count) for part in ("own", "without"))
            if own:
                rows.append(_figures(setting, own, without, calibration, rate, None))
        whole, strange = (
            [part_of(record, part, 0, len(record[part])) for record in records]
            for part in ("own", "without")
        )
        rows.append(_figures(f"{data}, the whole clip", whole, strange, calibration, rate, None))
        for sure in SURES:
            setting = f"{data}, progressive, sure at {sure:g}"
            rows.append(_figures(setting, whole, strange, calibration, rate, sure))
    return rows + _limit_rows(data, records, calibration)


def _figures(
    setting: str,
    own: Sequence[Evidence],
    without: Sequence[Evidence],
    calibration: Calibration,
    rate: float,
    sure: float | None,
) -> Row:
    outcomes = [outcome(each, calibration, rate, sure) for each in own]
    strangers = [outcome(each, calibration, rate, sure) for each in without]
    figures = shares(outcomes, [each.place for each in own])
    right = figures.pop("right")
    named = 100 * sum(each.label is not None for each in strangers) / len(strangers)
    loss = known_loss(outcomes, strangers)
    extra = {**figures, "strangers_named_percent": named, "log_loss_of_being_enrolled": loss}
    extra["queries"] = len(own)
    return _row(
        "clip, frames fused", f"{setting}, false-name rate {rate:g}", "right (%)", right, extra
    )


def _limit_rows(data: str, records: Sequence[Record], calibration: Calibration) -> list[Row]:
    """Return what the whole clips give with the limit of one picture, and with that of the mean."""
    single = replace(calibration, several_drop=0.0, several_between=1.0)
    rows = []
    for name, limit in (("one picture", single), ("the mean (in use)", calibration)):
        own, strangers = (
            [outcome(part_of(each, part, 0, len(each[part])), limit) for each in records]
            for part in ("own", "without")
        )
        figures = shares(own, [record["place"] for record in records])
        named = 100 * sum(each.label is not None for each in strangers) / len(strangers)
        rows.append(
            _row(
                "limit for strangers",
                f"{data}, the limit of {name}, false-name rate {FALSE_NAME_RATE:g}",
                "log loss of being enrolled at all, whole clips",
                known_loss(own, strangers),
                {
                    "right_percent": figures["right"],
                    "unknown_percent": figures["unknown_percent"],
                    "wrong_percent": figures["wrong_percent"],
                    "strangers_named_percent": named,
                    "clips": len(records),
                },
            )
        )
    return rows


def correlation_rows(records: Sequence[Record], calibration: Calibration) -> list[Row]:
    """Return the loss of the labels' probabilities for each assumed correlation of frames.

    It is chosen on every second place, and judged on the others.
    """
    rows = []
    long = [record for record in records if len(record["own"]) > 1]
    for correlation in CORRELATIONS:
        losses = [
            mean(
                label_loss(part_of(record, "own", 0, len(record["own"])), calibration, correlation)
                for record in half
            )
            for half in (long[::2], long[1::2] or long)
        ]
        chosen = " (in use)" if correlation == CORRELATION else ""
        rows.append(
            _row(
                "correlation of frames",
                f"r = {correlation:g}{chosen}",
                "log loss of the labels' probabilities, every second place",
                losses[0],
                {"log_loss_of_the_other_places": losses[1], "clips": len(long)},
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
