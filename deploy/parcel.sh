#!/bin/sh
# deploy/parcel.sh FOLDER: what a board installs, the runtime and its pinned packages, laid out afresh.
# The source, not a wheel: the board builds the lookup for its own CPU where it has a compiler, and
# else gets the same answers from numpy.
set -eu
mkdir -p "$1"
parcel=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
rm -rf "$parcel"
mkdir -p "$parcel/source"
cp -r edge_runtime pyproject.toml setup.py MANIFEST.in README.md LICENSE "$parcel/source/"
find "$parcel/source" \( -name __pycache__ -o -name '*.so' \) -prune -exec rm -rf {} +
cp requirements/board.txt "$parcel/requirements.txt"
