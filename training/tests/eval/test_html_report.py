"""The page says all that the JSON says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner

from training.commands import evaluate
from training.data.photo_sets import read_set
from training.data.splits import save_split
from training.tests.conftest import ROOT, draw_photos

MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"
SET = "b&w #1"


def test_page_shows_all_that_was_measured() -> None:
    draw_photos(Path(SET), labels=4)
    (Path(SET) / "label1" / "002.png").write_bytes(b"")
    (Path(SET) / "label1" / "<b>.png").write_bytes(b"")
    photos = read_set(Path(SET))
    held = [each for each in photos if each.label in ("label0", "label3")]
    save_split(Path("split.csv"), "classes", {"validation": held})
    done = CliRunner().invoke(
        evaluate.main,
        ["--model", str(MODEL), "--data", SET, "--disturbances", "--unseen", "split.csv",
         "--out", "out.json", "--page", "page"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(Path("out.json").read_text())
    entry = result["sets"][SET]
    text = Path("page/index.html").read_text()
    radius = result["radius"]
    for expected in (f"64 bits, radius {radius}", "value = pixel", result["split_sha256"][:16],
                 f"known accepted at radius {radius}", f"unknown accepted at radius {radius}",
                 "Skipped photos: 2", "label1/002.png", "&lt;b&gt;.png", "<h2>b&amp;w #1</h2>",
                 "open set unseen", "least balanced bit", "kept out of training"):  # fmt: skip
        assert expected in text, expected
    assert "<b>" not in text
    for name in ("open_set", "open_set_unseen"):
        measured = entry[name]
        assert f"<td>{measured['auroc']:.3f}</td>" in text
        assert f"<td>{100 * measured['accepted_known'][radius]:.2f}</td>" in text
    for value in entry["codes"].values():
        assert f"<td>{value:.3f}</td>" in text
    pictures = re.findall(r'<img src="([^"]+)"', text)
    assert pictures == ["b%26w%20%231.png", "b%26w%20%231-disturbed.png", "b%26w%20%231-worst.jpg"]
    for name in (f"{SET}.png", f"{SET}-disturbed.png", f"{SET}-worst.jpg"):
        picture = cv2.imread(f"page/{name}")
        assert picture is not None and np.ptp(picture) > 100
