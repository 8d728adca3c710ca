"""Shared by the benchmarks: harness, interleaved timing, core measurements, report files."""
