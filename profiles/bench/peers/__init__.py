"""The inference engines that the benchmarks compare with."""
