# Python and its virtual environments: .venv for the runtime and its tests, .venv-train for torch,
# .venv-compile for TVM, .venv-wheels for the build tools. Torch and TVM are large, so each has an
# environment of its own.

PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
             command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
             && echo $$p && break; done)
VENV    ?= .venv
BIN     := $(VENV)/bin
TRAIN   := .venv-train
COMPILE := .venv-compile
WHEELS  := .venv-wheels

pip_install = $(1)/bin/python -m pip --disable-pip-version-check --no-input install --quiet
PIP        := $(call pip_install,$(VENV))

SECONDS ?= 60

.PHONY: lock test-slow test-power test-systemd fuzz screenshots

$(VENV)/bin/python $(TRAIN)/bin/python $(COMPILE)/bin/python $(WHEELS)/bin/python: %/bin/python:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer not found; set PYTHON: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $* || { rm -rf $*; echo "make: $(PYTHON) cannot create virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) -r requirements/demo.txt
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.demo
	$(PIP) -r requirements/test.txt
	$(PIP) --no-deps axe-playwright-python==0.1.8  # for its copy of axe; Playwright is not needed
	@touch $@

$(VENV)/.train: requirements/train.txt $(VENV)/.demo
	$(PIP) -r requirements/train.txt
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.demo
	$(PIP) -r requirements/bench.txt
	@touch $@

$(TRAIN)/.ready: training/requirements.txt | $(TRAIN)/bin/python
	$(call pip_install,$(TRAIN)) -r $<
	@touch $@

$(COMPILE)/.ready: requirements/compile.txt requirements/demo.txt | $(COMPILE)/bin/python
	$(call pip_install,$(COMPILE)) -r requirements/demo.txt -r $<
	@touch $@

$(COMPILE)/.bench: requirements/bench.txt $(COMPILE)/.ready
	$(call pip_install,$(COMPILE)) -r $<
	@touch $@

test-slow: $(VENV)/.test  ## run only the slow tests
	$(PYTEST) -m slow

fuzz: $(VENV)/.test  ## read random photos, requests and files: make fuzz [SECONDS=60] [READER=photo] [SEED=0]
	$(BIN)/python -m tests.fuzz $(READER) --seconds $(SECONDS) --seed $(or $(SEED),0)

test-power: $(VENV)/.test  ## run the tests that cut the power of a disk; only root can mount one
	$(BIN)/python -m pytest tests/boards/test_power_cuts.py tests/gallery/test_durable.py

test-systemd: $(VENV)/.test  ## deploy and roll out under a real systemd in a container; 10 minutes, as root, needs apt install systemd-container debootstrap
	EDGE_RUNTIME_CONTAINER=$(CURDIR)/build/container $(BIN)/python -m pytest -rs tests/boards/real_systemd

screenshots: $(VENV)/.test  ## take the documentation's pictures of the page in Chromium, from a daemon with two films
	$(BIN)/python -m tests.web.screenshots

lock:  ## pin the newest versions that pyproject.toml allows (needs uv)
	for set in demo test; do uv pip compile pyproject.toml --extra $$set --universal \
	  --python-version 3.11 --no-header --no-annotate --quiet -o requirements/$$set.txt --upgrade; done
	uv pip compile pyproject.toml requirements/build.in --extra mqtt --extra http --extra fleet --universal --generate-hashes \
	  --python-version 3.11 --no-header --no-annotate --quiet -o requirements/board.txt --upgrade
