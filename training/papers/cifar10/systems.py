"""The systems of the CIFAR-10 table: how each is trained, and with which settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_runtime.errors import InputError
from training.methods import SUPERVISED
from training.papers.cifar10.features import Material
from training.papers.cifar10.fit import Budget, Trained, train

Fit = Callable[[Material, Sequence[int], int, Budget], Trained]
"""(material, lengths, seed, budget) -> codes; the result depends on these only."""
LONGEST = 64
"""Bits of the model that is truncated."""


@dataclass(frozen=True)
class System:
    """One system of the table."""

    title: str
    """Its name in the table and in `training.papers.published`."""
    fit: Fit
    budget: Budget = field(default_factory=Budget)
    truncated: bool = False
    """Whether one model of LONGEST bits is cut to the shorter lengths by its weights."""
    separate: bool = False
    """Whether each length has a training of its own."""
    differs: str = ""
    """What else differs from the published system, as a part of a sentence."""

    def trainings(self, lengths: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        """Return the most bits of each model to train, with the lengths that it is judged at."""
        if self.truncated:
            return [(max(LONGEST, *lengths), tuple(lengths))]
        if self.separate:
            return [(bits, (bits,)) for bits in lengths]
        return [(max(lengths), tuple(lengths))]


def by_labels(method: str) -> Fit:
    """Return the function that trains a method of `training.methods`."""

    def fit(material: Material, lengths: Sequence[int], seed: int, budget: Budget) -> Trained:
        return train(SUPERVISED[method], material, lengths, seed, budget)

    return fit


SYSTEMS: dict[str, System] = {
    "cnnh": System("CNNH", by_labels("cnnh"), Budget(dropout=0.3)),
    "dnnh": System(
        "DNNH",
        by_labels("dnnh"),
        Budget(rate=0.01, options={"margin": 4.0}),
    ),
    "dsrh": System(
        "DSRH",
        by_labels("dsrh"),
        Budget(rate=0.01, options={"margin": 5 / 32}),
        differs="single labels, two levels of similarity",
    ),
    "dsch": System(
        "DSCH",
        by_labels("dsch"),
        Budget(options={"margin": 0.4}),
        differs="neighbors by features for the data of its regularization",
    ),
    "drsch": System(
        "DRSCH",
        by_labels("drsch"),
        Budget(options={"margin": 0.4}),
        differs="neighbors by features for the data of its regularization",
    ),
    "drsch-truncated": System(
        "DRSCH, truncated",
        by_labels("drsch"),
        Budget(options={"margin": 0.4}),
        truncated=True,
        differs="neighbors by features for the data of its regularization",
    ),
    "bdnn": System(
        "SH-BDNN",
        by_labels("bdnn"),
        Budget(options={"quantization": 100.0}),
        differs="binary codes of each batch",
    ),
    "dpsh": System(
        "DPSH",
        by_labels("dpsh"),
        Budget(rate=0.01, options={"eta": 50.0}),
        differs="pairs within a batch",
    ),
    "dhn": System("DHN", by_labels("dhn"), Budget(options={"slope": 10.0, "quantization": 0.02})),
    "hashnet": System(
        "HashNet",
        by_labels("hashnet"),
        Budget(options={"slope": 5.0}),
        differs="both images of a pair from one batch",
    ),
    "greedyhash": System(
        "GreedyHash", by_labels("greedyhash"), Budget(rate=0.01, options={"penalty": 1.0})
    ),
    "orthohash": System(
        "OrthoHash", by_labels("orthohash"), Budget(rate=0.01, options={"scale": 4.0})
    ),
    "csq": System("CSQ", by_labels("csq"), Budget(options={"quantization": 0.05, "pairwise": 0.2})),
    "dlbh": System(
        "DLBH",
        by_labels("dlbh"),
        Budget(options={"switch": 0.0, "feature_rate": 1.0}),
        differs="the published one ranks 1,000 and trains on 50,000 images",
    ),
    "ssdh": System(
        "SSDH",
        by_labels("ssdh"),
        Budget(options={"weight": 0.5}),
        differs="the published one trains on 50,000 images",
    ),
    "paper": System("the paper's layer", by_labels("paper"), Budget(dropout=0.1)),
}
"""With the best settings of the search (results/papers/cifar10_search.json)."""


def choose_systems(text: str) -> dict[str, System]:
    """Return the systems of "dpsh,dhn", or all for ""; raises InputError for an unknown one."""
    names = tuple(filter(None, text.split(","))) or tuple(SYSTEMS)
    for name in names:
        if name not in SYSTEMS:
            raise InputError(
                f'unknown method "{name}"', where="--methods", remedy=f"known: {', '.join(SYSTEMS)}"
            )
    return {name: SYSTEMS[name] for name in names}
