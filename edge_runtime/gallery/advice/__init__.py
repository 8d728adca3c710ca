"""Advice on a gallery: what to photograph next, and what is probably wrong in it."""
