"""Verification: a bundle is promoted only with evidence that it is equal and faster."""
