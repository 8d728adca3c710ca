"""The desk as a process: `edge-runtime desk run`, which finds out soon that the broker is gone."""

from __future__ import annotations

import sys

from edge_runtime.cli import run_command
from edge_runtime.desk import line

KEEPALIVE_S = 5
"""In use it is half a minute."""


def main() -> None:
    """Run the desk in the folder that the command names, until it is killed."""
    line.KEEPALIVE_S = KEEPALIVE_S
    sys.exit(run_command(["desk", "run", "--desk", sys.argv[1], "--publish-every", "1"]))


if __name__ == "__main__":
    main()
