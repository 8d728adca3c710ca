"""`edge-runtime doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import allow_unverified_option, echo, json_option, print_json
from edge_runtime.errors import EXIT_CHECK_FAILED

if TYPE_CHECKING:
    from edge_runtime.doctor.checks import Subject

_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command("doctor")
@click.option(
    "--config",
    envvar="EDGE_RUNTIME_CONFIG",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Check what this configuration of the daemon needs, including its camera.",
)
@click.option(
    "--gallery", type=click.Path(dir_okay=False, path_type=Path), help="The gallery file."
)
@click.option("--model", help="The hash network to check.")
@allow_unverified_option
@click.option("--camera", help="Also read frames from this camera.")
@json_option
def command(
    config: Path | None,
    gallery: Path | None,
    model: str | None,
    camera: str | None,
    as_json: bool,
) -> int:
    """Check whether this machine can run edge-runtime.

    The exit code is 9 if a check fails.
    """
    from edge_runtime.doctor.checks import examine

    findings = []
    for finding in examine(_subject(config, gallery, model, camera)):
        findings.append(finding)
        if not as_json:
            echo(f"{_MARKS[finding.status]}  {finding.name:<12} {finding.detail}")
            if finding.remedy:
                echo(f"{'':<19}-> {finding.remedy}")
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        print_json({"healthy": not failed, "findings": [asdict(finding) for finding in findings]})
    return EXIT_CHECK_FAILED if failed else 0


def _subject(
    config: Path | None, gallery: Path | None, model: str | None, camera: str | None
) -> Subject:
    """Return what to check; options override the configuration."""
    from edge_runtime.doctor.checks import Subject

    if config is None:
        return Subject(gallery, model, camera)
    from edge_runtime.settings import read_settings

    settings = read_settings(config)
    named = Path(settings.gallery.path) if settings.gallery.path else None
    extras: tuple[str, ...] = ("paho.mqtt",) if settings.mqtt else ()
    if settings.http:
        extras += ("starlette", "uvicorn", "prometheus_client")
    return Subject(
        gallery or named,
        model or settings.model.path or None,
        camera or settings.camera.source,
        extras,
        "" if camera else settings.camera.password_file,
    )
