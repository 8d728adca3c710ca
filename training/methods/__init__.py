"""The hashing methods, one file each, by the name that `--method` takes."""

from __future__ import annotations

from training.methods.base import Head, Method
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

# Methods that learn from labels, by gradient: usable end to end or on frozen features.
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
# Those of them that are for the whole network: on fixed features they are OrthoHash.
END_TO_END_ONLY = ("joint", "teacher", "distilled")
# Methods that need no labels and no training: fitted to features in closed form.
UNSUPERVISED = {"lsh": fit_lsh, "itq": fit_itq}

__all__ = ["END_TO_END_ONLY", "SUPERVISED", "UNSUPERVISED", "Head", "Method"]
