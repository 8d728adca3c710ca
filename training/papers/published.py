"""Figures that the papers published, typed once, with their source.

A figure is here only if it was seen in the paper, in its authors' repository, or quoted in a paper
that `on` then names. The others are left out, and their rows say nothing about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """Where a system was published, and its figures."""

    source: str
    """Authors, year, venue."""
    on: str = ""
    """Data, split and backbone of the figures."""
    figures: Mapping[int, float] = field(default_factory=dict)
    """MAP in percent by code length in bits."""


_QUOTED = "CIFAR-10, 1,000 queries, as quoted in Table 3 of doi 10.1155/2017/8961091"
CIFAR10: dict[str, Published] = {
    # For 12, 32 and 48 bits, kevinlin311tw/caffe-cvprw15 quotes the same figures.
    "CNNH": Published("Xia et al. 2014, AAAI", _QUOTED, {12: 43.9, 24: 51.1, 32: 50.9, 48: 52.2}),
    "DNNH": Published("Lai et al. 2015, CVPR", _QUOTED, {12: 55.2, 24: 56.6, 32: 55.8, 48: 58.1}),
    "DSRH": Published("Zhao et al. 2015, CVPR"),
    "DSCH": Published("Zhang et al. 2015, IEEE TIP"),
    "DRSCH": Published("Zhang et al. 2015, IEEE TIP"),
    "DRSCH, truncated": Published("Zhang et al. 2015, IEEE TIP"),
    "SH-BDNN": Published("Do et al. 2016, ECCV"),
    # The authors' repository, jiangqy/DPSH-pytorch, repeats the figures of the paper.
    "DPSH": Published(
        "Li et al. 2016, IJCAI",
        "CIFAR-10, split I, VGG-F",
        {12: 71.3, 24: 72.7, 32: 74.4, 48: 75.7},
    ),
    "DHN": Published("Zhu et al. 2016, AAAI", _QUOTED, {12: 55.5, 24: 59.4, 32: 60.3, 48: 62.1}),
    "HashNet": Published("Cao et al. 2017, ICCV"),
    "GreedyHash": Published("Su et al. 2018, NeurIPS"),
    "OrthoHash": Published("Hoe et al. 2021, NeurIPS"),
    "CSQ": Published("Yuan et al. 2020, CVPR"),
    "DLBH": Published(
        "Lin et al. 2015, CVPR workshop",
        "CIFAR-10, MAP@1000, trained on 50,000 images, AlexNet (the authors' repository,"
        " kevinlin311tw/caffe-cvprw15)",
        {12: 89.30, 32: 89.72, 48: 89.73},
    ),
    "SSDH": Published(
        "Yang, Lin & Chen 2018, IEEE TPAMI",
        "CIFAR-10, 10,000 queries, 50,000 images searched and trained on, AlexNet (the authors'"
        " repository, kevinlin311tw/Caffe-DeepBinaryCode)",
        {48: 91.34},
    ),
    "the paper's layer": Published("Qi, Liu & Liu 2017"),
}

_GIST = "CIFAR-10, split I, GIST features (Table 3 of doi 10.1155/2017/8961091)"
_DEEPBIT = (
    "CIFAR-10, MAP@1000, 10,000 queries, 50,000 images searched and trained on (the authors'"
    " repository, kevinlin311tw/cvpr16-deepbit)"
)
UNLABELLED_CIFAR10: dict[str, Published] = {
    "LSH": Published("Charikar 2002, STOC", _GIST, {12: 12.1, 24: 12.6, 32: 12.0, 48: 12.0}),
    "PCA-ITQ": Published(
        "Gong & Lazebnik 2011, CVPR", _GIST, {12: 16.2, 24: 16.9, 32: 17.2, 48: 17.5}
    ),
    "DH": Published(
        "Liong et al. 2015, CVPR", f"{_DEEPBIT}; GIST features", {16: 16.17, 32: 16.62, 64: 16.96}
    ),
    "DeepBit": Published(
        "Lin et al. 2016, CVPR", f"{_DEEPBIT}; VGG-16", {16: 19.43, 32: 24.86, 64: 27.73}
    ),
    "UH-BDNN": Published("Do et al. 2016, ECCV"),
    "CIBHash": Published("Qiu et al. 2021, IJCAI"),
}
"""Methods without labels; that the figures of CIBHash are missing means they were not checked."""
AGAINST_AUTHORS = (
    "Compared with their authors' code, two methods differ in more than the budget; their modules"
    " in training/methods/unlabelled give all differences and the reasons. DeepBit's even"
    " distribution is not divided by the images of a batch, and its rotation is there from the"
    " first step on. CIBHash draws its codes in training, as described; its authors' code takes the"
    " sign. With the budget here, dividing and not drawing were clearly worse on validation images."
)
"""What the page says of the methods without labels."""
