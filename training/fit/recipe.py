"""The recipe of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's result, apart from the photos and the first weights."""

    method: str = "orthohash"
    bits: int = 64
    stages: tuple[tuple[int, int], ...] = ((192, 30), (224, 8))  # (pixels, epochs)
    batch: int = 32
    optimizer: str = "sgd"  # or "adamw"
    rate: float = 0.02
    decay: float = 2e-4
    warmup: float = 0.05  # share of the steps
    average: float = 0.999  # decay of the averaged weights
    mixed: float = 0.0  # share of batches that are mixed (mixup or cutmix, half each)
    dropout: float = 0.1
    frozen: int = 7  # units at the start of the backbone that are not trained
    flip_sources: tuple[str, ...] = ()  # sets without left or right, mirrored at random
    augmentation: str = "strong"  # one of AUGMENTATIONS
    seed: int = 1
    preserve: float = 0.0  # weight of the distance from the features of the first weights
    head_first: int = 0  # epochs at the start in which only the method's own layers are trained
    features_rate: float = 1.0  # learning rate of the features, as a share of `rate`
    kept_norms: bool = False  # batch norms keep the means and variances of the first weights
    stored_views: int = 0  # views per photo whose maps after the frozen units are stored; 0: none

    @property
    def epochs(self) -> int:
        """Epochs of all stages."""
        return sum(epochs for _, epochs in self.stages)

    def size_of(self, epoch: int) -> int:
        """Input side in pixels in `epoch`."""
        for size, epochs in self.stages:
            if epoch < epochs:
                return size
            epoch -= epochs
        return self.stages[-1][0]


def parse_stages(text: str) -> tuple[tuple[int, int], ...]:
    """Parse stages: "160x20,224x8" (pixels x epochs) -> ((160, 20), (224, 8)).

    Raises InputError for a side below 32 pixels (the network halves it five times) or fewer than
    one epoch.
    """
    try:
        stages = tuple((int(a), int(b)) for a, b in (part.split("x") for part in text.split(",")))
    except ValueError as error:
        raise InputError(
            f'"{text}" is not a list of stages', where="--stages", remedy="write 160x20,224x8"
        ) from error
    if any(pixels < 32 or epochs < 1 for pixels, epochs in stages):
        raise InputError(
            f'"{text}" has a stage of less than 32 pixels or one epoch',
            where="--stages",
            remedy="write 160x20,224x8",
        )
    return stages
