# Everything runs in .venv; nothing of the system is changed.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check tests bench large chaos fuzz screenshots messages clean

help: ## Show what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

$(VENV)/bin/python:
	@echo "Making a Python environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# The stamps make a second start install nothing.
$(VENV)/runtime.stamp: requirements.txt | $(VENV)/bin/python
	@echo "Installing requirements.txt into $(VENV), once; it may take a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing requirements-dev.txt into $(VENV), once; it may take some minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/runtime.stamp

run: $(VENV)/runtime.stamp ## Start everything on http://127.0.0.1:8000 (PORT=8001 changes it)
	@PORT=$(PORT) exec $(BIN)/python manage.py runlangbot

test: check tests ## Every check and every test

check: $(VENV)/dev.stamp ## Style, types, layers, templates, migrations, messages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/djlint --check --lint --quiet templates
	bash .ci/checks

tests: $(VENV)/dev.stamp ## The tests; TESTS="-m slow -k adopt" selects
	$(BIN)/python -m pytest -n 2 $(TESTS)

large: $(VENV)/dev.stamp ## Lists over a million runs: queries and times of every page
	LANGBOT_LARGE_ROWS=1000000 $(BIN)/python -m pytest -s tests/runners/test_admin_large.py

bench: $(VENV)/dev.stamp ## The benchmarks, as JSON in benchmarks/results/
	$(BIN)/python -m benchmarks

chaos: $(VENV)/dev.stamp ## The long crash and race campaigns
	$(BIN)/python -m pytest tests/chaos --timeout=900 $(TESTS)

fuzz: $(VENV)/dev.stamp ## Thousands of generated REST requests to a host of its own
	$(BIN)/python -m tests.support.fuzzing

screenshots: $(VENV)/dev.stamp ## The pictures in docs/images/, of a host of its own
	$(BIN)/python -m tests.support.screenshots

messages: $(VENV)/dev.stamp ## Collect and compile the translations (needs gettext)
	$(BIN)/python manage.py makemessages --all --no-obsolete --add-location=file \
	  --ignore=tests --ignore=benchmarks --ignore=data
	$(BIN)/python manage.py compilemessages --ignore=.venv --ignore=.test-env

clean: ## Remove the environment and caches, never the data folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
