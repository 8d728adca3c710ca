# On a fresh machine: `make demo` shows the product doing its job, `make test` tests it.
# Python 3.11 to 3.13; choose one with PYTHON=python3.12.

PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
             command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
             && echo $$p && break; done)
VENV    ?= .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
CAMERA  ?= 0
GALLERY ?=
DATA    ?=

WITH_GALLERY = $(if $(GALLERY),--gallery $(GALLERY))

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint run profile lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.demo  ## make the virtual environment

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "make: $(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(BIN)/python
	$(PIP) -r requirements/demo.txt
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.demo
	$(PIP) -r requirements/test.txt
	@touch $@

demo: $(VENV)/.demo  ## enrol photographs, film them, watch the film, check the answers
	$(BIN)/python -m demo --out build/demo

test: $(VENV)/.test  ## every test that needs no root, board or network
	$(BIN)/python -m pytest

lint: $(VENV)/.test  ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

run: $(VENV)/.demo  ## watch a camera: make run CAMERA=0 [GALLERY=file]
	$(BIN)/edge-runtime run --camera $(CAMERA) $(WITH_GALLERY)

profile: build/demo/gallery.sqlite  ## measure the path here, with the demo's gallery and photos
	$(BIN)/edge-runtime profile --gallery build/demo/gallery.sqlite

build/demo/gallery.sqlite: | $(VENV)/.demo
	$(MAKE) demo

lock:  ## pin the newest versions that pyproject.toml allows (needs uv)
	for set in demo test; do uv pip compile pyproject.toml --extra $$set --universal \
	  --python-version 3.11 --no-header --no-annotate --quiet -o requirements/$$set.txt --upgrade; done

clean:  ## remove what was built, not the environment
	rm -rf build/demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
