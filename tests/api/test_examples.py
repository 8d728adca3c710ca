"""docs/API.md: its examples run on real photos, and it describes every exported name."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edge_runtime as er
from tests.support.processes import ROOT
from tests.support.scratch import write_scratch

PAGE = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_example_runs(tmp_path: Path) -> None:
    """In the page's order, in one program."""
    scratch = write_scratch(tmp_path / "scratch")
    assert len(BLOCKS) >= 7
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(BLOCKS)],
        cwd=scratch,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("cat ")
    assert lines[1] == "cat"
    assert "['cat']" in lines  # a source of one's own
    assert "missing.jpg: no such file or folder. Please check the path." in lines
    assert [line.split()[:2] for line in lines if "T" in line][:1] == [["enter", "cat"]]


def test_examples_stay_short() -> None:
    for block in BLOCKS:
        assert len([line for line in block.splitlines() if line.strip()]) <= 12, block


@pytest.mark.parametrize("name", er.__all__)
def test_every_exported_name_is_described(name: str) -> None:
    assert re.search(rf"`(\w+ )?{name}\b", PAGE), name


@pytest.mark.parametrize("owner", [er.Recognizer, er.Watch])
def test_every_method_and_argument_is_described(owner: type) -> None:
    for name, member in vars(owner).items():
        if name.startswith("_") and (name != "__init__" or owner is er.Watch):
            continue
        if name != "__init__":
            assert re.search(rf"`(\w+\.)?{name}\b", PAGE), name
        if inspect.isfunction(member):
            for argument in list(inspect.signature(member).parameters)[1:]:
                assert re.search(rf"\b{argument}\b", PAGE), f"{name}: {argument}"


@pytest.mark.parametrize("owner", [er.Match, er.LabelScore, er.FusedResult, er.Event])
def test_every_field_of_a_result_is_described(owner: type) -> None:
    for field in dataclasses.fields(owner):
        assert f"`{field.name}`" in PAGE, field.name
