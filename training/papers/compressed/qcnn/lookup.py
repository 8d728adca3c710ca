"""Inference by look-up tables in numpy: the reference of native/kernels.c (Wu et al. 2016, 3.1).

The inner products of each sub-vector of the input with the words of its codebook are computed once.
Each output is a sum of the products that its indices name, so no weight is ever restored.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.papers.compressed.qcnn.codebooks import Codebooks
from training.papers.compressed.qcnn.layers import Floats, Layer, windows


def respond_by_tables(layer: Layer, books: Codebooks, maps: Floats) -> Floats:
    """Return the response of a coded layer, before its activation, to maps [N, C, in, in]."""
    count, side = len(maps), layer.out_size
    groups, spaces, outputs, elements = books.indices.shape
    made = np.tile(layer.bias[:, None, None], (count, 1, side, side))
    by_group = made.reshape(count, groups, outputs, side, side)
    parts = maps.reshape(count, groups, spaces, books.sub, layer.in_size, layer.in_size)
    whole = replace(layer, inputs=books.words.shape[2])
    for group in range(groups):
        for space in range(spaces):
            part = parts[:, group, space].reshape(count, books.sub, -1)
            tables = (books.words[group, space] @ part).reshape(
                count, -1, layer.in_size, layer.in_size
            )
            seen = windows(whole, tables).reshape(count, -1, side, side, elements)
            for element in range(elements):
                chosen = books.indices[group, space, :, element]
                by_group[:, group] += seen[..., element][:, chosen]
    return made
