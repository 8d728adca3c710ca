"""The compiler: an ONNX hash network to a tuned, proven bundle for one kind of CPU."""

import edge_runtime  # noqa: F401  (before OpenCV and ONNX Runtime, which it sets up)
