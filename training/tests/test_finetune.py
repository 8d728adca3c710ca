"""`python -m training finetune` when the new model is better: what it writes and reports."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edge_runtime.engine.portable import PortableEngine
from training.commands import finetune
from training.hash_layer.backbone import read_head, replace_head
from training.hash_layer.radius import measure_radius
from training.tests.conftest import ROOT, draw_photos

MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"


@pytest.fixture
def poor(tmp_path: Path) -> Path:
    """A copy of the shipped network whose layer gives every photo the same code."""
    model, info = onnx.load(MODEL), PortableEngine(MODEL).model
    weight, bias = read_head(model)
    path = tmp_path / "poor.onnx"
    onnx.save(replace_head(model, (np.zeros_like(weight), np.ones_like(bias)), info), path)
    return path


def _finetune(poor: Path) -> dict[str, Any]:
    options = f"--data set --model {poor} --passes 0 --out own"
    done = CliRunner().invoke(finetune.main, options.split())
    assert done.exit_code == 0, done.output
    report: dict[str, Any] = json.loads(done.output.splitlines()[-1])
    assert report["kept"] == "new"
    stored = Path(report["split_file"]).read_bytes()
    assert hashlib.sha256(stored).hexdigest() == report["split_sha256"]
    parts = [line.split(",")[1] for line in stored.decode().splitlines()[1:]]
    assert parts.count("query") == report["queries"]
    return report


@pytest.mark.parametrize(
    ("labels", "measured", "basis"),
    [(6, 2, "2 labels that a second layer was fitted without"),
     (3, 3, "all 3 labels, including those the layer was fitted to")],
)  # fmt: skip
def test_radius_is_measured_on_unseen_labels_where_possible(
    poor: Path, monkeypatch: pytest.MonkeyPatch, labels: int, measured: int, basis: str
) -> None:
    draw_photos(Path("set"), labels=labels, each=8)
    used: list[Any] = []

    def watched(*inputs: Any) -> Any:
        used.append(inputs)
        return measure_radius(*inputs)

    monkeypatch.setattr(finetune, "measure_radius", watched)
    report = _finetune(poor)
    ((_, _, on, head),) = used
    assert len(on) == measured and report["radius_of"].startswith(basis)
    own = read_head(onnx.load("own/mobilenet_v1_hash64.onnx"))
    assert np.array_equal(head[0], own[0]) == (labels == measured)
    assert PortableEngine(Path("own/mobilenet_v1_hash64.onnx")).model.radius == report["radius"]
