# Wheels that contain a model, for x86_64 and aarch64.

.PHONY: wheels test-wheels

$(WHEELS)/.ready: requirements/wheels.txt | $(WHEELS)/bin/python
	$(call pip_install,$(WHEELS)) -r $<
	@touch $@

wheels: $(WHEELS)/.ready  ## build manylinux wheels for x86_64 and aarch64 into dist/
	$(WHEELS)/bin/python deploy/wheels.py dist

test-wheels: $(VENV)/.test  ## install both wheels in clean environments (aarch64 emulated) and use them
	$(BIN)/python -m pytest -m slow tests/wheel
