"""Methods without labels on CIFAR-10, in the framework of the supervised ones.

They see the same 5,000 training images and views, without labels. LSH and PCA-ITQ are closed forms;
the others are trained on batches of the same size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.methods import UNLABELLED, UNSUPERVISED
from training.methods.unlabelled.base import Budget as Settings
from training.methods.unlabelled.base import train_unlabelled
from training.papers.cifar10.features import Material
from training.papers.cifar10.fit import Budget, Trained
from training.papers.cifar10.ranking import Bits
from training.papers.cifar10.runs import Plan, planned
from training.papers.cifar10.systems import Fit, System
from training.papers.files import FinishedRuns
from training.papers.published import UNLABELLED_CIFAR10
from training.papers.rows import SEEDS, Row

HIDDEN = 512
"""Units of the layer below the code, where a method works with any."""
EPOCHS = Budget(epochs=30)


def in_closed_form(method: str) -> Fit:
    """Return the function that fits a closed form of `training.methods`."""

    def fit(material: Material, lengths: Sequence[int], seed: int, budget: Budget) -> Trained:
        (bits,) = lengths
        weight, bias = UNSUPERVISED[method](material.views[0].astype(np.float32), bits, seed)

        codes: Bits = material.features.astype(np.float32) @ weight.T + bias > 0
        return Trained({bits: codes}, {bits: None})

    return fit


def trained(method: str) -> Fit:
    """Return the function that trains a method without labels."""

    def fit(material: Material, lengths: Sequence[int], seed: int, budget: Budget) -> Trained:
        (bits,) = lengths
        settings = Settings(budget.epochs, budget.batch, budget.rate, hidden=HIDDEN)
        passes = [view.astype(np.float32) for view in material.views]
        coder = train_unlabelled(UNLABELLED[method], passes, bits, seed, settings)

        codes: Bits = coder.values(material.features) > 0
        return Trained({bits: codes}, {bits: None})

    return fit


SYSTEMS: dict[str, System] = {
    "lsh": System("LSH", in_closed_form("lsh"), separate=True),
    "itq": System("PCA-ITQ", in_closed_form("itq"), separate=True),
    "dh": System("DH", trained("dh"), EPOCHS, separate=True),
    "deepbit": System("DeepBit", trained("deepbit"), EPOCHS, separate=True,
                      differs="augmented views for rotated ones"),
    "uh-bdnn": System("UH-BDNN", trained("uh-bdnn"), EPOCHS, separate=True,
                      differs="5 turns of 20 iterations, not 20 of 400"),
    "cibhash": System("CIBHash", trained("cibhash"), EPOCHS, separate=True),
}  # fmt: skip
_DIFFERS = (
    "features of a frozen ImageNet MobileNet-v1 and 5,000 training images; MAP over the whole"
    " database"
)


@dataclass(frozen=True)
class _Values:
    """What is finished of one row."""

    values: list[float]
    seconds: float


def rows(plan: Plan, material: Material, finished: FinishedRuns) -> list[Row]:
    """Return the rows of `plan` with what is finished; rows without a run say so."""
    runs = list(planned(plan, material))
    found: list[Row] = []
    for name, system in plan.systems.items():
        for bits in plan.lengths:
            results = [
                result
                for run in runs
                if run.name == name and bits in run.judged
                and (result := finished.find(run.key)) is not None
            ]  # fmt: skip
            values = [round(each["map"][str(bits)], 2) for each in results]
            seconds = sum(each["seconds"] for each in results) / max(len(results), 1)
            found.append(_row(system, bits, _Values(values, seconds)))
    return found


def _row(system: System, bits: int, own: _Values) -> Row:
    published = UNLABELLED_CIFAR10[system.title]
    figure = published.figures.get(bits)
    few = f"{len(own.values)} of {SEEDS} seeds finished" if len(own.values) < SEEDS else ""
    return Row(
        system=system.title,
        source=published.source,
        setting=f"{bits} bits",
        measure="MAP (%)",
        published=figure,
        published_on=published.on if figure is not None else "",
        values=own.values,
        one_seed_reason=few if own.values else "",
        differs=f"{_DIFFERS}; {system.differs}" if system.differs else _DIFFERS,
        missing="" if own.values else "not run",
        extra={"bytes_per_code": -(-bits // 8), "cpu_seconds": round(own.seconds, 1)}
        if own.values
        else {},
    )
