"""The commands and links in the documents work.

A block fenced as `sh` is executed in a scratch folder with `photos/` (one sub-folder per label),
`photo.jpg` and `clip.mp4`. A block fenced as `sh make` names make targets, which must exist; the
demo and the tests cannot run inside themselves. A block fenced as `sh board` needs a board or a
camera; only its sub-commands are checked. A block fenced as `sh install` changes an environment and
is not run; tests/wheel installs the wheels.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from profiles.pages.performance import document
from tests.support.processes import ROOT
from tests.support.scratch import write_scratch

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```sh *(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!http)([^)#]+)")


def _blocks(kind: str) -> list[tuple[Path, str]]:
    return [
        (path, body)
        for path in DOCUMENTS
        for found, body in BLOCK.findall(path.read_text(encoding="utf-8"))
        if found == kind
    ]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scratch(tmp_path_factory.mktemp("docs"))


VERDICTS = """edge-runtime() {
    command edge-runtime "$@" && return
    local code=$?
    case "$1 $2 $code" in
        "profile "*" 9" | "report show 9" | "report compare 9") ;;
        *) return $code ;;
    esac
}
"""
"""A missed budget on this busy machine is not a fault of the document."""


SLOW = {"README.md", "CLIPS.md", "DESK.md", "FLEET.md", "GALLERY.md", "PROFILING.md"}
"""Documents with many commands."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.slow] if path.name in SLOW else [], id=path.name)
        for path in DOCUMENTS
    ],
)
def test_command_blocks_run(path: Path, scratch: Path) -> None:
    bodies = [body for where, body in _blocks("") if where == path]
    variables = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_DATA_HOME": str(scratch / path.stem),
    }
    for body in bodies:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", VERDICTS + body],
            cwd=scratch,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{body}\n{done.stdout}\n{done.stderr}"


def test_make_targets_exist() -> None:
    makefiles = [ROOT / "Makefile", *(ROOT / "mk").glob("*.mk")]
    text = "\n".join(path.read_text() for path in makefiles)
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    named = {
        target
        for kind in ("make", "board")
        for _, body in _blocks(kind)
        for target in re.findall(r"^make ([a-z-]+)", body, re.MULTILINE)
    }
    assert {"demo", "test"} <= named
    assert named <= targets


def test_commands_for_boards_exist() -> None:
    from edge_runtime.cli import _COMMANDS

    for path, body in _blocks("board"):
        for name in re.findall(r"edge-runtime (\w+)", body):
            assert name in _COMMANDS, f"{path}: {name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_performance_page_is_what_the_reports_say() -> None:
    assert (ROOT / "docs" / "results" / "PERFORMANCE.md").read_text(encoding="utf-8") == document()


def test_no_file_names_the_folder_that_it_was_written_in() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    here = re.compile(rb"(?<![\w.])" + re.escape(f"{ROOT}/".encode()))
    for name in listed:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".onnx", ".jpg", ".png"):
            assert not here.search(path.read_bytes()), name
