# Keys and signatures: docs/SIGNING.md.

KEY    ?= $(HOME)/.config/edge-runtime/signing_key
KIND   ?= ed25519
BUNDLE ?=
SIGNED  = $(if $(MODEL_GIVEN),$(MODEL),$(patsubst %/,%,$(BUNDLE)))

.PHONY: keys sign trust revoke

keys:  ## make a key that signs bundles and releases: make keys [KEY=file] [KIND=ed25519-sk]
	@test ! -e "$(KEY)" || { echo "make: $(KEY) exists; name another file with KEY" >&2; exit 2; }
	@mkdir -p -m 700 "$(dir $(KEY))"
	@ssh-keygen -q -t $(KIND) -C "$(notdir $(KEY))" -f "$(KEY)"
	@echo "$(KEY): keep it secret; install $(KEY).pub on your boards: make trust HOST=pi@board"

sign: $(VENV)/.demo  ## sign a bundle or a model: make sign BUNDLE=build/rpi4 [KEY=file]
	@test -n "$(SIGNED)" || { echo "make: BUNDLE is not set; for example: make sign BUNDLE=build/rpi4" >&2; exit 2; }
	@$(BIN)/edge-runtime sign "$(SIGNED)" --key "$(KEY)"
	@! test -f "$(SIGNED).tar.gz" || { tar -C "$(dir $(SIGNED))" -czf "$(SIGNED).tar.gz.new" "$(notdir $(SIGNED))" \
	  && mv "$(SIGNED).tar.gz.new" "$(SIGNED).tar.gz"; }

trust:  ## accept only what your key signed on a board: make trust HOST=pi@board [KEY=file]
	$(call require,HOST,make trust HOST=pi@board)
	@deploy/trust.sh $(HOST) "$(KEY)" trusted_keys

revoke:  ## refuse on a board what a key signed: make revoke HOST=pi@board KEY=file
	$(call require,HOST,make revoke HOST=pi@board KEY=old_key)
	@deploy/trust.sh $(HOST) "$(KEY)" revoked_keys
