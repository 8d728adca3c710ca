#!/bin/sh
# deploy/list.sh FOLDER: write FOLDER/files.sha256, the SHA-256 of every other file, sorted by name, in
# the format of sha256sum. A release is named after the digest of this list, so that the list and
# whatever vouches for it cover all that a board installs.
set -eu
cd "$1"
rm -f files.sha256*
list=$(find . -type f | sed 's|^\./||' | LC_ALL=C sort | tr '\n' '\0' | xargs -0 sha256sum)
printf '%s\n' "$list" > files.sha256
