"""Benchmarks against the best alternatives: all contenders in one run.

Results are medians and ratios.
"""
