"""Fuzz the readers in turn, or read one input again: `python -m tests.fuzz --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz import harness
from tests.fuzz.readers import READERS
from tests.support.processes import ROOT


def main() -> int:
    """Return 1 if a reader failed; its input is stored in build/fuzz/."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("reader", nargs="*", choices=[*READERS, []], help="default: all")
    parser.add_argument("--seconds", type=float, default=60, help="for all readers together")
    parser.add_argument("--seed", type=int, default=0, help="another seed tries other inputs")
    parser.add_argument("--replay", type=Path, help="read this input once")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.reader or list(READERS)
    if options.child:
        reader = READERS[names[0]]()
        return harness.read_all(reader, options.child, options.seconds, options.seed)
    if options.replay:
        ended, fault = harness.read_one(READERS[names[0]](), options.replay.read_bytes())
        sys.stdout.write(f"{fault or ended}\n")
        return bool(fault)
    failed = False
    for name in names:
        seconds = options.seconds / len(names)
        outcome = harness.run(name, seconds, ROOT / "build" / "fuzz", seed=options.seed)
        sys.stdout.write(f"{name}: {outcome.inputs} inputs, {outcome.failure or 'no failure'}\n")
        if outcome.saved:
            sys.stdout.write(f"  python -m tests.fuzz {name} --replay {outcome.saved}\n")
        failed |= bool(outcome.failure)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
