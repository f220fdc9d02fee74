# Each target makes what it needs; `make test` and `make quickstart` start from a bare checkout.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: quickstart test pythons check lint format types browser sshd clean

quickstart: $(INSTALLED)  ## A 15-trial search on scikit-learn's digits.
	$(BIN)/nni-dream run experiment_configs/digits.yml --working-dir quickstart/experiments --output quickstart

test: $(INSTALLED) browser sshd  ## All tests.
	$(BIN)/python -m pytest

pythons:  ## What needs no torch, on every Python from 3.10 to 3.13 that is found.
	tools/test_pythons.sh

check: lint types  ## What .ci/run asks before the tests.

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# NumPy's own types need Python 3.11; for 3.10 there are ruff's target version and `make pythons`.
types: $(INSTALLED)
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.13

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The test of NNI's web page drives Debian's chromium.
browser:
	@command -v chromium >/dev/null || sh tools/install_chromium.sh

# The test of NNI's remote service starts SSH servers of its own.
sshd:
	@test -x /usr/sbin/sshd -a -d /run/sshd || sh tools/install_sshd.sh

# setuptools comes first and alone: nnictl needs it at run time, and pip would leave a newer one in place.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c "import ensurepip, venv" || sh tools/install_venv.sh
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools<81" wheel -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[automl,dev]"
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) .pythons build quickstart *.egg-info
