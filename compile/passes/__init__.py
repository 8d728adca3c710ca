"""Passes over the lowered loops, beyond those of TVM."""
