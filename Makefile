# One command each: `make demo` shows XTiger, `make test` proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PINS := $(shell cat setup.cfg constraints.txt | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.test-$(PINS)
DEMO_STAMP := $(VENV)/.demo-$(PINS)
BENCH_STAMP := $(VENV)/.bench-$(PINS)
# Where Python is told to keep nothing, each of some hundred processes would compile all anew.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test check compiled prove chaos bench format clean

help:
	@echo "make demo    install, start everything, print where to look (Ctrl-C ends it)"
	@echo "make test    install and run every test: formats, types, contracts, databases, browser"
	@echo "make prove   the same suites at their full sizes"
	@echo "make chaos   kill workers 222 times on both databases, then a fleet, and count what Xero holds"
	@echo "make bench   measurements, as ratios within one run (twenty minutes)"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "XTiger needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

# Everything is pinned; an unchanged setup.cfg and constraints.txt install nothing again.
$(STAMP): | $(VENV)/bin/python
	$(INSTALL) -e '.[test]'
	@rm -f $(VENV)/.test-* && touch $@

$(DEMO_STAMP): | $(VENV)/bin/python
	$(INSTALL) -e '.[demo]'
	@rm -f $(VENV)/.demo-* && touch $@

$(BENCH_STAMP): | $(VENV)/bin/python
	$(INSTALL) -e '.[bench]'
	@rm -f $(VENV)/.bench-* && touch $@

demo: $(DEMO_STAMP)
	$(BIN)/xtiger demo $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Compiled tests are kept: pytest's workers would each compile all of them at the same time.
compiled: $(STAMP)
	@$(BIN)/pytest --collect-only --quiet >/dev/null || true

test: $(STAMP) chromium
	@$(MAKE) --no-print-directory --jobs=2 check compiled
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

prove: $(STAMP) chromium check
	XTIGER_PROVE=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --timeout=3600
	$(BIN)/xtiger demo --check
	$(BIN)/xtiger demo --check --scenario retry-in-order
	$(BIN)/xtiger demo --check --scenario crash
	$(BIN)/xtiger demo --check --scenario money
	$(BIN)/xtiger demo --check --scenario mapping
	$(BIN)/xtiger demo --check --scenario first-meeting

chaos: $(STAMP)
	$(BIN)/python -m tests.chaos $(ARGS)

bench: $(BENCH_STAMP)
	$(BIN)/python -m tests.benchmarks $(ARGS)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The browser tests drive Debian's Chromium; as root it is installed if it is missing.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || { \
		test "$$(id -u)" = 0 || { echo "Install Debian's chromium first: sudo apt-get install chromium"; exit 1; }; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

clean:
	rm -rf $(VENV) build dist *.egg-info instance
