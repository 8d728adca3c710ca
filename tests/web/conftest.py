"""What the tests of the page and the API share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.image import Image
from tests.support.web import make_film
from tests.web.browser import open_browser


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "cat.mp4", cat)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
