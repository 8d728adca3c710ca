"""`enroll` fits the gallery to what was enrolled, when there is enough of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demo.scenes import write_enrollment_photos
from tests.support.processes import run_cli


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen labels of three photos."""
    folder = tmp_path_factory.mktemp("photos")
    write_enrollment_photos(folder)
    return folder


def _enroll(gallery: Path, photos: Path, *options: str) -> Any:
    done = run_cli("enroll", "--json", "--gallery", gallery, *options, photos)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["refit"]


def _stats(gallery: Path) -> Any:
    return json.loads(run_cli("gallery", "stats", "--json", "--gallery", gallery).stdout)


def test_enroll_fits_when_enough_has_changed(photos: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "gallery.sqlite"
    fitted = _enroll(gallery, photos, "--no-views")
    assert (fitted["pictures"], fitted["labels"], fitted["left_out"]) == (42, 14, 14)
    stats = _stats(gallery)
    assert (stats["fitted_bits"] is not None) == fitted["code_kept"]
    assert stats["fitted_similarity"] == fitted["metric_kept"]
    assert _enroll(gallery, photos, "--no-views") is None  # nothing was added


def test_no_refit_leaves_the_codes_of_the_model(photos: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "gallery.sqlite"
    assert _enroll(gallery, photos, "--no-views", "--no-refit") is None
    stats = _stats(gallery)
    assert (stats["fitted_bits"], stats["fitted_similarity"]) == (None, False)


def test_few_labels_are_not_fitted(photos: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "gallery.sqlite"
    done = run_cli(
        "enroll", "--json", "--no-views", "--gallery", gallery, "--label", "cat", photos / "cat"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["refit"] is None
