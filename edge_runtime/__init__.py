"""Point a cheap ARM camera board at a place or an object and know which one it is.

Importing this package is light: no numpy, OpenCV or engine is loaded before it is used.
"""

import os

__version__ = "0.2.0"

# OpenCV reads these once, when it is first loaded. 64 megapixels decode to 192 MiB, which is what
# a 512 MB board survives; a small file that claims more is refused before memory is taken.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))
# Its warnings repeat, without a path, what our own errors say with one.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# ONNX Runtime reads this once, when it is first loaded. Else it gives the machine an id, which it
# keeps in the home folder, and reports its use to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
