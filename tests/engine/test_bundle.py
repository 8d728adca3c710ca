"""The runtime checks a bundle completely before it uses the compiled library.

The library here is a few lines of C that hash nothing. compile/tests and, on an emulated board,
device_tests test a real one.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.bundle import (
    ALLOW_UNVERIFIED,
    MODEL,
    is_verified,
    open_bundle,
    require_verified,
    write_manifest,
)
from edge_runtime.engine import open_engine
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import (
    BundleInvalidError,
    BundleMismatchError,
    BundleUnverifiedError,
    EngineError,
    ModelError,
    ModelNotFoundError,
)
from edge_runtime.model import (
    PRIOR_FILE,
    find_model,
    find_prior,
    identify,
    prior_path,
)
from tests.support.bundles import edit, make_bundle, picture
from tests.support.processes import ROOT, run_cli


def test_a_bundle_is_opened_by_the_compiled_engine(bundle: Path) -> None:
    engine = open_engine(bundle, threads=2)
    assert isinstance(engine, CompiledEngine)
    assert engine.reason == "bundle for host, fp32, matches this CPU"
    assert engine.model.id == identify(find_model())[0]
    assert engine.hash(picture()).tolist() == [3 << 8 | 5]
    (step,) = engine.steps(picture(), 3)
    assert (step.name, step.kind, step.times_ms) == ("all of it", "k0", [1.5] * 3)
    assert (engine.target, engine.precision) == ("host", "fp32")
    assert open_bundle(bundle).budgets == {"query_p99_ms": 100.0}
    engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.hash(picture())


def test_code_and_features_come_from_one_call(bundle: Path) -> None:
    engine = open_engine(bundle)
    embedding = engine.embed(picture())
    assert embedding.code.tolist() == engine.hash(picture()).tolist()
    assert embedding.features is not None
    assert embedding.features.dtype == np.float32
    assert embedding.features.tolist() == [0, 5, *[0] * 1022]
    with pytest.raises(EngineError, match="simulated failure"):
        engine.embed(picture(255))
    engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.embed(picture())


def test_a_library_of_the_first_interface_gives_no_features(tmp_path: Path) -> None:
    make_bundle(tmp_path, api=1)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["model"]["features"], manifest["model"]["same_codes_as"]  # as written then
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    engine = CompiledEngine(tmp_path)
    assert (engine.model.features, engine.model.same_codes_as) == (0, ())
    embedding = engine.embed(picture())
    assert embedding.code.tolist() == [3 << 8 | 5]
    assert embedding.features is None


def test_the_manifest_keeps_what_the_model_says(tmp_path: Path) -> None:
    specialist = ROOT / "models" / "mobilenet_v1_hash64.onnx"
    model = open_bundle(make_bundle(tmp_path, model=specialist)).model
    shipped = PortableEngine(specialist).model
    assert model.features == shipped.features == 1024
    assert model.same_codes_as == shipped.same_codes_as != ()


def test_the_prior_of_a_bundle_is_checked_like_its_other_files(bundle: Path) -> None:
    prior = bundle / PRIOR_FILE
    assert find_prior(bundle) == prior == find_prior(open_bundle(bundle).path)
    assert prior.read_bytes() == prior_path(find_model()).read_bytes()
    prior.write_bytes(prior.read_bytes()[:-1])
    with pytest.raises(BundleInvalidError, match=r"prior\.npz: damaged"):
        open_bundle(bundle)
    prior.unlink()
    with pytest.raises(BundleInvalidError, match=r"prior\.npz: missing from the bundle"):
        open_bundle(bundle)


def test_images_of_a_wrong_shape_or_type_never_reach_the_library(bundle: Path) -> None:
    engine = open_engine(bundle)
    wrong: list[Any] = [np.zeros((96, 96, 3), np.uint8), np.zeros((224, 224, 3), np.float32)]
    for image in wrong:
        with pytest.raises(EngineError, match=r"image must be uint8 .*preprocess it"):
            engine.hash(image)
    transposed = np.ascontiguousarray(picture().transpose(1, 0, 2)).transpose(1, 0, 2)
    assert engine.hash(transposed).tolist() == [3 << 8 | 5]


def test_an_error_of_the_library_is_reported(bundle: Path) -> None:
    with pytest.raises(EngineError, match="simulated failure"):
        open_engine(bundle).hash(picture(255))
    (bundle / MODEL).unlink()
    manifest = json.loads((bundle / "manifest.json").read_text())
    edit(bundle, {"files": {"libedge.so": manifest["files"]["libedge.so"]}})
    with pytest.raises(EngineError, match="simulated failure"):
        open_engine(bundle, threads=7)


@pytest.mark.parametrize(
    ("change", "kind", "what"),
    [
        ({"format": 2}, BundleInvalidError, "unsupported bundle format 2, expected 1"),
        ({"model": {}}, BundleInvalidError, "malformed manifest"),
        ({"model.bits": "many"}, BundleInvalidError, "malformed manifest"),
        ({"model.features": "many"}, BundleInvalidError, "malformed manifest"),
        ({"model.features": -1}, BundleInvalidError, "features must be between"),
        ({"model.same_codes_as": 7}, BundleInvalidError, "malformed manifest"),
        ({"model.same_codes_as": ["short"]}, BundleInvalidError, "is not a SHA-256"),
        ({"files.../x": {"sha256": "", "bytes": 0}}, BundleInvalidError, "must not contain a path"),
        ({"target.features": ["sve9"]}, BundleMismatchError, "this CPU lacks sve9"),
        ({"target.triple": "riscv64-linux-gnu"}, BundleMismatchError, "but this machine is"),
        ({"target": "rpi4"}, BundleInvalidError, "malformed"),
        ({"target.features": None}, BundleInvalidError, "does not list the required CPU features"),
        (
            {"files.extra.so": {"sha256": "0", "bytes": 1}},
            BundleInvalidError,
            "missing from the bundle",
        ),
        ({"files.a\0b": {"sha256": "", "bytes": 0}}, BundleInvalidError, "cannot be checked"),
        ({"files.\ud800": {"sha256": "", "bytes": 0}}, BundleInvalidError, "cannot be checked"),
    ],
)
def test_an_invalid_manifest_is_rejected(
    bundle: Path, change: dict[str, object], kind: type[Exception], what: str
) -> None:
    key, value = next(iter(change.items()))
    if key.startswith("files."):
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["files"][key.removeprefix("files.")] = value
        (bundle / "manifest.json").write_text(json.dumps(manifest))
    else:
        edit(bundle, change)
    with pytest.raises(kind, match=what):
        open_bundle(bundle)


def test_a_manifest_of_many_files_starts_no_thread_for_each(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"] |= {str(number): {} for number in range(64)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleInvalidError, match=r"it lists \d+ files"):
        open_bundle(bundle)


def test_any_flipped_byte_of_the_library_is_detected(bundle: Path) -> None:
    library = bundle / "libedge.so"
    content = library.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 50)):
        bad = bytearray(content)
        bad[place] ^= 4
        library.write_bytes(bad)
        with pytest.raises(BundleInvalidError, match="damaged"):
            open_bundle(bundle)
    library.write_bytes(content[:-1])
    with pytest.raises(BundleInvalidError, match="damaged"):
        open_bundle(bundle)
    library.unlink()
    with pytest.raises(BundleInvalidError, match="missing"):
        open_bundle(bundle)


def test_a_manifest_that_is_not_json_is_rejected(bundle: Path, tmp_path: Path) -> None:
    for content in (b"", b"{", b"[1]", b"\xff\xfe"):
        (bundle / "manifest.json").write_bytes(content)
        with pytest.raises(BundleInvalidError):
            open_bundle(bundle)
    with pytest.raises(ModelNotFoundError, match="make compile"):
        open_bundle(tmp_path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "this is a Git LFS pointer",
        ),
        (b"\n<!DOCTYPE html><html>", "this is a web page"),
        (b"/annex/objects/SHA256E-s9--0.json", "this is a git-annex pointer"),
    ],
)
def test_a_manifest_that_stands_for_another_file_is_named(
    bundle: Path, content: bytes, what: str
) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BundleInvalidError, match=what):
        open_bundle(bundle)


def test_the_portable_engine_is_the_fallback_and_reports_the_reason(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(bundle, {"target.features": ["sve9"]})
    with caplog.at_level(logging.WARNING):
        engine = open_engine(bundle)
    assert engine.name == "portable"
    assert "this CPU lacks sve9" in engine.reason
    assert "falling back to ONNX Runtime" in caplog.text
    assert engine.model.id == identify(find_model())[0]
    (bundle / MODEL).unlink()
    with pytest.raises(BundleMismatchError, match="use a bundle for this board"):
        open_engine(bundle)


def test_a_damaged_network_is_no_fallback(bundle: Path) -> None:
    content = bytearray((bundle / MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / MODEL).write_bytes(content)
    changes: tuple[dict[str, list[str]], ...] = ({}, {"target.features": ["sve9"]})
    for change in changes:
        edit(bundle, change)
        with pytest.raises(ModelError, match=r"damaged|sve9"):
            open_engine(bundle)


def test_a_library_with_another_model_or_interface_is_rejected(tmp_path: Path) -> None:
    changed: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("a", {"model_id": "0" * 64}, "compiled from a different model"),
        ("b", {"api": 9}, "unsupported interface version 9"),
        ("c", {"features": 512}, "compiled from a different model"),
    )
    for name, changes, what in changed:
        folder = tmp_path / name
        folder.mkdir()
        make_bundle(folder, **changes)
        with pytest.raises(BundleInvalidError, match=what):
            CompiledEngine(folder)


def test_a_file_that_is_not_a_library_is_rejected(bundle: Path) -> None:
    (bundle / "libedge.so").write_text("not a library")
    (bundle / "manifest.json").unlink()
    write_manifest(
        bundle,
        PortableEngine(find_model()).model,
        target={
            "name": "host",
            "triple": f"{platform.machine()}-linux-gnu",
            "cpu": "",
            "features": [],
        },
        precision="fp32",
        budgets={},
        tools={},
    )
    with pytest.raises(EngineError, match="cannot load the library"):
        CompiledEngine(bundle)
    assert open_engine(bundle).name == "portable"


def test_an_unverified_bundle_is_used_only_if_allowed(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert is_verified(bundle)
    require_verified(bundle)
    edit(bundle, {"verified": False})
    assert not is_verified(bundle)
    with pytest.raises(BundleUnverifiedError, match=f"not verified.*{ALLOW_UNVERIFIED}=1"):
        open_bundle(bundle)
    with caplog.at_level(logging.WARNING):
        assert open_engine(bundle).name == "portable"
    assert "not verified" in caplog.text
    monkeypatch.setenv(ALLOW_UNVERIFIED, "1")
    assert open_engine(bundle).name == "compiled"
    with pytest.raises(BundleUnverifiedError, match="not used on a board"):
        require_verified(bundle)


def test_a_manifest_without_the_field_counts_as_verified(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["verified"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert is_verified(bundle)
    assert open_engine(bundle).name == "compiled"


def test_the_command_allows_an_unverified_bundle_with_an_option(bundle: Path) -> None:
    edit(bundle, {"verified": False})
    refused = run_cli("doctor", "--model", bundle)
    assert "not verified" in refused.stdout and "engine portable" in refused.stdout
    allowed = run_cli("doctor", "--model", bundle, "--allow-unverified")
    assert "engine compiled" in allowed.stdout, allowed.stdout + allowed.stderr


def test_the_command_uses_the_bundle_from_the_option_or_the_environment(
    bundle: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "edge_runtime", "doctor"]
    for extra, environment in (
        (["--model", str(bundle)], {}),
        ([], {"EDGE_RUNTIME_MODEL": str(bundle)}),
    ):
        done = subprocess.run(
            [*command, *extra],
            capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment},
        )  # fmt: skip
        assert "compiled" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_a_bundle_is_profiled_with_its_budgets_and_next_to_its_reference(
    bundle: Path, tmp_path: Path, cat: np.ndarray
) -> None:
    photo = tmp_path / "cat.jpg"
    cv2.imwrite(str(photo), cat)
    evidence = {"steps": [{"what": "all of it", "multiply_adds": 1000}]}
    (bundle / "evidence.json").write_text(json.dumps(evidence))
    edit(bundle, {"budgets": {"query_p99_ms": 100.0, "hash_p99_ms": 50.0}})
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    files.pop("evidence.json", None)
    edit(bundle, {"files": files})
    done = run_cli(
        *("profile", "--model", bundle, "--gallery", tmp_path / "none.sqlite"),
        *("--samples", 20, "--seconds", 0, "--json", photo),
    )
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["met"] else 9), done.stderr
    assert (report["engine"]["name"], report["engine"]["target"]) == ("compiled", "host")
    ours = [line for line in report["budget"] if line["source"] == "the bundle for host"]
    assert [line["name"] for line in ours] == ["query_p99_ms", "hash_p99_ms"]
    compiled, reference = report["operators"]
    assert [step["macs"] for step in compiled["operators"]] == [1000]
    assert (compiled["engine"], compiled["equal_share"]) == ("compiled", None)
    assert reference["engine"] == "portable"
    assert 0 < reference["equal_share"] < 1  # the library of this bundle is fake
    edit(bundle, {"target.features": ["sve9"]})
    report = _profiled(bundle, photo)
    assert report["engine"]["name"] == "portable"
    assert "the bundle for host" in [line["source"] for line in report["budget"]]
    edit(bundle, {"target.features": [], "budgets": {"query_p98_ms": 100.0}})
    done = run_cli("profile", "--model", bundle, photo)
    assert done.returncode == 3
    assert "did you mean query_p99_ms?" in done.stderr


@pytest.mark.parametrize("manifest", ['{"format": 1', '{"format": 1}', '{"format": 2}'])
def test_the_network_of_a_bundle_without_a_usable_manifest_is_profiled(
    manifest: str, bundle: Path, tmp_path: Path, cat: np.ndarray
) -> None:
    photo = tmp_path / "cat.jpg"
    cv2.imwrite(str(photo), cat)
    (bundle / "manifest.json").write_text(manifest)
    report = _profiled(bundle, photo)
    assert report["engine"]["name"] == "portable"
    assert {line["source"] for line in report["budget"]} == {"Liu et al. 2017", "Qi et al. 2017"}


def _profiled(bundle: Path, photo: Path) -> Any:
    done = run_cli(
        *("profile", "--model", bundle, "--gallery", photo.with_name("none.sqlite")),
        *("--samples", 4, "--seconds", 0, "--cold-starts", 1, "--json", photo),
    )
    assert done.returncode in (0, 9), done.stderr
    return json.loads(done.stdout)
