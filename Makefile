# The commands of this project. `make demo` and `make test` install what they need (see README.md).
SHELL := /bin/bash
PY := .venv/bin/python
# containerlab's own schema, where a copy lies beside the checkout: the topologies are held against it
export ANYCASTD_CLAB_SCHEMA ?= $(wildcard ../shared/data/clab.schema.json)
# compiled once: else every daemon of the lab, and every process of the tests, compiles everything again
export PYTHONDONTWRITEBYTECODE :=
# three processes for two cores, as some wait; a property test that takes long is handed over to whoever is free
UNIT = $(PY) -m pytest -q -n 3 --dist worksteal -m "not lab and not slow and not soak"
ROOT = @[ "$$(id -u)" = 0 ] || { echo "$@: needs root (network namespaces, routers): sudo make $@" >&2; exit 77; }

.PHONY: help setup install uninstall demo test check unit lab bench compare docs soak format clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: ## install Debian packages (root, only if missing) and .venv
	@.ci/setup

install: ## /opt/anycastd, systemd units, users; starts nothing (root)
	$(ROOT)
	@etc/install

uninstall: ## remove what `make install` put there; configuration and state stay (root)
	$(ROOT)
	@etc/uninstall

demo: ## three POPs with real routers: see traffic, break something, see it heal
	$(ROOT)
	@.ci/setup
	@$(PY) -m anycastd.lab.demo

test: ## everything CI runs: check, then the lab tests with real routers (root)
	$(ROOT)
	@.ci/setup
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory lab

check: ## format, lint, types, imports, unit tests
	@[ -x $(PY) ] || .ci/setup --no-system
	@echo "== format, lint"; .venv/bin/ruff format --check -q . && .venv/bin/ruff check -q .
	@echo "== types"; .venv/bin/mypy
	@echo "== unit tests"; $(UNIT) tests

unit: ## unit tests only
	@$(UNIT) tests

lab: ## lab tests: namespaces, FRR, BIRD, ExaBGP (root)
	$(ROOT)
	@[ -x $(PY) ] || .ci/setup
	@echo "== slow and lab tests"; $(PY) -m tests.lab.side_by_side

soak: ## the long runs (root)
	$(ROOT)
	@$(PY) -m pytest -q -m "soak and not compare" -p no:randomly --timeout 7200 tests

compare: ## the same faults done to us and to our peers, written to README.md and docs/comparison.md (root)
	$(ROOT)
	@[ -x $(PY) ] || .ci/setup
	@export ANYCASTD_PEER_AH="$${ANYCASTD_PEER_AH-$$(tests/compare/peers)}"; \
	ANYCASTD_COMPARED=README.md:docs/comparison.md $(PY) -m pytest -q -m compare -p no:randomly tests/compare

bench: ## measure, and write docs/benchmarks.md (root)
	$(ROOT)
	@[ -x $(PY) ] || .ci/setup
	@$(PY) -m tests.bench.report

docs: ## generate the reference pages
	@$(PY) -m anycastd.config.reference > docs/configuration.md
	@$(PY) -m anycastd.telemetry.reference docs

format: ## put the code in the house format
	@.venv/bin/ruff format -q . && .venv/bin/ruff check -q --fix .

clean: ## remove what setup and tests made inside the checkout
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
