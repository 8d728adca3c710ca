"""The whole path on a machine without a board or a camera: real photographs, a real video file.

`python -m demo` (what `make demo` runs) enrols photographs that ship with scikit-image, films them
as a hand-held camera would, lets the daemon watch that film, and checks what it says against what
was filmed.
"""
