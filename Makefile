# lwidgets: `make` lists what there is. A second run of any target installs nothing again.
#
#   PYTHON=python3.12    the interpreter that makes the environment (3.11 or newer)
#   VENV=.venv           where the environment goes
#   TORCH_ARGS="..."     extra arguments of the `pip install torch` step, to choose a CPU or CUDA build
#   NO_BROWSER=1         `make demo` prints the address and opens nothing
#   PORT=8888            where `make demo` listens
#   T="..."              extra arguments of pytest, e.g. make unit T="-k barrier -x"
#   N=2                  how many tests run side by side; N=0 for a debugger
#   BASE=main            what `make quick` compares with; the default is the last commit

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8888
TORCH_ARGS ?=
T ?=
N ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); [ $$n -lt 4 ] && echo $$n || echo 4)
BASE ?= HEAD

BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
PYTEST := $(PY) -m pytest --durations=15 --durations-min=1
# A file of tests stays in one process, with what its fixtures made. One thread each: processes that share the cores
# and spin on them wait for each other.
SIDE_BY_SIDE := -n $(N) --dist loadfile
ONE_THREAD := OMP_NUM_THREADS=1
# What T narrows to may all be in the other half: then pytest ends with 5.
OR_NONE = $(if $(T),|| [ $$? -eq 5 ])
FIND_CHROMIUM := command -v chromium || command -v chromium-browser || command -v google-chrome
NODE_MODULES := js/node_modules/.package-lock.json

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# ---------------------------------------------------------------- environment and build

# torch and the build backend come first and alone: what follows finds its torch present and keeps it.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.version_info >= (3, 11) or sys.exit(f"make: PYTHON must be 3.11 or newer, got {v}. Try make PYTHON=python3.12.")'
	@echo "environment: torch into $(VENV)"
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -c constraints.txt $(TORCH_ARGS) torch
	@$(PIP) install -c constraints.txt hatchling
	@touch $@

$(VENV)/.lab: $(VENV)/.torch pyproject.toml
	@$(PY) hatch_build.py
	@echo "environment: lwidgets and JupyterLab into $(VENV)"
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[lab]'
	@touch $@

$(VENV)/.dev: $(VENV)/.lab
	@echo "environment: what the tests need into $(VENV)"
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[lab,dev]'
	@touch $@

$(NODE_MODULES): js/package-lock.json
	@command -v npm >/dev/null || { echo "make: node (>= 20) and npm must be on PATH, got none. Install Node.js." >&2; exit 1; }
	@cd js && npm ci --no-audit --no-fund
	@touch $@

.PHONY: env build system
env: $(VENV)/.dev ## the development environment

build: $(VENV)/.torch ## the JavaScript bundles, if missing or stale
	@$(PY) hatch_build.py

system:
	@tools/system_packages.sh

# ---------------------------------------------------------------- use

.PHONY: demo
demo: $(VENV)/.lab build ## JupyterLab, opened on notebooks/quickstart.ipynb
	@$(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" --ServerApp.port=$(PORT) \
	  --LabApp.default_url=/lab/tree/notebooks/quickstart.ipynb --LabApp.news_url=None \
	  $$([ "$$(id -u)" -ne 0 ] || echo --allow-root) $(if $(NO_BROWSER),--no-browser)

# ---------------------------------------------------------------- checks

.PHONY: test quick hooks lint js lint-and-js unit browser notebooks wheel-test bench clean
test: lint-and-js unit browser notebooks wheel-test ## everything below, as the CI does
	@echo "make test: all passed"

quick: $(VENV)/.dev build ## within a minute: lint, types, and the tests of what differs from BASE
	@$(ONE_THREAD) $(PY) tools/quick.py --base $(BASE) $(T)

hooks: $(VENV)/.dev ## format, lint and types before every commit
	@$(BIN)/pre-commit install

lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

js: $(VENV)/.dev build $(NODE_MODULES) system ## types and tests of js/ (vitest in node and Chromium)
	cd js && npm run check && CHROMIUM="$${CHROMIUM:-$$($(FIND_CHROMIUM))}" npm test

# mypy has one core busy for half a minute; vitest has the other. Either may fail, and both are shown.
lint-and-js: $(VENV)/.dev build $(NODE_MODULES) system
	@log=$$(mktemp); trap 'kill $$js 2>/dev/null || true; rm -f $$log' EXIT; \
	$(MAKE) --no-print-directory js >$$log 2>&1 & js=$$!; \
	failed=0; $(MAKE) --no-print-directory lint || failed=1; \
	wait $$js || failed=1; cat $$log; exit $$failed

unit: $(VENV)/.dev build ## Python tests and doctests
	$(ONE_THREAD) $(PYTEST) $(SIDE_BY_SIDE) -m "not browser and not packaging and not alone" $(T) $(OR_NONE)
	$(ONE_THREAD) $(PYTEST) -m "alone and not browser and not packaging" $(T) $(OR_NONE)

browser: $(VENV)/.dev build system ## tests in a real JupyterLab and Notebook 7
	$(PYTEST) $(SIDE_BY_SIDE) tests/browser -m browser $(T)

notebooks: $(VENV)/.dev build ## every notebook, run from top to bottom
	$(ONE_THREAD) $(PYTEST) $(SIDE_BY_SIDE) --nbmake --nbmake-timeout=600 --timeout=900 notebooks $(T)

wheel-test: $(VENV)/.dev build ## the wheel in an empty environment, without node
	$(PYTEST) tests/packaging -m packaging $(T)

# landscaper asks for topology packages that want an old numpy; its sampling needs none of them.
$(VENV)/.bench: $(VENV)/.dev
	@echo "environment: the peers of the benchmarks into $(VENV)"
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[lab,dev,bench]'
	@$(PIP) install -c constraints.txt --no-deps landscaper
	@touch $@

bench: $(VENV)/.bench build ## every script in benchmarks/
	for script in benchmarks/*.py; do echo "== $$script"; $(PY) $$script; done

clean: ## everything that was built or installed here
	rm -rf $(VENV) js/node_modules js/dist js/labextension/node_modules js/labextension/lib lwidgets/static/*.js lwidgets/static/*.js.map lwidgets/labextension \
	  build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/browser/.failures
	find lwidgets tests notebooks benchmarks tools \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} + 2>/dev/null || true
