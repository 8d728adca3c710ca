"""Estimates of boards that are not here: counts on an emulated CPU, and a calibrated model."""
