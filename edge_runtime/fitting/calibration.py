"""From a similarity to a decision: how similar strangers come, and how similar the same thing is.

A stranger is a photo of a thing that is not enrolled. Its similarity to the gallery is that of the
label it resembles most, so it grows with the number of labels and photos, and it differs from one
kind of things to the next. It is therefore measured in the gallery itself: each enrolled photo is
compared with all labels but its own. These similarities are modeled as a normal distribution whose
spread is not well known when the labels are few, which gives the predictive distribution of a new
label as Student's t (Gelman et al., Bayesian Data Analysis, 3rd edition, section 3.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

FALSE_NAME_RATE = 0.02
"""Share of strangers that may be named, the default."""
PRIOR_LABELS = 6
"""Labels that the spreads of a scale count as."""
KNOWN_WEIGHT = 4
"""Photos that the mean of known things counts as."""
FEW_LABELS, MANY_LABELS = 20, 60
"""Up to the first number, the modeled distribution of strangers gives the limit. From the second
on, the measured one does, if that is lower. In between, both do."""
SAME = 0.98
"""From this similarity on, a photo counts as the enrolled one. A video frame of it is at 0.99."""
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Scale:
    """What similarities of a kind are like, where a gallery has too little to tell."""

    stranger_mean: float
    """Of photos of unrelated things."""
    stranger_spread: float
    known_mean: float
    """Of other photos of the same thing."""
    known_spread: float
    temperature: float
    """Difference of two labels' similarities at which the odds between them are e to 1."""


PLAIN_SCALE = Scale(0.50, 0.06, 0.72, 0.10, 0.02)
"""Of plain cosines."""
FITTED_SCALE = Scale(0.15, 0.10, 0.45, 0.15, 0.05)
"""Of cosines in a fitted metric, which are spread more widely."""


@dataclass(frozen=True)
class Calibration:
    """The distributions of similarities of strangers and of known things in a gallery."""

    stranger_mean: float
    stranger_spread: float
    """Standard deviation of a new stranger."""
    labels: int
    """Labels that were measured."""
    known_mean: float
    known_spread: float
    measured: tuple[float, ...] = ()
    """The similarities of strangers, ascending."""
    temperature: float = PLAIN_SCALE.temperature
    """See `Scale`."""

    def threshold(self, false_name_rate: float = FALSE_NAME_RATE) -> float:
        """Return the similarity that a share `false_name_rate` of strangers exceeds."""
        freedom = PRIOR_LABELS + max(self.labels - 1, 0)
        away = _student_quantile(1 - false_name_rate, freedom)
        limit = self.stranger_mean + away * self.stranger_spread
        if len(self.measured) * false_name_rate >= 2:  # else the sample has no such quantile
            # Look-alike things are similar up to a point. The tail of a normal distribution is too
            # long for them, but it takes many labels to know that.
            trust = (self.labels - FEW_LABELS) / (MANY_LABELS - FEW_LABELS)
            lower = limit - float(np.quantile(self.measured, 1 - false_name_rate))
            limit -= min(max(trust, 0.0), 1.0) * max(lower, 0.0)
        return min(limit, SAME)

    def known_probability(self, similarity: float) -> float:
        """Estimate the probability that a photo with this similarity shows an enrolled thing.

        The share of known things that are at most as similar is weighed against the share of
        strangers that are at least as similar; both kinds are taken as equally frequent.
        """
        known = _NORMAL.cdf((similarity - self.known_mean) / self.known_spread)
        stranger = _NORMAL.cdf((self.stranger_mean - similarity) / self.stranger_spread)
        return known / (known + stranger) if known + stranger else 0.0


def calibrate(
    strangers: NDArray[np.float32],
    known: NDArray[np.float32],
    labels: int,
    scale: Scale = PLAIN_SCALE,
    crowding: float = 0.0,
) -> Calibration:
    """Model the similarities of photos to the labels that are not theirs, and to their own.

    `strangers` [N] has photos of `labels` labels; `known` [M] may be empty, and so may `strangers`
    if there is one label. Similarities of `SAME` and more are copies of a photo under two labels,
    which say nothing about strangers. `crowding` is how much more similar a stranger to all labels
    is than one to all but its own.
    """
    others = strangers[strangers < SAME]
    mean, spread = scale.stranger_mean, scale.stranger_spread
    if len(others):
        mean, deviation = float(others.mean()), float(others.std(ddof=1)) if len(others) > 1 else 0
        if labels < 3:  # two labels may happen to differ much
            mean = max(mean, scale.stranger_mean)
        freedom = labels - 1
        variance = PRIOR_LABELS * scale.stranger_spread**2 + freedom * deviation**2
        spread = math.sqrt(variance / (PRIOR_LABELS + freedom))
        mean += crowding
    spread *= math.sqrt(1 + 1 / max(labels, 1))  # the mean is an estimate, too
    own = known[known < SAME]
    total = KNOWN_WEIGHT + len(own)
    known_mean = (
        KNOWN_WEIGHT * max(scale.known_mean, mean + 2 * spread) + float(own.sum())
    ) / total
    squares = float(((own - known_mean) ** 2).sum()) if len(own) else 0.0
    known_spread = math.sqrt((KNOWN_WEIGHT * scale.known_spread**2 + squares) / total)
    measured = tuple(np.sort(others).tolist())
    return Calibration(mean, spread, labels, known_mean, known_spread, measured, scale.temperature)


def _student_quantile(share: float, freedom: float) -> float:
    """Return the quantile of Student's t (Abramowitz & Stegun 1964, 26.7.5)."""
    z = _NORMAL.inv_cdf(share)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
