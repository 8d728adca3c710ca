"""The complete path on a machine without a board or a camera, with real photographs.

`python -m demo` (which `make demo` runs) enrolls photographs that ship with scikit-image, films the
same photographs as a hand-held camera would, lets the daemon watch that video, and compares its
answers with what was filmed. The film is simulated, so the score is not an accuracy figure for new
photos.
"""
