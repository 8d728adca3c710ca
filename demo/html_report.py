"""The page that the demo writes: every scene beside its best match, and the times."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np

from demo.score import SceneScore
from edge_runtime.daemon import Summary
from edge_runtime.engine import Engine
from edge_runtime.image import Image
from edge_runtime.image.decode import read_photo
from edge_runtime.report.schema import Verdict

_PAGE = Template((Path(__file__).parent / "page.html").read_text())
_THUMB = (320, 240)
NOTE = (
    "The film simulates a hand-held camera in front of the enrolled photographs themselves (for "
    "the motorcycle, the other picture of a stereo pair), so this score is not an accuracy figure "
    "for new photos."
)


def write_page(
    path: Path,
    scores: list[SceneScore],
    sources: dict[int, str],
    summary: Summary,
    checks: list[Verdict],
    engine: Engine,
) -> None:
    """Write the self-contained HTML page `path`; `sources` maps code ids to enrolled photos."""
    correct = sum(score.correct for score in scores)
    path.write_text(
        _PAGE.substitute(
            headline=f"{correct} of {len(scores)} scenes recognized correctly",
            note=escape(NOTE),
            facts=escape(
                f"{engine.model.name} {engine.model.version} ({engine.model.bits} bits), engine "
                f"{engine.name}, {summary.frames} frames in {summary.seconds:.1f} s, peak memory "
                f"{summary.peak_rss_bytes / 1e6:.0f} MB"
            ),
            scenes="\n".join(_scene(score, sources) for score in scores),
            stages="\n".join(_stage(stage, times) for stage, times in summary.stages.items()),
            budget="\n".join(_check(check) for check in checks),
        ),
        encoding="utf-8",
    )


def write_overview(path: Path, scores: list[SceneScore], sources: dict[int, str]) -> None:
    """Write one picture for the README: some scenes above their best matches."""
    chosen = [score for score in scores if score.segment.label][:6]
    columns = [
        np.vstack([_thumb(score.example), _thumb(_match(score, sources))]) for score in chosen
    ]
    cv2.imwrite(str(path), np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 82])


def _match(score: SceneScore, sources: dict[int, str]) -> Image:
    source = sources.get(score.nearest.id) if score.nearest else None
    return read_photo(source) if source else np.zeros((240, 320, 3), np.uint8)


def _thumb(image: Image) -> Image:
    """Return a 4:3 thumbnail of the middle of a picture."""
    height, width = image.shape[:2]
    wide, tall = min(width, height * 4 // 3), min(height, width * 3 // 4)
    x, y = (width - wide) // 2, (height - tall) // 2
    image = image[y : y + tall, x : x + wide]
    return np.asarray(cv2.resize(image, _THUMB, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _picture(image: Image, text: str) -> str:
    _, data = cv2.imencode(".jpg", _thumb(image), [cv2.IMWRITE_JPEG_QUALITY, 80])
    encoded = base64.b64encode(data.tobytes()).decode()
    return f'<img src="data:image/jpeg;base64,{encoded}" alt="{escape(text)}">'


def _scene(score: SceneScore, sources: dict[int, str]) -> str:
    expected = score.segment.label or "unknown"
    answer = score.answer or "unknown"
    nearest = score.nearest
    match = f"{nearest.label}, {nearest.distance} bits away" if nearest else "nothing"
    verdict = "correct" if score.correct else f"wrong, expected {expected}"
    return (
        f'<article class="{"correct" if score.correct else "wrong"}"><div class="pair">'
        f"<figure>{_picture(score.example, f'a frame of the film: {expected}')}"
        f"<figcaption>film</figcaption></figure>"
        f"<figure>{_picture(_match(score, sources), f'the best match: {match}')}"
        f"<figcaption>best match: {escape(match)}</figcaption></figure></div>"
        f"<h2>{escape(answer)} <small>{escape(verdict)}</small></h2>"
        f"<p>reported for {score.share:.0%} of the scene's frames; "
        f"this query took {score.query_ms:.1f} ms</p></article>"
    )


def _stage(stage: str, times: dict[str, float]) -> str:
    cells = "".join(f"<td>{times[key]:.2f}</td>" for key in ("p50_ms", "p90_ms", "p99_ms"))
    return f"<tr><th scope=row>{escape(stage.replace('_', ' '))}</th>{cells}</tr>"


def _check(check: Verdict) -> str:
    return (
        f"<tr><th scope=row>{escape(check.name)}</th><td>{check.value:.2f}</td>"
        f"<td>{check.budget:g}</td><td>{check.word(True)}</td></tr>"
    )
