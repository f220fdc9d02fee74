# Each target makes what it needs; `make test` and `make quickstart` start from a bare checkout.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: quickstart test check lint format types browser clean

quickstart: $(INSTALLED)  ## A 15-trial search on scikit-learn's digits.
	$(BIN)/nni-dream run experiment_configs/digits.yml --working-dir quickstart/experiments --output quickstart

test: $(INSTALLED) browser  ## All tests.
	$(BIN)/python -m pytest

check: lint types  ## What .ci/run asks before the tests.

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The test of NNI's web page drives Debian's chromium.
browser:
	@command -v chromium >/dev/null || sh tools/install_chromium.sh

# setuptools comes first and alone: nnictl needs it at run time, and pip would leave a newer one in place.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools<81" wheel -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[automl,dev]"
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) build quickstart *.egg-info
