"""A board installs only files whose digests are in the checkout."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT

PINS = ROOT / "requirements" / "board.txt"
INSTALLERS = ("deploy/board.sh", "device_tests/devices/board.py")


def _requirements() -> list[str]:
    text = PINS.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


def test_every_package_of_a_board_has_a_version_and_digests() -> None:
    for line in _requirements():
        assert re.match(r"[\w.-]+==[\w.]+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_the_build_tool_is_pinned_too() -> None:
    assert any(line.startswith("setuptools==") for line in _requirements())


def test_a_board_takes_nothing_else_from_the_network() -> None:
    for name in INSTALLERS:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "--require-hashes --only-binary :all: --requirement" in text, name
        assert "--no-index --no-build-isolation --force-reinstall --no-deps" in text, name
    installs = re.findall(r"pip install .*", (ROOT / INSTALLERS[0]).read_text(encoding="utf-8"))
    assert len(installs) == 2
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_make_lock_writes_the_digests() -> None:
    recipe = (ROOT / "mk" / "python.mk").read_text(encoding="utf-8").partition("\nlock:")[2]
    assert "--generate-hashes" in recipe.partition("requirements/board.txt")[0]
    assert "requirements/build.in" in recipe


def test_pip_refuses_a_file_with_another_digest(tmp_path: Path) -> None:
    wheel = tmp_path / "thing-1-py3-none-any.whl"
    wheel.write_bytes(b"not what was pinned")
    pins = tmp_path / "pins.txt"
    pins.write_text(f"thing==1 --hash=sha256:{'0' * 64}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index"]
    options = ["--require-hashes", "--only-binary", ":all:", "--target", str(tmp_path / "out")]
    done = subprocess.run(
        [*pip, "--find-links", str(tmp_path), *options, "--requirement", str(pins)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "DO NOT MATCH THE HASHES" in done.stderr
