"""`python -m training papers all`: the tiny form of every table, in less than two minutes idle."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from training.__main__ import main
from training.commands.papers import VERBS
from training.data.photo_sets import read_set
from training.papers.cifar10.images import open_images
from training.papers.page import TITLES
from training.papers.plan import Places, commands, tiny_commands
from training.papers.rows import read_tables
from training.papers.small_data import small_sets, stand_in_for_cifar10
from training.papers.times import read_times
from training.tests.conftest import ROOT, draw_photos
from training.tests.papers.conftest import write_recordings

REPEATED = {"all", "page"}
PLACES = Places(*(Path(name) for name in "dcwbrs"))
PLANS = {"whole": commands(PLACES), "tiny": tiny_commands(PLACES, ("set",))}


@pytest.mark.parametrize("form", PLANS)
def test_every_verb_is_run_by_make_papers(form: str) -> None:
    assert set(VERBS) - REPEATED == set(PLANS[form])


@pytest.mark.parametrize("form", PLANS)
def test_the_options_exist(form: str) -> None:
    for verb, words in PLANS[form].items():
        command = import_module(f"training.commands.papers.{VERBS[verb][0]}").main
        known = {option for param in command.params for option in param.opts + param.secondary_opts}
        assert {word for word in words if word.startswith("--")} <= known, verb


def _photos() -> Path:
    """Return the real sample of the shared photos, or drawn ones where it is absent."""
    real = Path(os.environ.get("EDGE_RUNTIME_DATA", ROOT.parent / "shared" / "data")) / "tiny"
    if real.exists():
        return real
    draw_photos(Path("data/set"), labels=4, each=10)
    return Path("data")


def test_the_tiny_form_makes_every_table_and_the_page(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("models").symlink_to(ROOT / "models")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["papers", "all", "--data", str(_photos()), "--weights", str(weights), "--sounds",
             str(write_recordings(Path("sounds"), 6)), "--build", "build", "--tiny"]  # fmt: skip
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    found = read_tables(Path("build/results"))
    assert set(found) == set(TITLES)
    for name, table in found.items():
        assert any(row.values for row in table.rows), name
    times = read_times(Path("build/results"))
    assert set(times) == set(VERBS) - REPEATED
    assert all(spent.cpu_seconds > 0 and spent.whole for spent in times.values())
    page = Path("build/PAPERS.md").read_text(encoding="utf-8")
    assert all(f"\n## {title}\n" in page for title in TITLES.values())
    assert all(row.system in page for table in found.values() for row in table.rows)


def test_small_sets_have_photos_on_both_sides(tmp_path: Path) -> None:
    draw_photos(tmp_path / "data" / "one", labels=5, each=9)
    draw_photos(tmp_path / "data" / "tiny")
    assert small_sets(tmp_path / "data", tmp_path / "small") == ["one"]
    photos = read_set(tmp_path / "small" / "one")
    splits = [photo.split for photo in photos]
    assert (len(photos), splits.count("gallery"), splits.count("query")) == (21, 15, 6)
    images = open_images(stand_in_for_cifar10(tmp_path / "small" / "one", tmp_path / "stand-in"))
    assert (len(images), int(images.test.sum()), len(images.classes)) == (90, 30, 3)


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


def test_cifar10_is_needed_for_the_whole_form() -> None:
    done = CliRunner().invoke(main, ["papers", "all", "--data", ".", "--weights", "."])
    assert done.exit_code == 3 and "--cifar10: not given" in done.stderr
