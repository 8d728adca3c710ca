"""Workstation room: photos -> hash network -> ONNX, and the evaluation that judges it (torch)."""

import edge_runtime  # noqa: F401  (before OpenCV and ONNX Runtime, which it sets up)
