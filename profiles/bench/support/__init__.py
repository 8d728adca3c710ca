"""What the benchmarks share: harness, interleaved timing, result files."""
