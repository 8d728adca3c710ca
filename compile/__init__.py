"""The compiler: an ONNX hash network to a tuned, proven bundle for one kind of CPU."""
