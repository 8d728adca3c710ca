"""The ways to make a network smaller that are judged, and their names."""

from __future__ import annotations

from dataclasses import dataclass

RANKS, PRUNED, CUT, REMOVED = (0.5, 0.25), (0.5, 0.75), (0.1,), (0.25, 0.5)
"""Shares: of the weights in two factors, of weights that are pruned, of channels that are cut, of
neurons that are removed."""
FOLDERS = {"MobileNet-v1": "mobilenet", "AlexNet-shaped": "small-alexnet"}
"""Network -> folder of the files of its variants."""


@dataclass(frozen=True)
class Variant:
    """A way to make a network smaller: `kind` with the share of what is kept or left out."""

    name: str
    source: str
    kind: str
    share: float = 0.0


WHOLE = Variant("fp32", "Howard et al. 2017; Krizhevsky et al. 2012", "whole")
VARIANTS = (
    WHOLE,
    *(
        Variant(f"low rank, {share:.0%} of the weights", "Denton et al. 2014, NIPS", "rank", share)
        for share in RANKS
    ),
    *(
        Variant(f"{share:.0%} of the weights pruned", "Han et al. 2015, NIPS", "weights", share)
        for share in PRUNED
    ),
)
"""The variants of any network, the mildest of each kind first."""
INT8 = Variant("int8", "ONNX Runtime's static quantization", "int8")
"""Made of a network that has no shipped int8 model."""
SEPARABLE = tuple(
    Variant(f"{share:.0%} of the channels cut", "Li et al. 2017, ICLR", "channels", share)
    for share in CUT
)
"""Variants of a network of separable layers only."""
CONNECTED = tuple(
    Variant(f"{share:.0%} of the neurons removed", "Srinivas & Babu 2015, BMVC", "neurons", share)
    for share in REMOVED
)
"""Variants of a network with several fully connected layers only."""


def file_of(variant: Variant) -> str:
    """Return the name of a variant's files: rank-50."""
    return f"{variant.kind}-{variant.share:.0%}".rstrip("%") if variant.share else variant.name


def system_of(network: str, variant: Variant) -> str:
    """Return the name of a variant in the table."""
    return f"{network}, {variant.name}"


def counted_names() -> dict[str, str]:
    """Return system -> "network/contender", its name in reports of instructions."""
    return {
        system_of(network, variant): f"{folder}/{file_of(variant)}"
        for network, folder in FOLDERS.items()
        for variant in (*VARIANTS, *SEPARABLE, *CONNECTED, INT8)
    }
