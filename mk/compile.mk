# The compiler, in the TVM environment. `make compile` is in the Makefile.

TRIALS ?=
RUNNER ?=
PHOTOS ?=

.PHONY: setup-compile test-compile fast-emulator estimate

setup-compile: $(COMPILE)/.ready  ## make the environment for compiling (TVM, about 0.7 GB)

test-compile: $(COMPILE)/.ready  ## run the tests of compile/
	$(COMPILE)/bin/python -m pytest compile/tests

fast-emulator:  ## build a QEMU that runs fp32 and fp16 several times as fast, for `make compile PICTURES=1000`
	sh compile/emulation/fast_qemu.sh build/qemu

estimate: $(COMPILE)/.ready  ## estimate the time of a query on every board, without one
	$(COMPILE)/bin/python -m profiles.estimate $(if $(TARGET_GIVEN),$(TARGET))
	$(COMPILE)/bin/python -m profiles.pages.devices
