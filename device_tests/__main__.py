"""Run the device tests.

    python -m device_tests --target rpi4 [--host pi@board | --host here] [--small] [--keep]
                           [--out DIR] [PYTEST OPTION...]

Without --host the device is emulated. With `--host here` it is this machine, reached through an
ssh server that is started for the run. Exit codes: 9 if a test failed, 12 if the board cannot be
used, otherwise those of docs/ERRORS.md.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("TVM_FFI_DISABLE_TORCH_C_DLPACK", "1")

import click
import pytest

from compile.target.description import Target, read_target
from device_tests.bundles import make_bundle
from device_tests.devices.base import ROOT, Device
from device_tests.devices.board import SshDevice
from device_tests.devices.emulated import EmulatedDevice
from device_tests.devices.sshd import Sshd
from device_tests.results import Results
from edge_runtime.errors import (
    EXIT_CHECK_FAILED,
    EXIT_INTERRUPTED,
    BoardUnfitError,
    EdgeRuntimeError,
    InputError,
)

HERE = "here"
SUITES = ("install", "parity", "bundle", "gallery", "daemon", "profile", "estimate")
"""In the order in which they run."""


@click.command(help=__doc__, context_settings={"ignore_unknown_options": True})
@click.option(
    "--target",
    "names",
    default="rpi4",
    help="A device; for emulated devices, a comma-separated list.",
)
@click.option("--host", default="", help='user@board as ssh knows it, or "here".')
@click.option("--small", is_flag=True, help="Use a small network, compiled for the test.")
@click.option(
    "--keep", is_flag=True, help="Keep the installed packages on the board for the next run."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the reports and results.")
@click.argument("options", metavar="[PYTEST OPTION]...", nargs=-1)
def main(names: str, **settings: Any) -> None:
    """Run the tests on every target."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM cleans up as Ctrl-C does
    try:
        sys.exit(max(_run(name, **settings) for name in _targets(names, settings["host"])))
    except EdgeRuntimeError as error:
        click.echo(f"device-test: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo(
            "device-test: interrupted; all files of the run were removed from the board", err=True
        )
        sys.exit(EXIT_INTERRUPTED)


def _targets(names: str, host: str) -> list[str]:
    targets = names.split(",")
    if host and len(targets) > 1:
        raise InputError(
            "--host takes a single target", where=names, remedy="for example TARGET=rpi4"
        )
    return targets


def _run(
    name: str, host: str, small: bool, keep: bool, out: Path | None, options: tuple[str, ...]
) -> int:
    target = read_target(name)
    if target.is_host and not host:
        raise InputError(
            "this machine is not emulated", where=name, remedy="set HOST=here, or name a board"
        )
    with ExitStack() as stack:
        device = stack.enter_context(_device(target, host, keep, stack))
        check_fits(target, device)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-bundle-")))
        bundle = make_bundle(target, scratch, small=small, log=_log)
        _log(f"installing on {device.name}")
        device.install()
        home = ROOT / ("build/device-test" if small else "profiles/reports") / name
        results = Results(out or home, target, device, bundle)
        try:
            code = pytest.main(
                [
                    *("-p", "no:cacheprovider"),
                    *(str(ROOT / "device_tests" / f"test_{suite}.py") for suite in SUITES),
                    f"--junitxml={results.path('junit', 'xml')}",
                    *options,
                ],
                plugins=[results],
            )
        finally:
            _log(f"results: {results.write()}")
        if results.board_error:
            raise results.board_error
        if code == pytest.ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
    return EXIT_CHECK_FAILED if code else 0


def _device(target: Target, host: str, keep: bool, stack: ExitStack) -> Device:
    if not host:
        return EmulatedDevice(target)
    if host != HERE:
        return SshDevice(host, keep=keep)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-sshd-"))
    server = stack.enter_context(Sshd(Path(folder)))
    os.environ["SSH"] = server.ssh
    return SshDevice(server.host, keep=keep)


def check_fits(target: Target, device: Device) -> None:
    """Raise `BoardUnfitError` if code for `target` cannot run on the device."""
    info = device.info
    wanted = target.triple.split("-")[0]
    if info.machine != wanted:
        raise BoardUnfitError(
            f"its architecture is {info.machine}, {target.name} needs {wanted}",
            where=device.name,
            remedy="set TARGET to the board's type; 32-bit systems are not supported",
        )
    if missing := sorted(set(target.features) - set(info.features)):
        raise BoardUnfitError(
            f"its CPU ({info.model}) lacks {', '.join(missing)}, which {target.name} has",
            where=device.name,
            remedy="set TARGET to the board's type",
        )


def _log(text: str) -> None:
    click.echo(f"device-test: {text}", err=True)


if __name__ == "__main__":
    main()
