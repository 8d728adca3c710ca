"""Device descriptions and budgets, benchmarks, estimates and their reports."""

import edge_runtime  # noqa: F401  (configures OpenCV and ONNX Runtime, so it comes first)
