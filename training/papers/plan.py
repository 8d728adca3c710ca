"""The command of every table, in order: what `make papers` runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SETS = ("grocery", "ie_tower", "objects")
GENERAL, SPECIALIST = "models/mobilenet_v1_general.onnx", "models/mobilenet_v1_hash64.onnx"


@dataclass(frozen=True)
class Places:
    """Where the data are, and the folders to write to."""

    data: Path
    """Folder with the sets grocery, ie_tower and objects."""
    cifar10: Path
    weights: Path
    """ImageNet weights of MobileNet-v1 (.npz)."""
    build: Path
    results: Path
    tiny: bool = False
    """One short form of each table, for tests."""

    def sets(self, *names: str) -> list[str]:
        """Return `--data` with the folder of each set."""
        return [word for name in names for word in ("--data", str(self.data / name))]


def commands(places: Places) -> dict[str, list[str]]:
    """Return verb -> options, in the order in which the tables need each other.

    The tiny form leaves out the tables that train whole networks, and quantized-cnn and clips;
    their own tests run them.
    """
    build, results = places.build, ["--results", str(places.results)]
    cifar = ["--data", str(places.cifar10), "--weights", str(places.weights)]
    weights = ["--weights", str(places.weights)]
    alexnet = ["--alexnet", str(build / "alexnet" / "alexnet.pt")]

    def out(verb: str) -> list[str]:
        return ["--out", str(build / verb.replace("-", "_"))]

    if places.tiny:
        names = [each.name for each in sorted(places.data.iterdir()) if each.is_dir()]
        few = ["--seeds", "1"]
        return {
            "unlabelled": [*places.sets(*names), *out("unlabelled"), *results, *few, "--epochs",
                           "2", "--bits", "16", "--model", GENERAL],
            "cifar10": [*cifar, *out("cifar10"), "--tiny", "--methods", "dpsh"],
            "cifar10-unlabelled": [*cifar, *out("cifar10"), *results, *few, "--tiny", "--bits",
                                   "8"],
            "handmade": [*places.sets(*names), *few, *out("handmade"), *results],
        }  # fmt: skip
    return {
        "unlabelled": [*places.sets(*SETS), *out("unlabelled"), *results],
        "handmade": [*places.sets(*SETS), "--model", GENERAL, "--model",
                     GENERAL.replace(".onnx", "_int8.onnx"), *out("handmade"),
                     *results],
        "transmission": [*places.sets(*SETS), "--model", GENERAL, *out("handmade"),
                         *results],
        "clips": ["--data", str(places.data / "ie_tower"), *out("clips"), *results],
        "cifar10": [*cifar, *out("cifar10")],
        "cifar10-unlabelled": [*cifar, *out("cifar10"), *results],
        "alexnet": [*places.sets("grocery", "ie_tower"), *weights, "--more",
                    str(places.cifar10 / "train"), *out("alexnet")],
        "table3": [*places.sets("grocery", "ie_tower"), *weights, *alexnet, *out("table3"),
                   *results],
        "low-rank-pruned": ["--data", str(places.data / "grocery"), *alexnet,
                            *out("low-rank-pruned"), *results],
        "quantized-cnn": ["--data", str(places.data / "grocery"), *alexnet,
                          *out("quantized-cnn"), *results],
    }  # fmt: skip
