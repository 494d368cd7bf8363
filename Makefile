# make help lists the targets. Everything is installed into .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV   := .venv
OLDEST := .venv-oldest
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
DEMO   := demo
CHECK  := softlabel train tests benchmarks docs

dev: $(VENV)/.dev ## the quick tests of softlabel itself, without torch and the trainer
	$(BIN)/python -m pytest -q -n 2 -m "not study and not slow" --ignore=tests/train

test: $(VENV)/.full ## the quick tests, in minutes; make test-all has the rest
	$(BIN)/python -m pytest -q -n 2 -m "not study and not slow"
	@echo "Those were the quick tests; make test-all has the rest."

test-all: $(VENV)/.full ## every test except the marked studies; CI runs these
	$(BIN)/python -m pytest -q -n 2 -m "not study" --durations 15

coverage: $(VENV)/.full ## as test-all, and which lines no test ran
	$(BIN)/python -m pytest -q -n 2 -m "not study" --cov --cov-report=term:skip-covered

$(OLDEST)/.core: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip --disable-pip-version-check -q install -c constraints-oldest.txt \
	  -e '.[itk]' pytest pytest-xdist hypothesis
	@touch $@

test-oldest: $(OLDEST)/.core ## softlabel's own tests with the oldest libraries it allows, without torch
	$(OLDEST)/bin/python -m pytest -q -n 2 -m "not study" --ignore=tests/train

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

bench: $(VENV)/.full ## speed and memory, as ratios to peers, into benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.run

train-oct: $(VENV)/.full ## train and evaluate on OCT: phantoms, or DATA=folder of the Duke files
	$(BIN)/softlabel-train train-oct $(if $(DATA),--data "$(DATA)") -o train-oct

clean: ## remove the virtual environment, the demo and every cache of the tools
	rm -rf $(VENV) $(OLDEST) $(DEMO) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find softlabel train tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} +
