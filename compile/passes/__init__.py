"""TVM passes of our own over the lowered loops."""
