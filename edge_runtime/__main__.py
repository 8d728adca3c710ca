"""Run the `edge-runtime` command with `python -m edge_runtime`."""

from edge_runtime.cli import main

main()
