"""Register the hashing methods, one file each, under the names that `--method` takes.

Methods that are trained need torch. It is imported when such a method is looked up, so the names
and the methods in closed form are available without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from edge_runtime.errors import ExtraMissingError
from training.methods.itq import fit_itq
from training.methods.linear_map import LabelledMethod, Method
from training.methods.lsh import fit_lsh
from training.methods.whitened import fit_whitened

if TYPE_CHECKING:
    from training.methods.base import Head
    from training.methods.unlabelled.base import Unlabelled


T = TypeVar("T")


class _Trained(Mapping[str, T]):
    """Name to class; imports the module of a method when it is looked up."""

    def __init__(self, places: dict[str, str]) -> None:
        """Register `places`, name to "module.Class" in this package."""
        self._places = places

    def __getitem__(self, name: str) -> T:
        """Return the class of a method; raises ExtraMissingError if torch is not installed."""
        module, _, member = self._places[name].rpartition(".")
        try:
            head: T = getattr(import_module(f"training.methods.{module}"), member)
        except ImportError as error:
            raise ExtraMissingError(
                f"the method {name} needs torch, which is not installed",
                remedy="make setup-train installs it in .venv-train",
            ) from error
        return head

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


# Methods trained by gradient descent on labels, end to end or on frozen features.
SUPERVISED: Mapping[str, type[Head]] = _Trained(
    {
        "paper": "paper.Paper",
        "ssdh": "ssdh.SSDH",
        "dlbh": "dlbh.DLBH",
        "orthohash": "orthohash.OrthoHash",
        "csq": "csq.CSQ",
        "joint": "joint.Joint",
        "contrastive": "contrastive.Contrastive",
        "relational": "relational.Relational",
        "neighbors": "neighbors.Neighbors",
        "teacher": "distilled.Teacher",
        "distilled": "distilled.Distilled",
        "cnnh": "survey.cnnh.CNNH",
        "dnnh": "survey.dnnh.DNNH",
        "dsrh": "survey.dsrh.DSRH",
        "dsch": "survey.drsch.DSCH",
        "drsch": "survey.drsch.DRSCH",
        "bdnn": "survey.bdnn.BDNN",
        "dpsh": "survey.dpsh.DPSH",
        "dhn": "survey.dhn.DHN",
        "hashnet": "survey.hashnet.HashNet",
        "greedyhash": "survey.greedyhash.GreedyHash",
    }
)
# Supervised methods of the survey's tables (training/methods/survey).
SURVEY = (
    "cnnh", "dnnh", "dsrh", "dsch", "drsch", "bdnn", "dpsh", "dhn", "hashnet", "greedyhash",
)  # fmt: skip
# Supervised methods for end-to-end training only. On fixed features they equal OrthoHash.
END_TO_END_ONLY = ("joint", "teacher", "distilled")
# Methods without labels or gradient training. Each fits a linear map to features.
UNSUPERVISED: dict[str, Method] = {"lsh": fit_lsh, "itq": fit_itq}
# Methods trained by gradient descent without labels.
UNLABELLED: Mapping[str, type[Unlabelled]] = _Trained(
    {
        "dh": "unlabelled.dh.DH",
        "deepbit": "unlabelled.deepbit.DeepBit",
        "uh-bdnn": "unlabelled.bdnn.UHBDNN",
        "cibhash": "unlabelled.cibhash.CIBHash",
    }
)
# Methods in closed form, for the layer of a general model.
CLOSED_FORM: dict[str, LabelledMethod] = {
    "lsh": lambda features, labels, bits, seed: fit_lsh(features, bits, seed),
    "itq": lambda features, labels, bits, seed: fit_itq(features, bits, seed),
    "itq-half": lambda features, labels, bits, seed: fit_itq(features, bits, seed, whiten=0.5),
    "whitened": fit_whitened,
}

__all__ = [
    "CLOSED_FORM",
    "END_TO_END_ONLY",
    "SUPERVISED",
    "SURVEY",
    "UNLABELLED",
    "UNSUPERVISED",
    "Method",
]
