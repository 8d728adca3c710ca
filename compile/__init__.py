"""The compiler: turns an ONNX hash network into a tuned, verified bundle for one kind of CPU."""

import edge_runtime  # noqa: F401  (configures OpenCV and ONNX Runtime before they are imported)
