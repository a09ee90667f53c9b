# `make help` lists what there is. Two of these are enough for a first look: `make run` and `make test`.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help run test check format golden pictures pins bench chaos clean

help:  ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp  ## Start everything on this machine, make two pictures, serve until Ctrl-C
	@$(BIN)/uxo run

test: $(VENV)/dev.stamp  ## Run every test, on all cores up to four
	@$(BIN)/python -m pytest -n auto --maxprocesses 4

check: $(VENV)/dev.stamp  ## Check form, types, floors, dependencies and spelling
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/deptry .
	@$(BIN)/vulture
	@$(BIN)/codespell

format: $(VENV)/dev.stamp  ## Put the code into form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

pictures: $(VENV)/run.stamp  ## Draw the bundled reference pictures again
	@$(BIN)/python -m deployments.pictures.draw

bench: $(VENV)/dev.stamp  ## Measure the HTTP side beside a bare Ray Serve echo
	@$(BIN)/python -m loadtest.ingress_cost

chaos: $(VENV)/dev.stamp  ## Kill everything for half an hour, and check what was promised from outside
	@PYTHONPATH=tests:. $(BIN)/python -m acceptance.chaos --docs docs

pins: $(VENV)/dev.stamp  ## Pin every dependency again, in constraints.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --python-version 3.11 --all-extras --no-annotate --no-header pyproject.toml -o constraints.txt

clean:  ## Remove the environment and everything a run left behind
	rm -rf $(VENV) var build *.egg-info

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null \
	  || { echo "uxo-serve needs Python 3.11 or 3.12, and $(PYTHON) is $$($(PYTHON) -V 2>&1); name another one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/python.stamp pyproject.toml constraints.txt
	@echo "installing uxo-serve, about 2 GB with PyTorch; this takes a minute or two"
	@$(BIN)/python .ci/install.py -c constraints.txt -e '.[engine]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	@echo "installing the development tools"
	@$(BIN)/python .ci/install.py -c constraints.txt -e '.[engine,dev]'
	@touch $@
