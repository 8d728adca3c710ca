# Wheels that contain a model, for x86_64 and aarch64, and the notes of a release.

.PHONY: wheels test-wheels release-notes

$(WHEELS)/.ready: requirements/wheels.txt | $(WHEELS)/bin/python
	$(call pip_install,$(WHEELS)) -r $<
	@touch $@

wheels: $(WHEELS)/.ready  ## build manylinux wheels for x86_64 and aarch64 into dist/
	$(WHEELS)/bin/python deploy/wheels.py dist

test-wheels: $(VENV)/.test  ## install both wheels in clean environments (aarch64 emulated) and use them
	$(BIN)/python -m pytest -m slow tests/wheel

release-notes:  ## write a version's changelog section to build/release-notes.md: make release-notes TAG=v0.2.0
	$(call require,TAG,make release-notes TAG=v0.2.0)
	@version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' edge_runtime/__init__.py); \
	test "$(TAG)" = "v$$version" || { \
	  echo "make: the tag is $(TAG), but edge_runtime.__version__ is $$version" >&2; exit 2; }; \
	mkdir -p build && awk -v heading="## [$$version]" \
	  '/^## |^\[/ { inside = index($$0, heading) == 1; next } inside' CHANGELOG.md > build/release-notes.md; \
	grep -q . build/release-notes.md || { \
	  echo "make: CHANGELOG.md has no section for $$version" >&2; exit 2; }
