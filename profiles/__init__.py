"""What boards are, how fast things are on them, and the measurements that say so."""

import edge_runtime  # noqa: F401  (before OpenCV and ONNX Runtime, which it sets up)
