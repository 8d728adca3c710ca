"""Average the weights of two networks of one architecture, with folded batch norms."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from training.onnx.model_file import ExportError


def blend(model: onnx.ModelProto, other: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """Return a copy of `model` whose convolutions are `share` of `model` and the rest of `other`.

    Both were made by training/onnx/export.py. The hash layer, if any, stays that of `model`.
    Raises ExportError when a convolution of `model` has no counterpart of the same shape.
    """
    theirs = {each.name: numpy_helper.to_array(each) for each in other.graph.initializer}
    mixed = onnx.ModelProto()
    mixed.CopyFrom(model)
    for tensor in mixed.graph.initializer:
        if not tensor.name.startswith("unit"):
            continue
        own, counterpart = numpy_helper.to_array(tensor), theirs.get(tensor.name)
        if counterpart is None or counterpart.shape != own.shape:
            raise ExportError(
                f"the two networks differ in {tensor.name}",
                remedy="blend models of one architecture and width",
            )
        average = share * own.astype(np.float64) + (1 - share) * counterpart
        tensor.CopyFrom(numpy_helper.from_array(average.astype(np.float32), tensor.name))
    return mixed
