"""The benchmark of `edge-runtime hash`: python -m profiles.bench.batch."""
