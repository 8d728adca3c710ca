"""ONNX files: export, import of models made elsewhere, quantization."""
