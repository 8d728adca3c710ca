"""Tests of the inbox of unknown things."""
