"""`edge-runtime doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge_runtime.cli.common import gallery_option, json_option, print_json
from edge_runtime.errors import EXIT_VERDICT

_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command("doctor")
@gallery_option
@click.option("--model", help="The hash network to try.")
@click.option("--camera", help="Also read a picture from this camera.")
@json_option
def command(gallery: Path, model: str | None, camera: str | None, as_json: bool) -> int:
    """Is this machine able to do the job? Exit code 9: something fails."""
    from edge_runtime.doctor import examine

    findings = []
    for finding in examine(model, gallery, camera):
        findings.append(finding)
        if not as_json:
            click.echo(f"{_MARKS[finding.status]}  {finding.name:<12} {finding.detail}")
            if finding.remedy:
                click.echo(f"{'':<19}-> {finding.remedy}")
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        print_json({"healthy": not failed, "findings": [asdict(finding) for finding in findings]})
    return EXIT_VERDICT if failed else 0
