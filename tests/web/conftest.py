"""What the tests of the page and the API share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.image import Image
from tests.support.processes import patience
from tests.support.web import Client, make_film, start
from tests.web.browser import open_browser


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "cat.mp4", cat)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(folder: Path, film: Path) -> Iterator[Client]:
    process = start(folder, film, http="port = 0\nrequests_per_minute = 100000")
    client = Client(process)
    client.until_ready()
    yield client
    assert process.end() < 2 * patience()
    assert process.child.returncode == 0
    assert "Traceback" not in "".join(process.log_lines)
