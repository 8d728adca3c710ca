"""The command-line front: every verb has help, and listing the verbs is light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from training.__main__ import VERBS, main
from training.tests.conftest import ROOT


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    done = CliRunner().invoke(main, [verb, "--help"], prog_name="python -m training")
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Usage: python -m training {verb}")
    assert f"python -m training {verb}" in done.output.partition("\n")[2]  # an example


def test_listing_the_verbs_imports_no_torch() -> None:
    code = (
        "import sys; from training.__main__ import main; main(['--help'], standalone_mode=False);"
        "print(sorted({'torch', 'onnx', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *_, imported = done.stdout.splitlines()
    assert all(verb in done.stdout for verb in VERBS) and imported == "[]"


def test_unknown_verb_is_wrong_usage() -> None:
    done = CliRunner().invoke(main, ["trane"])
    assert done.exit_code == 2 and "No such command" in done.output


def test_stored_commands_name_existing_verbs() -> None:
    listed = json.loads((ROOT / "training" / "results" / "commands.json").read_text())
    for command in listed.values():
        assert command.startswith("python -m training ") and command.split()[3] in VERBS
