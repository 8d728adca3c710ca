# Tests on a board, real or emulated. `make deploy` is in the Makefile.

ONLY ?=

.PHONY: device-test machine-test

device-test: $(COMPILE)/.ready  ## test on a board, or on an emulated CPU: make device-test TARGET=rpi4 [HOST=pi@board]
	$(COMPILE)/bin/python -m device_tests --target $(if $(HOST),$(TARGET),$(if $(filter host,$(TARGET)),rpi4,$(TARGET))) \
	  $(if $(HOST),--host $(HOST)) $(if $(SMALL),--small) $(if $(KEEP),--keep) $(if $(OUT_GIVEN),--out $(OUT)) \
	  $(if $(ONLY),-k "$(ONLY)")

machine-test: $(COMPILE)/.ready  ## test on a whole emulated board (Debian, systemd, a V4L2 camera): deploy, then break it; 30 minutes
	$(COMPILE)/bin/python -m device_tests.machine --log profiles/reports/machine-virt.log \
	  --report profiles/reports/machine-virt-profile.json
