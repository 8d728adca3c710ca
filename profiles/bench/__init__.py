"""Benchmarks against the best peers, all in one run: medians and ratios."""
