"""The enrolled and filmed scenes: photographs from the scikit-image package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2

from edge_runtime.errors import NoPhotosError
from edge_runtime.image import Image
from edge_runtime.image.decode import read_photo


@dataclass(frozen=True)
class Scene:
    """One scene of the film."""

    label: str | None
    """None for a scene that is never enrolled. The correct answer is then "unknown"."""
    photo: str
    """The file that is filmed."""
    enrolled: str = ""
    """The file that is enrolled, if it differs from the filmed one."""


SCENES = (
    Scene("astronaut", "astronaut.png"),
    Scene("cameraman", "camera.png"),
    Scene(None, "grass.png"),
    Scene("cat", "chelsea.png"),
    Scene("coffee cup", "coffee.png"),
    Scene("old coins", "coins.png"),
    Scene("brick wall", "brick.png"),
    Scene(None, "ihc.png"),
    Scene("gravel path", "gravel.png"),
    Scene("deep field", "hubble_deep_field.jpg"),
    Scene("moon", "moon.png"),
    # A stereo pair: the left picture is enrolled, the right one is filmed.
    Scene("motorcycle", "motorcycle_right.png", enrolled="motorcycle_left.png"),
    Scene("book page", "page.png"),
    Scene(None, "cell.png"),
    Scene("rocket", "rocket.jpg"),
    Scene("retina", "retina.jpg"),
    Scene("wall clock", "clock_motion.png"),
)


def photo_folder() -> Path:
    """Return the folder of scikit-image's photographs without importing scikit-image."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise NoPhotosError(
            "the demo's photographs come with scikit-image, which is not installed",
            remedy="run: make demo, or pip install edge-runtime[demo]",
        )
    return Path(spec.origin).parent / "data"


def read_scene(name: str) -> Image:
    """Read the photograph `name`, uint8 H x W x 3 BGR."""
    return read_photo(photo_folder() / name)


def write_enrollment_photos(folder: Path) -> None:
    """Write three photos of each scene, each framed a little differently.

    Creates `folder`/LABEL/N.jpg. The film uses none of these framings.
    """
    for scene in SCENES:
        if scene.label is None:
            continue
        image = read_scene(scene.enrolled or scene.photo)
        height, width = image.shape[:2]
        target = folder / scene.label
        target.mkdir(parents=True, exist_ok=True)
        for number, (left, top, share) in enumerate(
            ((0, 0, 1), (0, 0.05, 0.85), (0.15, 0.1, 0.85))
        ):
            x, y = int(left * width), int(top * height)
            crop = image[y : y + int(share * height), x : x + int(share * width)]
            cv2.imwrite(str(target / f"{number}.jpg"), crop)
