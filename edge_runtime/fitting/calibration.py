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
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

FALSE_NAME_RATE = 0.02
"""Share of strangers that may be named, the default."""
PRIOR_LABELS = 6
"""Labels that the spread of a scale counts as."""
LEAST_FREEDOM = 4
"""Degrees of freedom of the spread, at least. It has one fewer than there are labels, as a sample
variance does. With more, galleries of 5 labels name 5 to 9 % of the strangers on average where
things look alike (groceries); so they name 4 %."""
KNOWN_WEIGHT = 4
"""Photos that the mean of known things counts as."""
FEW_LABELS, MANY_LABELS = 20, 60
"""Up to the first number, the distribution of strangers is taken as symmetric. From the second on,
its measured skewness counts in full, in between in part."""
TRUST, TRUST_WEIGHT = 0.97, 4
"""Share of answers that name the right label where none could be tried, and the answers that this
counts as."""
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


PLAIN_SCALE = Scale(0.50, 0.06, 0.72, 0.10, 0.03)
"""Of plain cosines."""
FITTED_SCALE = Scale(0.15, 0.10, 0.45, 0.15, 0.075)
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
    skewness: float = 0.0
    """Skewness of the similarities of strangers; negative if the highest ones have a limit."""
    temperature: float = PLAIN_SCALE.temperature
    """See `Scale`."""
    trust: float = TRUST
    """Share of the answers to enrolled things that is right."""
    several_drop: float = 0.0
    """See `edge_runtime.fitting.several`."""
    several_between: float = 1.0
    closer: Calibration | None = None
    """The same for a query of two looks, at the whole picture and at its middle, where a label is
    as similar as in the better one; None if pictures are enrolled without further
    views."""

    def of_mean(self, photos: float) -> Calibration:
        """Return the calibration of the mean similarity to several photos of one thing.

        They count as `photos` unrelated ones, 1 or more; 1 gives this calibration. Known things are
        taken to change as strangers do: the best label of several photos is not always their own.
        """
        if photos <= 1:
            return self
        rest = 1 / photos
        drop = self.several_drop * (1 - rest)
        shrunk = math.sqrt(self.several_between + (1 - self.several_between) * rest)
        return replace(
            self,
            stranger_mean=self.stranger_mean - drop,
            stranger_spread=self.stranger_spread * shrunk,
            known_mean=self.known_mean - drop,
            known_spread=self.known_spread * shrunk,
        )

    def of_looks(self, looks: int) -> Calibration:
        """Return the calibration of queries of 1 or 2 looks."""
        return self.closer or self if looks > 1 else self

    def threshold(self, false_name_rate: float = FALSE_NAME_RATE) -> float:
        """Return the similarity that a share `false_name_rate` of strangers exceeds."""
        away = _student_quantile(1 - false_name_rate, self._freedom)
        # The first term of the expansion of Cornish and Fisher (1938) for a skewed distribution.
        away += self.skewness * (away**2 - 1) / 6
        return min(self.stranger_mean + away * self.stranger_spread, SAME)

    def known_probability(self, similarity: float) -> float:
        """Estimate the probability that a photo with this similarity shows an enrolled thing.

        By Bayes' rule with a normal density of known things and the predictive density of strangers
        (see `threshold`), both taken as equally frequent. It never falls with the similarity: known
        things count as at least as similar and as widely spread as strangers, a similarity below
        the mean of strangers counts as this mean, and one above that of known things is as probable
        of a known thing as their mean.
        """
        mean = max(self.known_mean, self.stranger_mean)
        spread = max(self.known_spread, self.stranger_spread)
        similarity = max(similarity, self.stranger_mean)
        below = min(similarity - mean, 0.0) / spread
        away = (similarity - self.stranger_mean) / self.stranger_spread
        odds = -(below**2) / 2 - math.log(spread * math.sqrt(2 * math.pi))
        odds -= _student_log_density(away, self._freedom) - math.log(self.stranger_spread)
        return 1 / (1 + math.exp(-min(max(odds, -50.0), 50.0)))

    @property
    def _freedom(self) -> float:
        return max(self.labels - 1, LEAST_FREEDOM)


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
    skewness = _skewness(others) * min(
        max((labels - FEW_LABELS) / (MANY_LABELS - FEW_LABELS), 0.0), 1.0
    )
    return Calibration(mean, spread, labels, known_mean, known_spread, skewness, scale.temperature)


def tried(
    calibration: Calibration, own: NDArray[np.float32], rival: NDArray[np.float32]
) -> Calibration:
    """Return `calibration` with the trust that enrolled photos tell.

    Each photo is left out and queried. `own` [N] is its similarity to the rest of its label, NaN if
    there is none, and `rival` [N] that to the most similar other label. A photo counts if one of
    the two is an answer at the default rate.
    """
    known = ~np.isnan(own)
    own, rival = own[known], np.nan_to_num(rival[known], nan=-1.0)
    named = np.maximum(own, rival) >= calibration.threshold()
    right = int(np.count_nonzero(own[named] > rival[named]))
    answers = TRUST_WEIGHT + int(np.count_nonzero(named))
    return replace(calibration, trust=(TRUST_WEIGHT * TRUST + right) / answers)


def _skewness(values: NDArray[np.float32]) -> float:
    """Return the standardized third moment of values [N], within -1 to 1."""
    away = values - values.mean() if len(values) else values
    spread = float(away.std()) if len(away) else 0.0
    return min(max(float((away**3).mean()) / spread**3, -1.0), 1.0) if spread > 1e-6 else 0.0


def _student_quantile(share: float, freedom: float) -> float:
    """Return the quantile of Student's t (Abramowitz & Stegun 1964, 26.7.5)."""
    z = _NORMAL.inv_cdf(share)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _student_log_density(value: float, freedom: float) -> float:
    """Return the logarithm of the density of Student's t at `value`."""
    half = freedom / 2
    scale = math.lgamma(half + 0.5) - math.lgamma(half) - math.log(freedom * math.pi) / 2
    return scale - (half + 0.5) * math.log1p(value**2 / freedom)
