"""Run the demo: python -m demo [--out FOLDER] [--model FILE]."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import click

from demo.clip import write_clip
from demo.html_report import NOTE, write_overview, write_page
from demo.scenes import write_enrollment_photos
from demo.score import SceneObserver, SceneScore
from edge_runtime.camera import parse_source
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.cli.summary import summary_table
from edge_runtime.daemon import Daemon, Summary
from edge_runtime.engine import open_engine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.errors import EXIT_CHECK_FAILED, EdgeRuntimeError
from edge_runtime.gallery import Gallery
from edge_runtime.image.change_gate import ChangeGate
from edge_runtime.labeled_files import labeled_files
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.report.budget import judge
from edge_runtime.report.schema import Verdict
from edge_runtime.sinks import TextSink

TARGET = 0.9
"""Share of scenes that must be recognized correctly."""


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/demo"))
@click.option("--model", type=click.Path(path_type=Path))
@click.option(
    "--views/--no-views", default=True, help="Enroll several views of each photo, as enroll does."
)
def main(out: Path, model: Path | None, views: bool) -> None:
    """Enroll photographs, film them, watch the video, check the answers and write a page."""
    try:
        sys.exit(demonstrate(out, model, views))
    except EdgeRuntimeError as error:
        click.echo(f"demo: {error}", err=True)
        sys.exit(error.exit_code)


def demonstrate(out: Path, model: Path | None, views: bool) -> int:
    """Run the demo and return its exit code: 0 if the target and the budgets were met, else 9."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    engine = open_engine(model)
    click.echo("1. enroll three photos of each of these places and things")
    write_enrollment_photos(out / "photos")
    with Gallery(out / "gallery.sqlite", engine.model, create=True) as gallery:
        outcome = enroll_photos(
            engine, gallery, labeled_files(out / "photos").photos, EnrollOptions(views)
        )
        click.echo(f"   {outcome.pictures_added} photos of {', '.join(gallery.labels())}")
        click.echo(
            "2. film them with a simulated hand-held camera, with some scenes never enrolled"
        )
        segments = write_clip(out / "clip.mp4")
        click.echo(f"   {out / 'clip.mp4'}: {len(segments)} scenes")
        click.echo("3. let the daemon watch the film")
        observer = SceneObserver(segments)
        with CameraSupervisor(parse_source(str(out / "clip.mp4"))) as camera:
            pipeline = Pipeline(engine, gallery, gate=ChangeGate())
            daemon = Daemon(camera, pipeline, [TextSink(sys.stdout)], observers=[observer])
            daemon.run()
            summary = daemon.summary()
        scores = observer.scores()
        matches = [score.nearest.id for score in scores if score.nearest]
        sources = gallery.sources(matches)
    figures = {
        "query_p99_ms": summary.stages["query"]["p99_ms"],
        "model_mb": engine.model.size_bytes / 1e6,
    }
    checks = judge(figures.get, {}, "")
    write_page(out / "index.html", scores, sources, summary, checks, engine)
    write_overview(out / "overview.jpg", scores, sources)
    return _report(out, scores, summary, checks)


def _report(out: Path, scores: list[SceneScore], summary: Summary, checks: list[Verdict]) -> int:
    correct = sum(score.correct for score in scores)
    share = sum(score.share for score in scores) / len(scores)
    click.echo("4. compare the answers with the scenes")
    for score in scores:
        expected, answer = score.segment.label or "unknown", score.answer or "unknown"
        click.echo(
            f"   {'correct' if score.correct else 'WRONG':<7}  {expected:<12} -> {answer:<12} "
            f"reported for {score.share:.0%} of its frames"
        )
    click.echo(summary_table(summary))
    for check in checks:
        click.echo(
            f"{check.name}: {check.value:.2f} of {check.budget:g}, {check.word(True)} "
            f"({check.source})"
        )
    reached = correct >= TARGET * len(scores) and all(check.met for check in checks)
    click.echo(
        f"{correct} of {len(scores)} scenes recognized correctly, "
        f"{share:.1%} of all counted frames; "
        f"see {out / 'index.html'}\n{NOTE}"
    )
    result = {
        "scenes": len(scores),
        "scenes_right": correct,
        "frames_right_share": share,
        "reached": reached,
        "summary": asdict(summary),
    }
    (out / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
    return 0 if reached else EXIT_CHECK_FAILED


if __name__ == "__main__":
    main()
