"""The device tests' command.

    python -m device_tests --target rpi4 [--host pi@board | --host here] [--small] [--keep]
                           [--out DIR] [PYTEST OPTION...]

Without --host the device is emulated; with `--host here` it is this machine, over an ssh server
that is started for it. Exit codes: docs/ERRORS.md; 9: a test failed, 12: the board.
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
"""In the order in which they make sense."""


@click.command(help=__doc__, context_settings={"ignore_unknown_options": True})
@click.option("--target", "names", default="rpi4", help="A device; emulated ones may be several.")
@click.option("--host", default="", help="user@board, as ssh knows it, or: here.")
@click.option("--small", is_flag=True, help="A small network, compiled for the test.")
@click.option("--keep", is_flag=True, help="Leave the packages on the board for the next run.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for reports and results.")
@click.argument("options", nargs=-1)
def main(names: str, **settings: Any) -> None:
    """Command: see the module."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl-C does
    try:
        sys.exit(max(_run(name, **settings) for name in _targets(names, settings["host"])))
    except EdgeRuntimeError as error:
        click.echo(f"device-test: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("device-test: interrupted; what was on the board is removed", err=True)
        sys.exit(EXIT_INTERRUPTED)


def _targets(names: str, host: str) -> list[str]:
    targets = names.split(",")
    if host and len(targets) > 1:
        raise InputError("one board is one target", where=names, remedy="TARGET=rpi4")
    return targets


def _run(
    name: str, host: str, small: bool, keep: bool, out: Path | None, options: tuple[str, ...]
) -> int:
    target = read_target(name)
    if target.is_host and not host:
        raise InputError(
            "this machine is not emulated", where=name, remedy="HOST=here, or name a board"
        )
    with ExitStack() as stack:
        device = stack.enter_context(_device(target, host, keep, stack))
        check_fits(target, device)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-bundle-")))
        bundle = make_bundle(target, scratch, small=small, tell=_tell)
        _tell(f"installing on {device.name}")
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
            _tell(f"results: {results.write()}")
        if results.lost:
            raise results.lost
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
    """Raises `BoardUnfitError` if code for `target` cannot run there."""
    there = device.about
    wanted = target.triple.split("-")[0]
    if there.machine != wanted:
        raise BoardUnfitError(
            f"it is a {there.machine} machine, {target.name} is {wanted}",
            where=device.name,
            remedy="name the board that it is with TARGET=; 32-bit systems are not supported",
        )
    if missing := sorted(set(target.features) - set(there.features)):
        raise BoardUnfitError(
            f"its CPU ({there.model}) lacks {', '.join(missing)}, which {target.name} has",
            where=device.name,
            remedy="name the board that it is with TARGET=",
        )


def _tell(text: str) -> None:
    click.echo(f"device-test: {text}", err=True)


if __name__ == "__main__":
    main()
