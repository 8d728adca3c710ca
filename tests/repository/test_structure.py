"""The house keeps its shape: who may import whom, and what is light."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import ROOT

ROOMS = ("edge_runtime", "compile", "training", "profiles", "device_tests", "demo", "tests")
MAY_IMPORT = {
    "edge_runtime": {"edge_runtime"},
    "training": {"training", "edge_runtime"},
    "compile": {"compile", "edge_runtime"},
    "demo": {"demo", "edge_runtime"},
    "profiles": {"profiles", "demo", "compile", "edge_runtime"},
    "device_tests": {"device_tests", "profiles", "demo", "compile", "edge_runtime"},
    "tests": {"tests", "demo", "profiles", "device_tests", "edge_runtime"},
}
"""docs/ARCHITECTURE.md draws these arrows."""
ON_THE_BOARD = {"numpy", "cv2", "psutil", "onnxruntime", "click", "rich", "exifread", "msgspec"}
EXTRAS = {"paho", "starlette", "uvicorn", "prometheus_client", "picamera2", "matplotlib"}
"""Of the board too, but only where an option asks for them."""
HEAVY = {"tvm", "onnx", "torch"}


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


def _files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_as_the_architecture_allows(room: str) -> None:
    for path in _files(room):
        wrong = (_imports(path) & set(ROOMS)) - MAY_IMPORT[room]
        assert not wrong, f"{path} imports {wrong}"


def test_the_board_needs_only_its_packages() -> None:
    for path in _files("edge_runtime"):
        known = set(sys.stdlib_module_names) | ON_THE_BOARD | EXTRAS | {"edge_runtime"}
        foreign = _imports(path) - known
        assert not foreign, f"{path} imports {foreign}"
        assert not _imports(path) & HEAVY


def _modules_after(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_and_the_command_is_light() -> None:
    assert not _modules_after("import edge_runtime") & (ON_THE_BOARD | HEAVY)
    assert not _modules_after("import edge_runtime.cli") & {"numpy", "cv2", "onnxruntime", "rich"}
    assert not _modules_after("import edge_runtime.daemon.service") & EXTRAS


def test_the_whole_path_loads_nothing_heavy() -> None:
    everything = "\n".join(
        f"import {path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}"
        for path in _files("edge_runtime")
        if path.name not in ("__init__.py", "__main__.py")
    )
    assert not _modules_after(everything) & HEAVY


def test_the_wheel_contains_only_the_runtime_and_its_model(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, source]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"edge_runtime"}
    assert [name for name in names if name.endswith(".onnx")] == [
        "edge_runtime/data/mobilenet_v1_hash64_int8.onnx"
    ]
    assert "edge_runtime/py.typed" in names
    assert "edge_runtime/engine/portable.py" in names


def test_modules_stay_small() -> None:
    for room in ROOMS:
        for path in _files(room):
            if "tests" not in path.parts and not path.name.startswith("test_"):
                assert len(path.read_text().splitlines()) <= 350, path
