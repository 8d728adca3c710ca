"""What the tests of the page and the API share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.image import Image
from tests.web.browser import open_browser


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Path:
    path = tmp_path_factory.mktemp("film") / "cat.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    for _ in range(20):
        writer.write(np.asarray(cv2.resize(cat, (640, 480)), np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
