"""The closed-form fit of the runtime (edge_runtime.fitting), as the hash layer of an ONNX model.

`edge-runtime gallery refit` fits the same layer to a gallery. It scales features to length 1 first,
which the layer of a model does not do. The length is therefore replaced by a linear estimate of it,
which a layer can contain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.fit import fit_layer
from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.prior import FeaturePrior
from edge_runtime.fitting.quantized import unit
from training.methods.linear_map import Floats, LinearMap


def fit_refit(
    features: Floats, labels: NDArray[np.int64], bits: int, prior: FeaturePrior | None
) -> LinearMap:
    """Fit a layer of `bits` bits to features float32 [N, F] with labels int64 [N], from 0 on."""
    return without_scaling(fit_layer(features, labels, bits, prior), features)


def without_scaling(layer: HashLayer, features: Floats) -> LinearMap:
    """Return a linear map (weight [K, F], bias [K]) with almost the bits of `layer`.

    The length of a row f is estimated as a (m f) + c, with m the direction of the mean of
    `features` float32 [N, F], and a and c by least squares. W f + b |f| then is linear in f, and
    has the sign of W f / |f| + b.
    """
    direction = unit(features.mean(axis=0))
    along = features @ direction
    lengths = np.linalg.norm(features, axis=1)
    columns = np.stack([along, np.ones_like(along)], axis=1)
    slope, constant = np.linalg.lstsq(columns, lengths, rcond=None)[0]
    weight = layer.weight + slope * np.outer(layer.bias, direction)
    return weight.astype(np.float32), (constant * layer.bias).astype(np.float32)
