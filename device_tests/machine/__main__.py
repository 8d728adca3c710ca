"""What a user does with a board, done with a whole emulated one.

    python -m device_tests.machine [--log FILE] [--report FILE] [--resume STEP] [--skip STEP]...

Debian for arm64 with systemd and sshd boots on QEMU's `virt` board (Cortex-A72), whose kernel has a
virtual V4L2 camera. The service is deployed onto the bare system, looked at, and deprived of its
camera and of its time; a profile follows. Times are emulated and mean nothing.
Exit code 9: it did not pass.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click

from compile.target.description import read_target
from device_tests.bundles import make_bundle
from device_tests.devices.base import ROOT
from device_tests.machine import steps
from device_tests.machine.image import make_image
from device_tests.machine.qemu import CORES, CPU, Machine
from edge_runtime.errors import EXIT_CHECK_FAILED, EdgeRuntimeError

STEPS = click.Choice([step.__name__ for step in steps.ALL])


class Log:
    """Lines for people, on stderr and in a file."""

    def __init__(self, path: Path, *, append: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a" if append else "w", encoding="utf-8")
        self._began_s = time.monotonic()

    def __call__(self, text: str) -> None:
        """One line or several, with the seconds since the start."""
        for line in text.splitlines():
            stamped = f"[{time.monotonic() - self._began_s:7.1f}] {line.rstrip()}"
            click.echo(stamped, err=True)
            self._file.write(stamped + "\n")
            self._file.flush()


@click.command(help=__doc__)
@click.option("--log", type=click.Path(path_type=Path), default=Path("build/machine/steps.log"))
@click.option("--report", type=click.Path(path_type=Path), help="Where the profile goes.")
@click.option("--resume", type=STEPS, help="Go on there, with the disk and log of the last run.")
@click.option("--skip", type=STEPS, multiple=True, help="A step that is left out.")
def main(log: Path, report: Path | None, resume: str | None, skip: tuple[str, ...]) -> None:
    """Command: see the module."""
    say = Log(log, append=bool(resume))
    todo = [step for step in steps.ALL if step.__name__ not in skip]
    if resume:
        names = [step.__name__ for step in todo]
        todo = [steps.boot, *todo[max(1, names.index(resume)) :]]
    target = read_target("rpi4")
    try:
        with tempfile.TemporaryDirectory(prefix="edge-machine-") as name:
            bundle = make_bundle(target, Path(name), small=False, tell=say)
            image = make_image(ROOT / "build" / "board")
            say(f"booting {CPU} x {CORES}")
            place = ROOT / "build" / "machine" / "run"
            with Machine(image, place, fresh=not resume) as machine:
                scene = steps.Scene(machine, bundle, Path(name), report, say)
                for step in todo:
                    say(f"-- {step.__name__.replace('_', ' ')}")
                    step(scene)
                say("PASS" if machine.shutdown() else "FAIL: it did not power off")
    except EdgeRuntimeError as error:
        say(f"FAIL: {error}")
        sys.exit(EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
