"""Point a cheap ARM camera board at a place or an object and know which one it is.

    import edge_runtime as er

    with er.Recognizer("my.sqlite") as recognizer:
        recognizer.enroll("cat", "cat1.jpg", "cat2.jpg")
        print(recognizer.query("photo.jpg").label)

docs/API.md describes every name below. They are loaded when they are first used: importing this
package loads no numpy, OpenCV or engine.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.api import Recognizer
    from edge_runtime.camera import CameraOptions
    from edge_runtime.camera.base import Shot, Source
    from edge_runtime.clips.query import ClipResult, FrameAnswer
    from edge_runtime.engine import Engine, open_engine
    from edge_runtime.enroll import EnrollResult
    from edge_runtime.errors import (
        CameraError,
        EdgeRuntimeError,
        GalleryError,
        InputError,
        LabelError,
        ModelError,
        NoPhotosError,
        NotEnrolledError,
        PhotoError,
        StorageError,
    )
    from edge_runtime.gallery import Counts, Gallery
    from edge_runtime.image import Image
    from edge_runtime.image.decode import Photo
    from edge_runtime.image.lazy_jpeg import Picture
    from edge_runtime.position import Position, QueryPosition
    from edge_runtime.recognition.pipeline import FusedResult
    from edge_runtime.recognition.voting import LabelScore
    from edge_runtime.types import Event, Match, QueryResult, Recognition, Verdict
    from edge_runtime.watch import Watch

if sys.argv[:1] == ["-m"] and not Path(__file__).with_name("__main__.py").stat().st_size:
    # "python -m edge_runtime": Python runs an empty file without a word.
    raise ImportError("__main__.py is empty: install edge-runtime again")

__version__ = "0.2.0"

__all__ = [
    "CameraError",
    "CameraOptions",
    "ClipResult",
    "Counts",
    "EdgeRuntimeError",
    "Engine",
    "EnrollResult",
    "Event",
    "FrameAnswer",
    "FusedResult",
    "Gallery",
    "GalleryError",
    "Image",
    "InputError",
    "LabelError",
    "LabelScore",
    "Match",
    "ModelError",
    "NoPhotosError",
    "NotEnrolledError",
    "Photo",
    "PhotoError",
    "Picture",
    "Position",
    "QueryPosition",
    "QueryResult",
    "Recognition",
    "Recognizer",
    "Shot",
    "Source",
    "StorageError",
    "Verdict",
    "Watch",
    "__version__",
    "open_engine",
]

_MODULES = {
    "api": ["Recognizer"],
    "camera": ["CameraOptions"],
    "camera.base": ["Shot", "Source"],
    "clips.query": ["ClipResult", "FrameAnswer"],
    "engine": ["Engine", "open_engine"],
    "enroll": ["EnrollResult"],
    "errors": [name for name in __all__ if name.endswith("Error")],
    "gallery": ["Counts", "Gallery"],
    "image": ["Image"],
    "image.decode": ["Photo"],
    "image.lazy_jpeg": ["Picture"],
    "position": ["Position", "QueryPosition"],
    "recognition.pipeline": ["FusedResult"],
    "recognition.voting": ["LabelScore"],
    "types": ["Event", "Match", "QueryResult", "Recognition", "Verdict"],
    "watch": ["Watch"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


# OpenCV reads these variables once, when it is loaded. 64 megapixels decode to 192 MiB, which a
# 512 MB board can handle. A small file that claims more is rejected before memory is allocated.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))
# OpenCV's warnings repeat our own error messages, without the path.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# ONNX Runtime reads this once, when it is first loaded. Otherwise it creates an id for the machine,
# stores it in the home folder, and sends usage data to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
