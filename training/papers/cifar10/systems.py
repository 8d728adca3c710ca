"""The systems of the CIFAR-10 table: how each is trained, and with which settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from training.methods import SUPERVISED
from training.papers.cifar10.features import Material
from training.papers.cifar10.fit import Budget, Trained, train

Fit = Callable[[Material, int, int, Budget], Trained]
"""(material, bits, seed, budget) -> what makes codes; the result depends on these only."""
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
    differs: str = ""
    """What else differs from the published system, as a part of a sentence."""

    def trainings(self, lengths: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        """Return the bits of each model to train, with the lengths that it is judged at."""
        if self.truncated:
            return [(max(LONGEST, *lengths), tuple(lengths))]
        return [(bits, (bits,)) for bits in lengths]


def by_labels(method: str) -> Fit:
    """Return the function that trains a method of `training.methods`."""

    def fit(material: Material, bits: int, seed: int, budget: Budget) -> Trained:
        return train(SUPERVISED[method], material, bits, seed, budget)

    return fit


SYSTEMS: dict[str, System] = {
    "cnnh": System("CNNH", by_labels("cnnh")),
    "dnnh": System("DNNH", by_labels("dnnh"), Budget(options={"margin": 4.0})),
    "dsrh": System("DSRH", by_labels("dsrh"), differs="single labels, two levels of similarity"),
    "dsch": System("DSCH", by_labels("dsch")),
    "drsch": System("DRSCH", by_labels("drsch")),
    "drsch-truncated": System("DRSCH, truncated", by_labels("drsch"), truncated=True),
    "bdnn": System("SH-BDNN", by_labels("bdnn"),
                   Budget(options={"quantization": 1.0, "independence": 0.03}),
                   differs="binary codes of each batch"),
    "dpsh": System("DPSH", by_labels("dpsh"), Budget(options={"eta": 50.0}),
                   differs="pairs within a batch"),
    "dhn": System("DHN", by_labels("dhn")),
    "hashnet": System("HashNet", by_labels("hashnet"), differs="beta ends at 10"),
    "greedyhash": System("GreedyHash", by_labels("greedyhash")),
    "orthohash": System("OrthoHash", by_labels("orthohash")),
    "csq": System("CSQ", by_labels("csq")),
    "dlbh": System("DLBH", by_labels("dlbh")),
    "ssdh": System("SSDH", by_labels("ssdh"),
                   differs="the published one ranks 1,000 and trains on 50,000 images"),
    "paper": System("the paper's layer", by_labels("paper")),
}  # fmt: skip
