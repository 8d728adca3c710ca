from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from training import ablate, accuracy, bars, layers, studies
from training.methods.contrastive import SCALE, contrast
from training.methods.joint import SMOOTHING
from training.methods.neighbours import SHARPNESS, Neighbours
from training.methods.relational import Relational, relate
from training.network import Backbone
from training.tests.conftest import draw_photos


def test_contrast_is_the_sources_sum() -> None:
    rng = np.random.default_rng(3)
    codes, targets = rng.normal(size=(7, 5)), np.array([0, 0, 1, 1, 1, 2, 0])
    unit = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    terms = []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        total = sum(np.exp(SCALE * unit[i] @ unit[j]) for j in others)
        same = [j for j in others if targets[j] == targets[i]]
        if same:  # photo 5 is alone
            logs = [np.log(np.exp(SCALE * unit[i] @ unit[j]) / total) for j in same]
            terms.append(-np.mean(logs))
    found = contrast(torch.from_numpy(codes), torch.from_numpy(targets))
    assert float(found) == pytest.approx(np.mean(terms))


def test_contrast_of_strangers_is_nothing() -> None:
    codes = torch.ones(3, 4, requires_grad=True)
    loss = contrast(codes, torch.arange(3))
    loss.backward()
    assert float(loss.detach()) == 0 and codes.grad is not None and not codes.grad.isnan().any()


def test_relations_are_those_of_the_teacher() -> None:
    rng = np.random.default_rng(4)
    codes, taught = (torch.from_numpy(rng.normal(size=(6, n))) for n in (5, 3))
    rows = []
    for values in (taught, codes):
        unit = values / values.norm(dim=1, keepdim=True)
        near = torch.exp(SCALE * unit @ unit.T) * (1 - torch.eye(6))
        rows.append(near / near.sum(1, keepdim=True))
    wanted, found = (row[~torch.eye(6, dtype=torch.bool)] for row in rows)
    assert float(relate(codes, taught)) == pytest.approx(float(-(wanted * found.log()).sum() / 6))
    least = float(-(wanted * wanted.log()).sum() / 6)
    assert float(relate(taught, taught)) == pytest.approx(least)


def test_neighbours_are_those_of_the_features_whatever_the_labels() -> None:
    torch.manual_seed(5)
    head, features = Neighbours(12, 8, 4), torch.randn(16, 12)
    one, other = (head(features, targets) for targets in (torch.zeros(16), torch.arange(16)))
    codes = torch.tanh(head.hash(features) / 2)
    assert one == other == relate(codes, features, SHARPNESS)
    one.backward()
    assert head.hash.weight.grad is not None


def test_relations_teach_the_codes_and_not_the_teacher() -> None:
    head = Relational(12, 8, 4)
    features, targets = torch.randn(16, 12), torch.arange(16) % 4
    plain = torch.nn.functional.cross_entropy(
        head.teacher(features), targets, label_smoothing=SMOOTHING
    )
    expected = torch.autograd.grad(plain, head.teacher.weight)[0]
    head(features, targets).backward()
    assert head.teacher.weight.grad is not None and head.hash.weight.grad is not None
    torch.testing.assert_close(head.teacher.weight.grad, expected)


def split_set(folder: Path) -> Path:
    draw_photos(folder)
    rows = [f"label{i}/{j:03}.png,label{i},{'test' if j == 5 else 'train'}"
            for i in range(3) for j in range(6)]  # fmt: skip
    (folder / "manifest.csv").write_text("\n".join(["path,label,split", *rows]))
    return folder


def test_layers_fill_one_file_for_several_backbones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_set(tmp_path / "set")
    monkeypatch.setattr(layers, "load_start", lambda weights, checkpoint: Backbone(0.25).eval())
    shown = "--data set --weights none --size 32 --bits 16 --seeds 2 --passes 1 --out out.json"
    for name in ("one", "other", "one"):
        options = [*shown.split(), "--methods", "paper", "--name", name]
        done = CliRunner().invoke(layers.main, options)
        assert done.exit_code == 0, done.output
    assert "seed" not in done.output  # nothing is fitted twice
    result = json.loads((tmp_path / "out.json").read_text())
    row = result["rows"]["one, paper, 16 bits, 1 views"]
    assert set(result["float"]) == {"one", "other"} and set(row["binary"]) == {"1", "2"}
    for figures in (*row["binary"].values(), *row["real"].values(), *result["float"].values()):
        assert 0 < figures["set/official"] <= 100


def test_ablation_goes_on_and_names_what_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_set(tmp_path / "set")
    monkeypatch.setattr(ablate, "load_imagenet", lambda path: Backbone(0.25))
    monkeypatch.setattr(ablate, "BASE", replace(ablate.BASE, batch=8, frozen=0))
    shown = "--data set --weights none --stages 32x1 --size 32 --out out.json"
    for only in ("base", "base,contrastive16"):
        done = CliRunner().invoke(ablate.main, [*shown.split(), "--only", only])
        assert done.exit_code == 0, done.output
    assert "base:" not in done.output
    result = json.loads((tmp_path / "out.json").read_text())
    assert list(result["rows"]) == ["base", "contrastive16"]
    assert result["rows"]["contrastive16"]["bits"] == 16
    assert 0 < result["rows"]["base"]["own"] <= 100
    done = CliRunner().invoke(ablate.main, [*shown.split(), "--only", "more"])
    assert done.exit_code == 3 and "no variant more" in done.output


def test_short_codes_are_held_against_their_bars() -> None:
    def row(bits: int, grocery: float) -> dict[str, object]:
        figures = dict.fromkeys(studies.JUDGED, grocery)
        return {"backbone": "shipped", "method": "paper", "bits": bits, "passes": 0,
                "binary": {"1": figures, "2": figures}, "real": {"1": figures}}  # fmt: skip

    rows = [row(16, 80.0), row(32, 85.0), row(64, 86.0)]
    rows += [{**each, "method": "contrastive"} for each in rows]
    plain = {"shipped": dict.fromkeys(studies.JUDGED, 87.0)}
    text = "\n".join(studies.code_lengths({"rows": dict(enumerate(rows)), "float": plain}))
    assert "paper at 16 bits loses 6.00 (missed" in text
    assert "contrastive at 32 bits loses 1.00 (met" in text


@pytest.mark.parametrize("wrong", [["--methods", "papper"], ["--bits", "many"]])
def test_method_or_length_that_is_none_ends_in_one_line(wrong: list[str]) -> None:
    shown = ["--data", "set", "--weights", "none", "--name", "one", "--out", "out.json", *wrong]
    done = CliRunner().invoke(layers.main, shown)
    assert done.exit_code == 3 and done.output.count("\n") == 1 and wrong[1] in done.output


def test_order_of_the_papers_is_judged_from_the_figures() -> None:
    def row(own: float, bits: int) -> dict[str, object]:
        return {"what": "a method", "bits": bits, "own": own, "refitted": 1.0, "float": 2.0}

    rows = {"base": row(4, 64), "paper": row(3, 64), "ssdh": row(2, 64), "dlbh": row(1, 64)}
    rows |= {"paper16": row(3, 16), "ssdh16": row(1, 16), "dlbh16": row(2, 16)}
    shown = {"set": "s", "photos": 9, "stages": "32x1", "size": 32, "rows": rows}
    text = "\n".join(studies.equal_budget(shown))
    assert "at 16 bits it does not hold (paper 3.0, ssdh 1.0, dlbh 2.0)" in text
    assert "at 64 bits it holds" in text
    del rows["paper"], rows["paper16"]
    assert "was not judged" in studies.equal_budget(shown)[-1]


def test_bars_are_judged_from_the_figures() -> None:
    names = ("shipped", "shipped_int8", "layers", "methods_unseen", "methods_frozen", "ablation")
    results = [accuracy.load(name) for name in names]
    plain = results[0]["sets"]["grocery"]["protocols"]["official"]
    for figure, verdict in ((89.0, "reached"), (88.9, "missed")):
        plain["map100"] = figure
        table = bars.against_the_bars(*results)[-1]
        assert f"| grocery, official, MAP@100 | at least 89 | {figure} | {verdict} |" in table
    plain["map100"] = 95.0  # so that each disturbance costs more, and int8
    table = bars.against_the_bars(*results)[-1]
    assert "at most 6 lost | 12.4 | missed | the worst: occlusion" in table
    assert "at most 0.5 lost | 8.3 | missed | the worse set: grocery" in table
