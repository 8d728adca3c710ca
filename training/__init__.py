"""Train, evaluate and export hash networks on a workstation with torch."""

import edge_runtime  # noqa: F401  (first, because it configures OpenCV and ONNX Runtime)
