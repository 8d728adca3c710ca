#!/bin/sh
# Runs on the board and prints the path of a Python that can run edge-runtime.
# PYTHON=name is tried first.
old= bare=
for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
  command -v "$name" >/dev/null || continue
  if ! "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    old=$("$name" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo "$name")
  elif ! "$name" -c 'import venv, ensurepip' 2>/dev/null; then
    bare=$name
  else
    command -v "$name"
    exit
  fi
done
if [ -n "$bare" ]; then
  echo "$bare cannot create virtual environments: sudo apt install python3-venv" >&2
elif [ -n "$old" ]; then
  echo "Python $old is too old; 3.11 or newer is required (Raspberry Pi OS since 2023, bookworm, has it)" >&2
else
  echo "no Python found: sudo apt install python3-venv" >&2
fi
exit 9
