"""The counts behind the estimates: the query path in an emulated process, stage by stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from compile.emulation.counters import Counts
from compile.emulation.userland import Userland
from compile.target.description import Target, read_target
from device_tests.bundles import SMALL
from device_tests.devices.base import Device
from edge_runtime.errors import ToolchainError
from edge_runtime.image import Image
from profiles.estimate.path import Material, count_stages, make_material


def test_every_stage_of_the_path_is_counted(
    target: Target, device: Device, bundle: Path, pictures: Image, tmp_path: Path
) -> None:
    if not device.emulated or pictures.shape[1] > SMALL or target.name != "rpi3":
        pytest.skip("tested with the small network on one emulated board only")
    material = make_material(bundle, tmp_path)
    stages = count_stages(Userland(), target, bundle, material, frames=2)  # the second is warm
    assert list(stages) == ["decode", "fit", "hash", "lookup", "decide", "publish"]
    assert material.codes > 100
    assert stages["hash"].by_class["fma"] > 1e6
    assert stages["decode"].instructions > 1e6
    counted = {name: stage.by_class["fma"] for name, stage in stages.items()}
    assert all(counted[name] < 1e3 for name in ("decode", "fit", "decide", "publish")), counted
    assert counted["lookup"] < counted["hash"], counted  # it compares the features of 100 codes
    assert all(_plausible(stage) for stage in stages.values())


def _plausible(counts: Counts) -> bool:
    return 0 < counts.l2_misses <= counts.l1_misses < counts.instructions < 1e8


def test_without_an_emulator_the_error_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    material = Material(tmp_path / "frame.jpg", tmp_path / "gallery.sqlite", 0)
    with pytest.raises(ToolchainError, match=r"^rpi4: no emulator \(apt install qemu-user\)$"):
        count_stages(Userland(), read_target("rpi4"), tmp_path, material)
