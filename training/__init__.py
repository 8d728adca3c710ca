"""Workstation room: photos -> hash network -> ONNX, and the evaluation that judges it (torch)."""
