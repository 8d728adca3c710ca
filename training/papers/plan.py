"""The command of every table, in order: what `make papers` runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SETS = ("grocery", "ie_tower", "objects")
GENERAL, SPECIALIST = "models/mobilenet_v1_general.onnx", "models/mobilenet_v1_hash64.onnx"


@dataclass(frozen=True)
class Places:
    """Where the data are, and the folders to write to."""

    data: Path
    """Folder with the sets grocery, ie_tower and objects; in the tiny form, any sets."""
    cifar10: Path
    weights: Path
    """ImageNet weights of MobileNet-v1 (.npz)."""
    build: Path
    results: Path
    sounds: Path | None = None
    """Folder of recordings; None: that of the command."""

    def sets(self, *names: str) -> list[str]:
        """Return `--data` with the folder of each set."""
        return [word for name in names for word in ("--data", str(self.data / name))]

    def out(self, verb: str) -> list[str]:
        """Return `--out` with the folder of a verb."""
        return ["--out", str(self.build / verb.replace("-", "_"))]

    @property
    def written(self) -> list[str]:
        """Return `--results` with its folder."""
        return ["--results", str(self.results)]

    @property
    def alexnet(self) -> list[str]:
        """Return `--alexnet` with the file that the verb alexnet writes."""
        return ["--alexnet", str(self.build / "alexnet" / "alexnet.pt")]

    @property
    def heard(self) -> list[str]:
        """Return `--sounds` with its folder, if one is given."""
        return ["--sounds", str(self.sounds)] if self.sounds else []


def commands(places: Places) -> dict[str, list[str]]:
    """Return verb -> options, in the order in which the tables need each other."""
    out, results = places.out, places.written
    cifar = ["--data", str(places.cifar10), "--weights", str(places.weights)]
    weights = ["--weights", str(places.weights)]
    return {
        "unlabelled": [*places.sets(*SETS), *out("unlabelled"), *results],
        "multi-index": [*places.sets(*SETS), "--model", GENERAL, *out("unlabelled"), *results],
        "handmade": [*places.sets(*SETS), "--model", GENERAL, "--model",
                     GENERAL.replace(".onnx", "_int8.onnx"), *out("handmade"),
                     *results],
        "transmission": [*places.sets(*SETS), "--model", GENERAL, *out("handmade"),
                         *results],
        "clips": [
            *("--data", str(places.data / "ie_tower"), "--also", str(places.data / "grocery")),
            *(*places.heard, *out("clips"), *results),
        ],
        "cifar10-search": [*cifar, *out("cifar10")],
        "cifar10": [*cifar, *out("cifar10")],
        "cifar10-unlabelled": [*cifar, *out("cifar10"), *results],
        "alexnet": [*places.sets("grocery", "ie_tower"), *weights, "--more",
                    str(places.cifar10 / "train"), *out("alexnet"), *results],
        "table3": [*places.sets("grocery", "ie_tower"), *weights, *places.alexnet, *out("table3"),
                   *results],
        "low-rank-pruned": ["--data", str(places.data / "grocery"), *places.alexnet,
                            *out("low-rank-pruned"), *results],
        "quantized-cnn": ["--data", str(places.data / "grocery"), *places.alexnet,
                          "--searched", "10", "--asked", "5", "--photos", "60",
                          *out("quantized-cnn"), *results],
    }  # fmt: skip


def tiny_commands(places: Places, names: Sequence[str]) -> dict[str, list[str]]:
    """Return verb -> options of the tiny form of every table, on the small sets `names`.

    One seed, few bits, small networks and inputs: it shows that every table is made, not how good
    a system is.
    """
    out, results, first = places.out, places.written, ["--data", str(places.data / names[0])]
    weights, few = ["--weights", str(places.weights)], ["--seeds", "1"]
    cifar = ["--data", str(places.cifar10), *weights]
    return {
        "unlabelled": [*places.sets(*names), *out("unlabelled"), *results, *few, "--epochs", "2",
                       "--bits", "8", "--model", GENERAL],
        "multi-index": [*places.sets(*names), "--model", GENERAL, *few, "--most", "500",
                        *out("unlabelled"), *results],
        "handmade": [*places.sets(*names), *few, *out("handmade"), *results],
        "transmission": [*places.sets(*names), "--model", GENERAL, *few, "--queries", "3",
                         *out("handmade"), *results, "--images", str(places.build / "images")],
        "clips": [*first, "--tiny", *places.heard, *out("clips"), *results],
        "cifar10-search": [*cifar, *out("cifar10"), *results, "--tiny", "--methods", "dpsh"],
        "cifar10": [*cifar, *out("cifar10"), *results, "--tiny"],
        "cifar10-unlabelled": [*cifar, *out("cifar10"), *results, *few, "--tiny", "--bits", "8"],
        "alexnet": [*first, *weights, "--more", str(places.cifar10 / "train"), "--count", "12",
                    "--stages", "72x1", "--hidden", "16", "--width", "0.1", "--batch", "8",
                    *out("alexnet"), *results],
        "table3": [*first, *weights, *places.alexnet, *few, "--side", "72", "--epochs", "1",
                   "--batch", "4", "--lengths", "8", *out("table3"), *results],
        "low-rank-pruned": [*first, *places.alexnet, *out("low-rank-pruned"), *results],
        "quantized-cnn": [*first, *places.alexnet, *few, "--settings", "16x16", "--photos", "2",
                          "--searched", "3", "--asked", "1", "--runs", "1", "--no-full",
                          *out("quantized-cnn"), *results],
    }  # fmt: skip
