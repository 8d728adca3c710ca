#!/bin/sh
# deploy/parcel.sh FOLDER: write the files that a board installs, the runtime's source and the list
# of pinned packages, to a new FOLDER.
# It holds the source, not a wheel: a board with a C compiler builds the lookup for its own CPU, and
# one without gets the same answers from numpy. models/ stays out, because the bundle has the model.
# The desk stays out, too: what signs for a fleet is never on a board.
set -eu
mkdir -p "$1"
parcel=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
rm -rf "$parcel"
mkdir -p "$parcel/source"
cp -r edge_runtime pyproject.toml setup.py MANIFEST.in README.md LICENSE "$parcel/source/"
rm -rf "$parcel/source/edge_runtime/desk"
find "$parcel/source" \( -name __pycache__ -o -name '*.so' \) -prune -exec rm -rf {} +
cp requirements/board.txt "$parcel/requirements.txt"
