"""Rows of the CIFAR-10 table from the finished runs."""

from __future__ import annotations

from collections.abc import Sequence

from training.papers.cifar10.features import SIZE, Material
from training.papers.cifar10.fit import HIDDEN, Budget
from training.papers.cifar10.runs import Plan, Run, planned
from training.papers.cifar10.systems import System
from training.papers.files import FinishedRuns
from training.papers.published import CIFAR10, Published
from training.papers.rows import SEEDS, Row, Table

_DIFFERS = (
    "features of a frozen ImageNet MobileNet-v1, one hidden layer and the hash layer trained on a"
    " CPU, {epochs} epochs; the published networks (AlexNet, VGG-F, NIN) were trained end to end"
)


def table(plan: Plan, material: Material, finished: FinishedRuns, command: str) -> Table:
    """Return the table of `plan` with what is finished; rows without a run say so."""
    rows = []
    runs = list(planned(plan, material))
    for name, system in plan.systems.items():
        for bits in plan.lengths:
            own = [run for run in runs if run.name == name and bits in run.judged]
            rows.append(_row(system, bits, own, finished))
    return Table(command, _data(material, plan), rows, _notes(material))


def _row(system: System, bits: int, runs: Sequence[Run], finished: FinishedRuns) -> Row:
    results = [found for run in runs if (found := finished.find(run.key)) is not None]
    values = [round(found["map"][str(bits)], 2) for found in results]
    published = CIFAR10.get(system.title, Published(system.title))
    figure = published.figures.get(bits)
    few = f"{len(values)} of {SEEDS} seeds finished" if len(values) < SEEDS else ""
    epochs = runs[0].system.budget.epochs if runs else 0
    differs = _DIFFERS.format(epochs=epochs)
    own = [found["seconds"] / len(found["map"]) for found in results]
    seconds = sum(own) / max(len(own), 1)
    return Row(
        system=system.title,
        source=published.source,
        setting=f"{bits} bits",
        measure="MAP (%)",
        published=figure,
        published_on=published.on if figure is not None else "",
        values=values,
        one_seed_reason=few if values else "",
        differs=f"{differs}; {system.differs}" if system.differs else differs,
        missing="" if values else "not run yet; the command continues with it",
        extra={"bytes_per_code": -(-bits // 8), "cpu_seconds": round(seconds, 1)} if values else {},
    )


def _data(material: Material, plan: Plan) -> str:
    split = material.split
    asked = "validation images" if plan.validation else "queries"
    return (
        f"CIFAR-10 ({material.kind}), split I of CNNH, DNNH and DPSH: {len(split.queries):,}"
        f" {asked} (a tenth of the test images of each class), a database of the other"
        f" {len(split.database):,} images, {len(split.training):,} of which are trained on. The"
        " split is drawn once, for all methods and seeds."
    )


def _notes(material: Material) -> list[str]:
    return [
        "MAP over the ranking of the whole database by Hamming distance. Images at the same"
        " distance are taken in expectation over all their orders.",
        f"All methods start from the same stored features of a frozen ImageNet MobileNet-v1 (images"
        f" scaled to {SIZE} pixels; {len(material.views) - 1} augmented views of each training"
        f" image) and train a layer 1024 -> {HIDDEN} with ReLU and their own layers, with the same"
        f" {Budget.epochs} epochs and batches. One training of a method serves all lengths (the"
        " mean of their losses).",
        "The learning rate and the setting of its loss were searched for each method alike, on"
        " validation images apart from the queries; the table of the search has every try.",
        "The losses were compared with the authors' code, those of CNNH and DNNH with a third"
        " party's code only; training/methods says what differs. The papers' full texts were not"
        " at hand.",
        "cpu_seconds is the mean CPU time of one training and its ranking, divided by the number of"
        " lengths.",
    ]
