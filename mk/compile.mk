# The compiler, in the TVM environment. `make compile` is in the Makefile.

TRIALS ?=
RUNNER ?=
PHOTOS ?=
PICTURES ?=

.PHONY: setup-compile test-compile fast-emulator estimate

# Runs before the environment is made, on any Python 3: it reports what is missing and what it costs.
PREFLIGHT = command -v python3 >/dev/null || { echo "make: python3 not found; install Python 3.11 or newer" >&2; exit 1; }; \
  python3 compile/preflight.py "$(TARGET)" --python "$(PYTHON)" --environment $(COMPILE) --precision "$(PRECISION)" \
  --model "$(if $(MODEL_GIVEN),$(MODEL))" --photos "$(PHOTOS)" --trials "$(TRIALS)" --pictures "$(PICTURES)" --runner "$(RUNNER)"

setup-compile: $(COMPILE)/.ready  ## make the environment for compiling (TVM; 0.4 GB to download)

test-compile: $(COMPILE)/.ready  ## run the tests of compile/
	$(COMPILE)/bin/python -m pytest compile/tests

fast-emulator:  ## build a QEMU that runs fp32 and fp16 several times as fast, for `make compile PICTURES=1000`
	sh compile/emulation/fast_qemu.sh build/qemu

estimate: $(COMPILE)/.ready  ## estimate the time of a query on every board, without one
	$(COMPILE)/bin/python -m profiles.estimate $(if $(TARGET_GIVEN),$(TARGET))
	$(COMPILE)/bin/python -m profiles.pages.devices
