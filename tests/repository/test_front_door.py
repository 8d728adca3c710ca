"""What a newcomer reads first: files exist, links resolve, commands and excerpts are real."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FILES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "Makefile",
    ".editorconfig",
    ".pre-commit-config.yaml",
    ".github/workflows/ci.yml",
    ".github/workflows/release.yml",
    "docs/index.md",
    "docs/GLOSSARY.md",
    "docs/ARCHITECTURE.md",
)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOT_MAKE = re.compile(r"sudo apt-get |gh release ")
"""Steps of a workflow that need not be make targets: packages of the system, and the release."""
MOST_TARGETS = 14
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
EXCERPT = re.compile(r"^( *)```(?:python|toml) (\S+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"`([\w.-]+/[\w./-]+\.(?:py|toml|c|h|yml|sh))`")
BASES = ("", "edge_runtime", "compile", "training")
"""Folders that the paths in a document are relative to."""
HEADING = re.compile(r"^### (.+)$", re.MULTILINE)
TERM = re.compile(r"^\*\*(.+?)\*\*(?: \((?:of|on) .+?\))?:", re.MULTILINE)
CORE_TERMS = {
    *("image", "frame", "picture", "view", "code", "item", "label", "gallery", "match", "verdict"),
    *("recognition", "event", "bundle", "target", "engine", "radius"),
}


def _documents() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def _targets() -> set[str]:
    makefiles = [ROOT / "Makefile", *(ROOT / "mk").glob("*.mk")]
    text = "\n".join(path.read_text() for path in makefiles)
    return set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))


def _make(*arguments: str) -> str:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("name", FILES)
def test_the_file_exists(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0


def test_help_lists_few_targets_and_help_all_lists_every_one() -> None:
    few = [line.split()[0] for line in _make("help").splitlines()]
    every = [line.split()[0] for line in _make("help-all").splitlines()]
    assert {"help", "help-all", "setup", "demo", "test", "test-all"} <= set(few)
    assert len(few) <= MOST_TARGETS
    assert set(every) == _targets()
    assert len(every) == len(set(every)), "a target is defined twice"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_make_targets_that_exist(path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    commands = [
        line
        for job in workflow["jobs"].values()
        for step in job["steps"]
        for line in step.get("run", "").splitlines()
    ]
    assert any(command.startswith("make ") for command in commands)
    for command in commands:
        if not NOT_MAKE.match(command):
            words = command.removeprefix("sudo ").split()
            assert words[0] == "make", command
            assert words[1] in _targets(), command


def test_the_workflows_test_every_supported_python() -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert matrix == ["3.11", "3.12", "3.13"]


def test_the_hooks_run_the_tools_of_make_lint() -> None:
    yaml = pytest.importorskip("yaml")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    lint = _make("-n", "lint", "VENV=.venv")
    for hook in hooks["repos"][0]["hooks"]:
        assert hook["entry"].split(" --")[0] in lint, hook["id"]


@pytest.mark.parametrize("path", _documents(), ids=lambda path: path.name)
def test_relative_links_resolve(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        assert (path.parent / target.replace("\\_", "_")).exists(), f"{path} links to {target}"


def test_the_index_links_every_document() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text())}
    missing = set((ROOT / "docs").rglob("*.md")) - linked - {index}
    assert not missing


def test_the_glossary_defines_each_term_once() -> None:
    text = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
    terms = [found[0] for found in TERM.finditer(text)]
    assert len(terms) == len(set(terms)), "a term has two definitions"
    assert not CORE_TERMS - set(TERM.findall(text))


def test_compile_checks_its_requirements_before_it_downloads_anything() -> None:
    commands = _make("-n", "compile", "TARGET=rpi4", "COMPILE=build/no-environment")
    assert 0 <= commands.find("compile/preflight.py") < commands.find("-m venv")
    assert commands.find("-m venv") < commands.find("-m pip")


def test_the_architecture_lists_every_sub_package() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for heading in ("edge_runtime", "compile", "training"):
        section = text.split(f"\n### {heading}\n")[1].split("\n#")[0]
        for path in (ROOT / heading).iterdir():
            if (path / "__init__.py").is_file() and path.name != "tests":
                assert f"`{path.name}/`" in section, f"{heading}/{path.name}"


@pytest.mark.parametrize("name", ["docs/ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(name: str) -> None:
    for path in PATH.findall((ROOT / name).read_text(encoding="utf-8")):
        assert any((ROOT / base / path).exists() for base in BASES), f"{name} names {path}"


def _code(text: str) -> list[str]:
    """Return the lines of `text` without indentation, comments, docstrings and blank lines."""
    text = re.sub(r'"""(.*?)"""', "", text, flags=re.DOTALL)
    lines = (re.sub(r"\s+# .*|^#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def test_excerpts_are_real() -> None:
    excerpts = EXCERPT.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(excerpts) >= 5
    for _, name, body in excerpts:
        source = set(_code((ROOT / name).read_text(encoding="utf-8")))
        for line in _code(body):
            assert line in source, f"{name} does not contain: {line}"


def test_the_changelog_keeps_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.search(
        r'^__version__ = "(.+)"', (ROOT / "edge_runtime/__init__.py").read_text(), re.M
    )
    assert version
    released = re.findall(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    assert released[0] == version[1]
    assert set(HEADING.findall(text)) <= {"Added", "Changed", "Fixed", "Removed"}


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    results = json.loads(
        (ROOT / "training" / "results" / "strangers_objects_general.json").read_text()
    )
    (row,) = (row for row in results["rows"] if (row["photos"], row["labels"]) == (3, 15))
    right, wrong, named = (round(row[name]["median"]) for name in ("right", "wrong", "named"))
    text = " ".join((ROOT / "README.md").read_text().split())
    assert (
        f"it names {right} % of new photos correctly and {wrong} % wrongly, and gives a name to "
        f"{named} % of the photos of other objects"
    ) in text
