"""Latency estimates for boards: counts on an emulated CPU, and a calibrated model."""
