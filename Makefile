# Two commands matter: `make demo` shows the whole thing, `make test` proves it.
# Both set up .venv from nothing first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where torch comes from, e.g. TORCH_PIP_ARGS="--index-url <a CPU wheel index>".
TORCH_PIP_ARGS ?=
PYTEST_ARGS ?= -n 2
# Of the programs that the benchmarks compare with, and of the plots.
BENCH_VENV := .venv-bench
BENCH_ARGS ?=
# Such as `--documents 2000 --model hashing`, to try a run out.
ACCEPTANCE_ARGS ?=

export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY := 1
export DAGSTER_DISABLE_TELEMETRY := 1
# Where an image sets it, each program that a test starts would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

# What has to hold on several machines; all but those that take minutes are in `make test` too.
SCALE_TESTS := sync_pipeline_tests/scale sync_pipeline_tests/defs/test_dead_runs.py \
	sync_pipeline_tests/defs/test_groups.py sync_pipeline_tests/hosting/test_group_weight.py \
	sync_pipeline_tests/stores/test_cluster.py sync_pipeline_tests/engine/test_cluster.py \
	sync_pipeline_tests/deploy

.PHONY: help setup demo dev test fast check format docs soak chaos bench bench-service bench-canaries bench-retrieval bench-backup bench-row-bytes bench-embedding-pace bench-runtimes bench-landing bench-against scale scale-tenants landing bench-full model-change acceptance-tools clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or later is needed"'
	# Half an environment, as Debian makes without its package python3-venv, would be taken for one.
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	# torch first and pinned: unpinned it brings gigabytes of CUDA.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_PIP_ARGS) torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

setup: $(VENV)/.ready ## Create VENV (.venv) with PYTHON (python3) and install everything

demo: setup ## Embedded services, sample catalogue, full sync, three searches
	$(BIN)/sync-pipeline demo

dev: setup ## Dagster UI, daemon and embedded database
	$(BIN)/sync-pipeline dev

test: setup ## The whole test suite
	$(BIN)/python -m pytest $(PYTEST_ARGS)

soak: SECONDS ?= 3600
soak: setup ## The state machine for SECONDS=3600; prints seeds, SYNC_PIPELINE_SOAK_SEED repeats one
	SYNC_PIPELINE_SOAK_SECONDS=$(SECONDS) $(BIN)/python -m pytest -s sync_pipeline_tests/reliability/test_state_machine.py

chaos: SECONDS ?= 600
chaos: setup ## Kill twenty times at every call, then command line and dev for SECONDS=600 each
	SYNC_PIPELINE_CHAOS=20 SYNC_PIPELINE_CHAOS_SECONDS=$(SECONDS) $(BIN)/python -m pytest --timeout 7200 sync_pipeline_tests/reliability/test_crashes.py sync_pipeline_tests/reliability/test_model_change.py sync_pipeline_tests/reliability/test_chaos.py sync_pipeline_tests/reliability/test_live_dev.py

fast: setup ## The tests that need nothing but this process, in a minute
	$(BIN)/python -m pytest -q -m fast $(PYTEST_ARGS)

check: setup ## Format, lint, types, import contracts, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -m fast $(PYTEST_ARGS)

format: setup ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BENCH_VENV)/.ready: benchmarks/requirements.txt
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_PIP_ARGS) torch==2.13.0
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	touch $@

bench: setup $(BENCH_VENV)/.ready ## Measure on this machine, in a few minutes
	$(BIN)/python -m benchmarks.run --suite quick $(BENCH_ARGS)

bench-service: setup ## Measure searches through the HTTP service under load, then renew docs/service.md
	$(BIN)/python -m benchmarks.run --only service --out benchmarks/results/service $(BENCH_ARGS); status=$$?; \
	$(BIN)/python -m benchmarks.service_tables && exit $$status

bench-retrieval: setup ## Measure retrieval quality by fusion, then renew docs/search-quality.md
	$(BIN)/python -m benchmarks.run --only retrieval --out benchmarks/results/retrieval $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.quality_tables

bench-canaries: setup ## Measure what canary vectors tell apart
	$(BIN)/python -m benchmarks.run --only canaries --out benchmarks/results/canaries $(BENCH_ARGS)

bench-backup: setup ## Measure dump, restore and rebuilding from the cache
	$(BIN)/python -m benchmarks.run --only backup --out benchmarks/results/backup $(BENCH_ARGS)

bench-row-bytes: setup ## Measure bytes per row, vector and run, for `plan --scale`
	$(BIN)/python -m benchmarks.run --only row_bytes --out benchmarks/results/row_bytes $(BENCH_ARGS)

bench-embedding-pace: setup ## Measure how much of a service's limits several processes use
	$(BIN)/python -m benchmarks.run --only embedding_pace --out benchmarks/results/embedding_pace $(BENCH_ARGS)

bench-runtimes: setup ## Measure what the runtimes of the model take, then renew docs/embedding.md
	$(BIN)/python -m benchmarks.run --only runtimes --only beside_embedding --out benchmarks/results/runtimes $(BENCH_ARGS); status=$$?; \
	$(BIN)/python -m benchmarks.runtime_tables && exit $$status

bench-landing: setup $(BENCH_VENV)/.ready ## Measure landings beside dlt, then renew docs/landing-speed.md
	$(BIN)/python -m benchmarks.run --only landing --only landing_beside_loader --out benchmarks/results/landing $(BENCH_ARGS); status=$$?; \
	$(BIN)/python -m benchmarks.landing_tables && exit $$status

landing: setup ## Land 109,000 products with twenty kills, and 6,000 tools with four views; keeps its numbers
	SYNC_PIPELINE_LANDING_PRODUCTS=109000 SYNC_PIPELINE_LANDING_TOOLS=6000 \
	SYNC_PIPELINE_LANDING_RESULTS=benchmarks/results/landing/runs.jsonl \
	$(BIN)/python -m pytest -s sync_pipeline_tests/landing/test_hostile_system.py sync_pipeline_tests/landing/test_rest_catalogue.py sync_pipeline_tests/landing/test_tools_directory.py

bench-against: setup ## What a change costs: this checkout and OTHER=../before, both at once
	$(BIN)/python -m benchmarks.against $(OTHER) $(BENCH_ARGS)

bench-full: setup $(BENCH_VENV)/.ready ## Measure everything, then renew docs/performance.md
	$(BIN)/python -m benchmarks.run --suite full $(BENCH_ARGS); status=$$?; \
	$(BIN)/python -m benchmarks.page && $(BENCH_VENV)/bin/python -m benchmarks.plots && exit $$status

model-change: setup ## Change the model of 55,000 documents: kills, a writer, a reader; ACCEPTANCE_ARGS
	$(BIN)/python -m benchmarks.acceptance.model_change $(ACCEPTANCE_ARGS)
	$(BIN)/python -m benchmarks.acceptance.page

scale: setup ## Several machines: acceptance tests on hosts in namespaces, then fan-out
	SYNC_PIPELINE_SCALE=1 $(BIN)/python -m pytest $(SCALE_TESTS)
	$(BIN)/python -m benchmarks.acceptance.fan_out $(ACCEPTANCE_ARGS)
	$(BIN)/python -m benchmarks.acceptance.page

scale-tenants: setup ## Measure groups of small tenants, and a night of 10,000; ACCEPTANCE_ARGS
	$(BIN)/python -m benchmarks.acceptance.many_tenants $(ACCEPTANCE_ARGS)

acceptance-tools: setup ## Change 6,000 records with four views, and count at the provider
	$(BIN)/python -m benchmarks.acceptance.tools_catalogue $(ACCEPTANCE_ARGS)
	$(BIN)/python -m benchmarks.acceptance.page

# Works without the environment too. A server whose folder goes away under it would end within a
# minute, and take the socket of the next one in the same folder along.
clean: ## Stop the embedded services, then remove their data and the environment
	@folder=$$(cd .sync-pipeline/postgres 2>/dev/null && pwd -P) || exit 0; \
	pid=$$(head -n 1 "$$folder/postmaster.pid" 2>/dev/null); \
	{ cat "/proc/$$pid/cmdline" 2>/dev/null || ps -o args= -p "$$pid" 2>/dev/null; } \
		| tr '\0' ' ' | grep -q -F "postgres -D $$folder" || exit 0; \
	echo "Stopping the embedded PostgreSQL (process $$pid)"; \
	kill -INT "$$pid"; waited=0; \
	while kill -0 "$$pid" 2>/dev/null && test -e "$$folder/postmaster.pid"; do \
		sleep 1; waited=$$((waited + 1)); test $$waited -ne 30 || kill -QUIT "$$pid"; \
		test $$waited -lt 60 || { echo "It does not stop; nothing was removed"; exit 1; }; \
	done
	rm -rf $(VENV) .sync-pipeline
