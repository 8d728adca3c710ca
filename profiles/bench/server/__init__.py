"""The benchmark of `edge-runtime serve`."""
