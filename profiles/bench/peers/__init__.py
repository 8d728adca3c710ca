"""The other engines that the benchmarks compare with."""
