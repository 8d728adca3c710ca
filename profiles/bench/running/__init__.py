"""Benchmarks of a running daemon as its users see it: its memory, and its page."""
