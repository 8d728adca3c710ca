"""The import graph of the repository, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.support.processes import ROOT

Graph = dict[str, set[str]]
"""Node to the nodes that it imports."""


def module_name(path: Path) -> str:
    """Return the dotted name of the module in the file `path`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def source_files(package: str, *, tests: bool = False) -> list[Path]:
    """Return the Python files of a top-level package, with or without its tests."""
    return [
        path
        for path in sorted((ROOT / package).rglob("*.py"))
        if tests or not ("tests" in path.parts or path.name.startswith(("test_", "conftest")))
    ]


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for each import that runs; `name` is empty for `import module`.

    Imports below `if TYPE_CHECKING:` do not run.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield from ((node.module or "", alias.name) for alias in node.names)
        yield from imports(node)


@cache
def imports_of(path: Path) -> tuple[tuple[str, str], ...]:
    """Return `imports` of the source file `path`, parsed once."""
    return tuple(imports(ast.parse(path.read_text(encoding="utf-8"))))


def module_graph(packages: Iterable[str]) -> Graph:
    """Return which module of `packages` imports which other one."""
    paths = {module_name(path): path for each in packages for path in source_files(each)}
    graph: Graph = {}
    for name, path in paths.items():
        found = {
            f"{module}.{member}" if f"{module}.{member}" in paths else module
            for module, member in imports_of(path)
        }
        graph[name] = (found & paths.keys()) - {name}
    return graph


def sub_package(module: str, depth: int = 2) -> str:
    """Return the part of a package that `module` belongs to: its first `depth` names."""
    return ".".join(module.split(".")[:depth])


def collapsed(graph: Mapping[str, set[str]], depth: int = 2) -> Graph:
    """Return the graph of sub-packages and loose modules, named by their first `depth` names."""
    found: Graph = {}
    for name, targets in graph.items():
        here = sub_package(name, depth)
        found.setdefault(here, set()).update({sub_package(t, depth) for t in targets} - {here})
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the nodes of one import circle in order, or nothing if there is none."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return []
        for target in sorted(graph.get(node, ())):
            if found := walk(target, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := walk(node, []))), [])
