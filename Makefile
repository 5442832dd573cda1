# make demo, make test: all that a newcomer needs. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RESULTS ?= benchmarks/results/$(shell nproc)-cores.json
SEED ?= 1
# Tests at once. Most of their time they wait, for processes to start and for leases to run out.
JOBS ?= 4
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-host test-fleet molecule unit chaos lint ansible-lint format bench bench-quick bench-check bench-fleet docs lock wheel deb deb-check images clean

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; found " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "The venv module is missing: apt-get install python3-venv"; exit 1; }
	@command -v git >/dev/null || { echo "git is missing: apt-get install git"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.tests: requirements/test.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/test.txt
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.tests
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/bench.txt
	@touch $@

$(VENV)/.go: requirements/go.txt | $(VENV)/bin/python
	@command -v go >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/go.txt
	@touch $@

$(VENV)/.ansible: requirements/ansible.txt $(VENV)/.tests
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/ansible.txt
	@touch $@

$(VENV)/.molecule: requirements/molecule.txt $(VENV)/.ansible
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/molecule.txt
	@touch $@

demo: $(VENV)/.runtime  ## Run the whole thing once: Redis, control server, worker, tasks, results
	$(BIN)/python -m runqy_worker.development.demo

test: $(VENV)/.tests $(VENV)/.go lint  ## Lint, type-check and test everything that needs no booted host
	$(PYTEST)

test-host: $(VENV)/.tests  ## Test units and packages on booted Debian 12 and 13; needs root, systemd-container and mmdebstrap
	PYTHONPATH=tests $(BIN)/python -m host.needs
	$(BIN)/python -m pytest tests/host --numprocesses 2 --dist loadgroup

test-fleet: $(VENV)/.molecule  ## Test the Ansible collection's playbooks on several booted hosts; needs the same
	PYTHONPATH=tests $(BIN)/python -m host.needs
	$(BIN)/python -m pytest tests/fleet --numprocesses 2 --dist loadfile

molecule: $(VENV)/.molecule  ## Try the Ansible collection on booted machines. SCENARIO=deb MOLECULE_DRIVER=nspawn (quicker, as root)
	PYTHONPATH=tests:packaging $(BIN)/python -m fleet.run $(SCENARIO)

unit: $(VENV)/.tests  ## Only the quick tests
	$(BIN)/python -m pytest tests/unit

chaos: $(VENV)/.tests $(VENV)/.go  ## Injure a running system for a long time, and account for every task. SEED=1
	rm -rf build/chaos
	RUNQY_CHAOS_REPORTS=$(CURDIR)/build/chaos $(PYTEST) tests/chaos --chaos-long --chaos-seed $(SEED)
	PYTHONPATH=tests $(BIN)/python -m chaos.summary build/chaos --seed $(SEED)

lint: $(VENV)/.tests  ## Style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ansible-lint: $(VENV)/.ansible  ## Lint the Ansible collection, and build it
	cd ansible && PATH="$(CURDIR)/$(BIN):$$PATH" yamllint --strict . && PATH="$(CURDIR)/$(BIN):$$PATH" ansible-lint
	$(BIN)/ansible-galaxy collection build --force --output-path dist ansible

format: $(VENV)/.tests  ## Let ruff lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench  ## Measure for a quarter of an hour, store the figures, and show them in docs/performance.md
	$(BIN)/python -m benchmarks --json $(RESULTS)
	$(BIN)/python -m benchmarks.picture $(RESULTS)
	$(BIN)/python -m benchmarks.page $(RESULTS)

bench-quick: $(VENV)/.tests  ## Measure for a minute, and print the figures
	$(BIN)/python -m benchmarks --quick

bench-check: $(VENV)/.tests  ## Compare the worker's speed, relative to reference loops, with the stored one
	$(BIN)/python -m benchmarks.check

bench-fleet: $(VENV)/.tests  ## Measure what a thousand simulated workers cost Redis, for half an hour, and show it in docs/scaling.md
	$(BIN)/python -m benchmarks.fleet --json benchmarks/results/fleet-2-cores.json
	$(BIN)/python -m benchmarks.fleet.page

docs: $(VENV)/.runtime  ## Write the generated pages
	$(BIN)/python -m runqy_worker.config.reference > docs/configuration.md
	$(BIN)/python -m runqy_worker.telemetry.metrics_page > docs/metrics.md
	$(BIN)/python packaging/role_readme.py

lock: $(VENV)/.tests  ## Pin all requirements anew, with hashes
	$(BIN)/python packaging/lock.py

wheel: $(VENV)/.tests  ## Build dist/*.whl, with the man page and completions in it
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

deb: $(VENV)/.tests  ## Build dist/*.deb for Debian 12 and 13, each in a chroot of its suite (needs root)
	$(BIN)/python packaging/deb.py

deb-check: $(VENV)/.tests  ## Build each package twice and compare them to the last bit
	$(BIN)/python packaging/deb.py --twice

images:  ## Build the container images with all their tags. IMAGE=registry/name BUILD="--push ..."
	$(PYTHON) packaging/images.py $(if $(IMAGE),--name $(IMAGE)) $(BUILD)

clean:  ## Remove what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
