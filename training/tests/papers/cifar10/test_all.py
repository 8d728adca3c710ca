"""`python -m training papers all`: the tiny form of the tables, in less than two minutes idle."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from training.__main__ import main
from training.commands.papers import VERBS
from training.papers.plan import Places, commands
from training.papers.rows import read_tables
from training.tests.conftest import ROOT, draw_photos

REPEATED = {"all", "page"}


def test_every_verb_is_run_by_make_papers() -> None:
    places = Places(Path("d"), Path("c"), Path("w"), Path("b"), Path("r"))
    assert set(VERBS) - REPEATED <= set(commands(places))


@pytest.mark.parametrize("tiny", [False, True])
def test_the_options_exist(tiny: bool, tmp_path: Path) -> None:
    places = Places(tmp_path, Path("c"), Path("w"), Path("b"), Path("r"), tiny)
    for verb, words in commands(places).items():
        command = import_module(f"training.commands.papers.{VERBS[verb][0]}").main
        known = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known, verb


def test_the_tiny_form_runs_and_resumes(
    tree: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_photos(Path("data/set"), labels=4, each=6)
    Path("models").symlink_to(ROOT / "models")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["papers", "all", "--data", "data", "--cifar10", str(tree), "--weights", str(weights),
             "--build", "build", "--results", "results", "--tiny"]  # fmt: skip
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    found = read_tables(Path("results"))
    assert set(found) == {"unlabelled", "cifar10_unlabelled", "handmade"}
    assert any(row.values for row in found["handmade"].rows)
    assert read_tables(Path("build/cifar10"))["cifar10"].rows[0].values
    finished = {path: path.read_bytes() for path in Path("build").rglob("*.jsonl")}
    assert len(finished) >= 3
    again = CliRunner().invoke(main, [*words, "--only", "unlabelled,cifar10-unlabelled"])
    assert again.exit_code == 0, again.output
    assert all(path.read_bytes() == data for path, data in finished.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--cifar10", "nowhere"), "nowhere: does not exist"),
        (("--only", "tabel3"), '--only: unknown table "tabel3"'),
    ],
)
def test_bad_input_is_one_line(change: tuple[str, str], words: str) -> None:
    base = {"--data": ".", "--cifar10": ".", "--weights": ".", change[0]: change[1]}
    done = CliRunner().invoke(main, ["papers", "all", *(w for pair in base.items() for w in pair)])
    assert done.exit_code == 3 and words in done.stderr
