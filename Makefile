# make help lists the targets. Everything is installed into .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV   := .venv
OLDEST := .venv-oldest
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
DEMO   := demo
MATRIX ?= 3.11 3.12 3.13
CHECK  := softlabel train tests benchmarks docs examples

.PHONY: help setup demo dev test test-all coverage setup-ci bridges browser test-nnunet test-torchio test-napari test-browser test-oldest test-matrix example lint docs dist bench faults train-oct train-mri clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "softlabel needs Python 3.11 or newer; found $$($(PYTHON) --version). Fix: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) install -c constraints.txt -e '.[itk,dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/.full: $(VENV)/.dev
	$(PIP) install -c constraints.txt -e '.[train,cluster,itk,bench,dev]'
	@touch $@

setup: $(VENV)/.full ## virtual environment with everything: trainer, tests, benchmarks (about 6 GB)

demo: $(VENV)/.core ## phantom data, cache and overlays from nothing (no torch needed)
	rm -rf $(DEMO)
	$(BIN)/softlabel phantom oct $(DEMO)/oct --subjects 2 --bscans 4 --annotated 4 --seed 1
	$(BIN)/softlabel generate $(DEMO)/oct -o $(DEMO)/oct.h5 --superpixel-size 190
	$(BIN)/softlabel info $(DEMO)/oct.h5
	$(BIN)/softlabel verify $(DEMO)/oct.h5
	$(BIN)/softlabel inspect $(DEMO)/oct.h5 -o $(DEMO)/overlays
	@echo
	@echo "The demo is done. Look at:"
	@echo "  $(DEMO)/overlays/   image, superpixels and soft label of every B-scan"
	@echo "  $(DEMO)/oct.h5      the cache (docs/format.md says how to read it without softlabel)"
	@echo "  $(DEMO)/oct/        the phantom data set, in the Duke OCT-DME format"

dev: $(VENV)/.dev ## the quick tests of softlabel itself, without torch and the trainer
	$(BIN)/python -m pytest -q -n 2 -m "not study and not slow" --ignore=tests/train

test: $(VENV)/.full ## the quick tests, in minutes; CI runs these, make test-all has the rest
	$(BIN)/python -m pytest -q -n 2 -m "not study and not slow"
	@echo "Those were the quick tests; make test-all has the rest."

test-all: $(VENV)/.full ## every test except the marked studies
	$(BIN)/python -m pytest -q -n 2 -m "not study" --durations 15

coverage: $(VENV)/.full ## as test-all, and which lines no test ran
	$(BIN)/python -m pytest -q -n 2 -m "not study" --cov --cov-report=term:skip-covered

$(VENV)/.bridges: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[train,cluster,itk,bench,dev,nnunet,torchio,napari,browser]'
	@touch $(VENV)/.core $(VENV)/.dev $(VENV)/.full $@ # all at once, which takes pip less time than one by one

$(VENV)/.ci: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[train,cluster,itk,bench,dev,torchio,browser]'
	@touch $(VENV)/.core $(VENV)/.dev $(VENV)/.full $@

setup-ci: $(VENV)/.ci ## as setup, and the small ones of the bridges: TorchIO and Selenium

bridges: $(VENV)/.bridges ## nnU-Net, TorchIO, napari and Selenium too; the tests of the bridges to them skip without

test-nnunet: $(VENV)/.bridges ## the bridge to nnU-Net with nnU-Net itself, and a short training by its commands
	$(BIN)/python -m pytest -q -n 2 -m "not study" tests/bridges tests/train/test_nnunet.py \
	  tests/cli/test_nnunet.py tests/readers/test_nnunetpreprocessed.py

test-torchio: $(VENV)/.bridges ## the bridge to TorchIO with TorchIO itself
	$(BIN)/python -m pytest -q tests/test_torchio.py

test-napari: $(VENV)/.bridges ## the plugin of napari with napari and Qt; its windows need a display, or xvfb-run
	@if [ -z "$$DISPLAY" ] && command -v xvfb-run > /dev/null; then screen="xvfb-run -a"; fi; \
	  $$screen $(BIN)/python -m pytest -q tests/viewers tests/cli/test_view.py

browser: ## Chromium with its driver, by apt where they are missing
	@command -v chromedriver > /dev/null || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver > /dev/null; } || \
	  { echo "The reports need a browser to be tried in; fix: install Chromium and its driver (Debian: chromium, chromium-driver)."; exit 1; }

test-browser: $(VENV)/.ci browser ## the reports in a headless Chromium
	$(BIN)/python -m pytest -q tests/reports/test_browser.py tests/train/test_report.py

$(OLDEST)/.core: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip --disable-pip-version-check -q install -c constraints-oldest.txt \
	  -e '.[itk]' pytest pytest-xdist hypothesis
	@touch $@

test-oldest: $(OLDEST)/.core ## softlabel's own tests with the oldest libraries it allows, without torch
	$(OLDEST)/bin/python -m pytest -q -n 2 -m "not study" --ignore=tests/train

test-matrix: ## softlabel's own quick tests with every Python of MATRIX that is found, without torch
	@for version in $(MATRIX); do \
	  python=$$(command -v python$$version) && $$python -c "" 2> /dev/null || \
	    { echo "python$$version was not found and is left out"; continue; }; \
	  $$python -m venv .venv-$$version && \
	  .venv-$$version/bin/python -m pip --disable-pip-version-check -q install -c constraints.txt \
	    -e '.[itk]' pytest pytest-xdist hypothesis && \
	  echo "$$($$python --version):" && \
	  .venv-$$version/bin/python -m pytest -q -n 2 -m "not study and not slow" --ignore=tests/train || \
	  exit 1; \
	done

lint: $(VENV)/.full ## ruff (style and format) and mypy
	$(BIN)/ruff check $(CHECK)
	$(BIN)/ruff format --check $(CHECK)
	$(BIN)/mypy

docs: $(VENV)/.docs ## the documentation as a site, in site/; fails on a link to nowhere
	$(BIN)/mkdocs build --strict --clean

dist: $(VENV)/.dev ## sdist and wheel in dist/, tried in environments of their own
	rm -rf dist build
	$(BIN)/python -m build -o dist
	$(BIN)/python tests/dist_check.py dist

example: $(VENV)/.full ## train a network of MONAI with soft labels on synthetic brains, in about a minute
	OMP_NUM_THREADS=1 $(BIN)/python examples/monai_unet.py # more threads wait for each other on a busy machine

bench: $(VENV)/.full ## speed and memory, as ratios to peers, into benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.run

faults: $(VENV)/.full ## kills, full disks, flipped bits, runs that meet, into benchmarks/RESULTS.md
	$(BIN)/python -m tests.faults

train-oct: $(VENV)/.full ## train and evaluate on OCT: phantoms, or DATA=folder of the Duke files
	$(BIN)/softlabel-train train-oct $(if $(DATA),--data "$(DATA)") -o train-oct

train-mri: $(VENV)/.full ## train and evaluate on MRI: phantoms, or DATA=folder of MRBrainS18
	$(BIN)/softlabel-train train-mri $(if $(DATA),--data "$(DATA)") -o train-mri

clean: ## remove the virtual environment, the demo and every cache of the tools
	rm -rf $(VENV) $(VENV)-* $(DEMO) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find softlabel train tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} +
