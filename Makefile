# The targets that most people need. The rest is in mk/*.mk; `make help-all` lists everything.
# Python 3.11 to 3.13 is required. Choose an interpreter with PYTHON=python3.12.

CAMERA  ?= 0
GALLERY ?=
DATA    ?=
BITS    ?= 64
MODEL   ?= models/mobilenet_v1_general.onnx
OUT     ?= build/my-model
METHOD  ?=
TARGET  ?= host
HOST    ?=
HOSTS   ?=
# Non-empty if the variable was set on the command line or in the environment.
given         = $(filter command environment,$(firstword $(origin $(1))))
MODEL_GIVEN  := $(call given,MODEL)
OUT_GIVEN    := $(call given,OUT)
TARGET_GIVEN := $(call given,TARGET)

WITH_GALLERY = $(if $(GALLERY),--gallery $(GALLERY))
# $(call require,NAME,example): stop if the variable NAME is empty.
require = @test -n "$($(1))" || { echo "make: $(1) is not set; for example: $(2)" >&2; exit 2; }

.DEFAULT_GOAL := help
.PHONY: help help-all setup demo test test-all lint run profile train compile deploy clean

include mk/python.mk mk/training.mk mk/compile.mk mk/bench.mk mk/board.mk mk/trust.mk mk/wheels.mk

LIST_TARGETS = grep -hE '^[a-z-]+:.*\#\#' $(1) | sed -E 's/:.*\#\# /\t/' | expand -t 16

help:  ## list these targets
	@$(call LIST_TARGETS,$(firstword $(MAKEFILE_LIST)))

help-all:  ## list every target
	@$(call LIST_TARGETS,$(MAKEFILE_LIST))

setup: $(VENV)/.demo  ## make the virtual environment in .venv

demo: $(VENV)/.demo  ## enroll photographs, film them, watch the film, check the answers
	$(BIN)/python -m demo --out build/demo

# The tests start thousands of processes. Without bytecode files, each compiles the sources again.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

test: $(VENV)/.test  ## run the fast tests; they need no root, board or network (6 to 8 minutes)
	$(PYTEST) -m "not slow"

test-all: test test-slow test-train test-compile  ## run every test, with training/ and compile/ (40 minutes)

lint: $(VENV)/.test  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

run: $(VENV)/.demo  ## watch a camera: make run CAMERA=0 [GALLERY=file]
	$(BIN)/edge-runtime run --camera $(CAMERA) $(WITH_GALLERY)

profile: build/demo/gallery.sqlite  ## measure speed with the demo's gallery and photos: make profile [MODEL=bundle] [QUICK=1]
	$(BIN)/edge-runtime profile --gallery build/demo/gallery.sqlite $(if $(MODEL_GIVEN),--model $(MODEL)) \
	  $(if $(QUICK),--quick) --out build/profile/report.json

build/demo/gallery.sqlite: | $(VENV)/.demo
	$(MAKE) demo

# Only the closed form, the default, needs no torch.
FITTER := $(if $(filter-out refit,$(METHOD)),$(TRAIN),$(VENV))
train: $(if $(filter $(VENV),$(FITTER)),$(VENV)/.train,$(TRAIN)/.ready)  ## fit the model to your photos, for many boards: make train DATA=my-photos/ [METHOD=contrastive]
	$(call require,DATA,make train DATA=my-photos/ (one sub-folder per label))
	$(FITTER)/bin/python -m training finetune $(addprefix --data ,$(DATA)) --out $(OUT) $(if $(MODEL_GIVEN),--model $(MODEL)) \
	  $(if $(METHOD),--method $(METHOD))

compile:  ## compile a bundle for a board: make compile TARGET=rpi4 [PRECISION=int8] [TRIALS=n]
	@$(PREFLIGHT)
	@$(MAKE) --no-print-directory $(COMPILE)/.ready
	PATH="$(CURDIR)/build/qemu:$$PATH" $(COMPILE)/bin/python -m compile $(TARGET) $(if $(PRECISION),--precision $(PRECISION)) $(if $(TRIALS),--trials $(TRIALS)) \
	  $(if $(RUNNER),--runner $(RUNNER)) $(if $(SEARCH),--search $(SEARCH)) $(if $(RECORDS),--records $(RECORDS)) $(if $(PICTURES),--pictures $(PICTURES)) \
	  $(if $(MODEL_GIVEN),--model $(MODEL)) $(if $(PHOTOS),--photos $(PHOTOS)) $(if $(OUT_GIVEN),--out $(OUT))

deploy:  ## install the daemon and its bundle on a board: make deploy TARGET=rpi4 HOST=pi@board [HOSTS="pi@a pi@b"]
	$(if $(HOSTS),@deploy/many.sh $(TARGET) $(HOSTS),$(call require,HOST,make deploy TARGET=rpi4 HOST=pi@board))
	$(if $(HOSTS),,@deploy/push.sh $(TARGET) $(HOST))

clean:  ## remove build/demo, dist/, *.egg-info and the caches of tests and tools; keep the rest of build/
	rm -rf build/demo dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
