"""ONNX files without the onnx package: their structure, their weights, and what is wrong with them.

`wire` reads the encoding (protobuf), `structure` finds the tensors and joins weights that lie in
other files, `checks` refuses files that cannot give a usable code.
"""
