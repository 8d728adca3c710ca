"""The structure of the repository: who may import whom, and what stays light."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.imports import (
    circle,
    collapsed,
    imports_of,
    module_graph,
    module_name,
    source_files,
)
from tests.support.processes import ROOT

MAY_IMPORT = {
    "edge_runtime": {"edge_runtime"},
    "training": {"training", "edge_runtime"},
    "compile": {"compile", "edge_runtime"},
    "demo": {"demo", "edge_runtime"},
    "profiles": {"profiles", "demo", "compile", "edge_runtime"},
    "device_tests": {"device_tests", "profiles", "demo", "compile", "edge_runtime"},
    "tests": {"tests", "demo", "profiles", "device_tests", "compile", "edge_runtime"},
}
"""Packages; docs/ARCHITECTURE.md draws these arrows."""
PACKAGES = tuple(MAY_IMPORT)
LAYERS = {
    "edge_runtime": (
        {"redaction"},
        {"system"},
        {"errors"},
        {"shortage"},
        {"code", "position", "settings", "report", "onnx_file", "trust"},
        {"sound"},
        {"database"},
        {"model", "lookup"},
        {"bundle", "image", "fitting"},
        {"types", "engine"},
        {"camera", "gallery", "history", "sinks"},
        {"recognition"},
        {"enroll", "labeled_files", "doctor", "fleet", "remote"},
        {"clips"},
        {"daemon", "batch"},
        {"unknowns"},
        {"web", "profiler", "watch"},
        {"api", "desk", "server"},
        {"cli"},
        {"__main__"},
    ),
    "compile": (
        {"preflight", "target", "frontend"},
        {"cache", "kernels", "passes"},
        {"codegen", "emulation", "quantization"},
        {"tuning"},
        {"verify"},
        {"promote"},
        {"build"},
        {"__main__"},
    ),
    "training": (
        {"cli", "determinism", "files", "methods"},
        {"data"},
        {"models"},
        {"onnx"},
        {"eval", "fit"},
        {"hash_layer"},
        {"unlabelled"},
        {"experiments", "options", "reports"},
        {"papers"},
        {"commands"},
        {"__main__"},
    ),
    "training.papers": (
        {"files", "inputs", "judging", "kept", "lengths", "published"},
        {"times"},
        {"networks", "rows"},
        {"cifar10", "handmade", "compressed", "table3", "clips", "unlabelled", "multi_index"},
        {"transmission"},
        {"registry", "pages"},
        {"page", "plan", "small_data"},
    ),
    "profiles": ({"bench"}, {"estimate"}, {"pages"}),
    "device_tests": ({"devices", "scripts"}, {"bundles", "results"}, {"machine", "__main__"}),
}
"""Sub-packages and loose modules of each package, lowest first. One may import only what lies in a
lower layer, so the layers cannot form a circle."""
MOST_MODULES = 16
"""Python files directly in one folder, `__init__.py` included."""
MOST_LINES = 350
ON_THE_BOARD = {"numpy", "cv2", "psutil", "onnxruntime", "click", "rich", "exifread", "msgspec"}
EXTRAS = {
    *("paho", "starlette", "uvicorn", "h11", "prometheus_client", "picamera2", "matplotlib"),
    *("tuf", "securesystemslib", "cryptography", "distributed"),
}
"""Used on the board too, but only where an option asks for them."""
HEAVY = {"tvm", "onnx", "torch"}
DISPATCHERS = {
    "edge_runtime.cli",
    "edge_runtime.cli.gallery",
    "edge_runtime.cli.desk",
    "edge_runtime.cli.fleet",
    "training.__main__",
    "training.commands.papers",
}
"""Modules that start the commands, by name."""


def _top_level(path: Path) -> set[str]:
    return {module.split(".")[0] for module, _ in imports_of(path)}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_as_the_architecture_allows(package: str) -> None:
    for path in source_files(package, tests=True):
        wrong = (_top_level(path) & set(PACKAGES)) - MAY_IMPORT[package]
        assert not wrong, f"{path} imports {wrong}"


@pytest.mark.parametrize("package", LAYERS)
def test_sub_packages_import_only_lower_layers(package: str) -> None:
    level = {f"{package}.{name}": i for i, names in enumerate(LAYERS[package]) for name in names}
    depth = package.count(".") + 2
    graph = module_graph([package.split(".")[0]])
    inside = {
        name: {each for each in targets if _below(each, package)}
        for name, targets in graph.items()
        if _below(name, package)
    }
    for name, targets in collapsed(inside, depth).items():
        if name == package:
            assert not targets, f"{package}/__init__.py imports {targets}"
            continue
        assert name in level, f"{name} is in no layer of LAYERS"
        for target in targets - {package}:
            assert level[target] < level[name], f"{name} imports {target}, which is not below it"


def _below(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def test_there_are_no_import_circles() -> None:
    graph = module_graph(set(PACKAGES) - {"tests"})
    assert circle(graph) == []
    assert circle(collapsed(graph)) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_commands_import_no_commands() -> None:
    """A module with a click command is started, never imported: what two share is a library."""
    commands = {
        module_name(path)
        for package in set(PACKAGES) - {"tests"}
        for path in source_files(package)
        if re.search(r"^@click\.(command|group)", path.read_text(), re.MULTILINE)
    }
    graph = module_graph(set(PACKAGES) - {"tests"})
    for name in commands - DISPATCHERS:
        wrong = (graph[name] & commands) - DISPATCHERS
        assert not wrong, f"{name} imports {wrong}"


def test_no_test_imports_a_test() -> None:
    """What two test modules share is in tests/support, or in their conftest."""
    for path in (path for package in PACKAGES for path in source_files(package, tests=True)):
        if path.name.startswith("test_"):
            wrong = [each for each in imports_of(path) if ".test_" in ".".join(each)]
            assert not wrong, f"{path} imports {wrong}"


def test_folders_stay_small() -> None:
    for package in PACKAGES:
        for folder in {path.parent for path in source_files(package, tests=True)}:
            count = len(list(folder.glob("*.py")))
            assert count <= MOST_MODULES, f"{folder} has {count} modules"


def test_the_board_needs_only_its_packages() -> None:
    for path in source_files("edge_runtime"):
        known = set(sys.stdlib_module_names) | ON_THE_BOARD | EXTRAS | {"edge_runtime"}
        foreign = _top_level(path) - known
        assert not foreign, f"{path} imports {foreign}"
        assert not _top_level(path) & HEAVY


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
        for path in source_files("edge_runtime")
        if path.name not in ("__init__.py", "__main__.py")
    )
    assert not _modules_after(everything) & HEAVY


@pytest.mark.slow
def test_the_wheel_contains_only_the_runtime_and_its_model(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"edge_runtime"}
    assert sorted(name for name in names if name.endswith((".onnx", ".npz"))) == [
        "edge_runtime/data/mobilenet_v1_general.prior.npz",
        "edge_runtime/data/mobilenet_v1_general_int8.onnx",
    ]
    assert "edge_runtime/py.typed" in names
    assert "edge_runtime/engine/portable.py" in names


def test_modules_stay_small() -> None:
    for package in PACKAGES:
        for path in source_files(package):
            assert len(path.read_text().splitlines()) <= MOST_LINES, path
