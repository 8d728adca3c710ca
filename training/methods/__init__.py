"""Register the hashing methods, one file each, under the names that `--method` takes."""

from __future__ import annotations

from training.methods.base import Head, LabelledMethod, Method
from training.methods.contrastive import Contrastive
from training.methods.csq import CSQ
from training.methods.distilled import Distilled, Teacher
from training.methods.dlbh import DLBH
from training.methods.itq import fit_itq
from training.methods.joint import Joint
from training.methods.lsh import fit_lsh
from training.methods.neighbors import Neighbors
from training.methods.orthohash import OrthoHash
from training.methods.paper import Paper
from training.methods.relational import Relational
from training.methods.ssdh import SSDH
from training.methods.whitened import fit_whitened

# Methods trained by gradient descent on labels, end to end or on frozen features.
SUPERVISED: dict[str, type[Head]] = {
    "paper": Paper,
    "ssdh": SSDH,
    "dlbh": DLBH,
    "orthohash": OrthoHash,
    "csq": CSQ,
    "joint": Joint,
    "contrastive": Contrastive,
    "relational": Relational,
    "neighbours": Neighbors,
    "teacher": Teacher,
    "distilled": Distilled,
}
# Supervised methods for end-to-end training only. On fixed features they equal OrthoHash.
END_TO_END_ONLY = ("joint", "teacher", "distilled")
# Methods without labels or gradient training. Each fits a linear map to features.
UNSUPERVISED: dict[str, Method] = {"lsh": fit_lsh, "itq": fit_itq}
# Methods in closed form, for the layer of a general model.
CLOSED_FORM: dict[str, LabelledMethod] = {
    "lsh": lambda features, labels, bits, seed: fit_lsh(features, bits, seed),
    "itq": lambda features, labels, bits, seed: fit_itq(features, bits, seed),
    "itq-half": lambda features, labels, bits, seed: fit_itq(features, bits, seed, whiten=0.5),
    "whitened": fit_whitened,
}

__all__ = ["CLOSED_FORM", "END_TO_END_ONLY", "SUPERVISED", "UNSUPERVISED", "Head", "Method"]
