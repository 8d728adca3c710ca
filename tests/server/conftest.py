"""A server of codes for the tests of a module, which has the fixture `path` of its gallery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.lookup_server import LookupServer


@pytest.fixture(scope="module")
def server(path: Path) -> Iterator[LookupServer]:
    server = LookupServer("--gallery", path)
    yield server
    assert server.end() == 0
