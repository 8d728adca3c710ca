"""Benchmarks beside the best peers: all contenders in one run, reported as medians and ratios."""
