"""Do with a complete emulated board what a user does with a real one.

    python -m device_tests.machine [--log FILE] [--report FILE] [--resume STEP] [--skip STEP]...

Debian for arm64 with systemd and sshd boots on QEMU's `virt` board (Cortex-A72), whose kernel has a
virtual V4L2 camera. The steps deploy the service onto the bare system, inspect it, unplug its
camera, stop its process, and take a profile. Times are emulated and mean nothing.
Exit code 9: a step failed.
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
    """Writes human-readable lines to stderr and to a file."""

    def __init__(self, path: Path, *, append: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a" if append else "w", encoding="utf-8")
        self._began_s = time.monotonic()

    def __call__(self, text: str) -> None:
        """Write one or more lines, each with the seconds since the start."""
        for line in text.splitlines():
            stamped = f"[{time.monotonic() - self._began_s:7.1f}] {line.rstrip()}"
            click.echo(stamped, err=True)
            self._file.write(stamped + "\n")
            self._file.flush()


@click.command(help=__doc__)
@click.option(
    "--log", "log_path", type=click.Path(path_type=Path), default=Path("build/machine/steps.log")
)
@click.option("--report", type=click.Path(path_type=Path), help="File for the profile.")
@click.option(
    "--resume", type=STEPS, help="Continue at this step with the disk and log of the last run."
)
@click.option("--skip", type=STEPS, multiple=True, help="Leave out this step.")
def main(log_path: Path, report: Path | None, resume: str | None, skip: tuple[str, ...]) -> None:
    """Run the steps and write PASS or FAIL to the log."""
    log = Log(log_path, append=bool(resume))
    todo = [step for step in steps.ALL if step.__name__ not in skip]
    if resume:
        names = [step.__name__ for step in todo]
        todo = [steps.boot, *todo[max(1, names.index(resume)) :]]
    target = read_target("rpi4")
    try:
        with tempfile.TemporaryDirectory(prefix="edge-machine-") as name:
            bundle = make_bundle(target, Path(name), small=False, log=log)
            image = make_image(ROOT / "build" / "board")
            log(f"booting {CPU} x {CORES}")
            folder = ROOT / "build" / "machine" / "run"
            with Machine(image, folder, fresh=not resume) as machine:
                context = steps.Context(machine, bundle, Path(name), report, log)
                for step in todo:
                    log(f"-- {step.__name__.replace('_', ' ')}")
                    step(context)
                log("PASS" if machine.shutdown() else "FAIL: the board did not power off")
    except EdgeRuntimeError as error:
        log(f"FAIL: {error}")
        sys.exit(EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
