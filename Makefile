# The two commands that matter are `make run` and `make test`; `make help` lists the rest.
#
# Each target first makes what it needs in .venv, once: the stamp .venv/.with-EXTRA says that
# `pip install -e .[EXTRA]` was done since pyproject.toml last changed.  `dev` has all of them.
#
#     make test ARGS="-k board -x"       passes ARGS on
#     make test PYTHON=python3.12        makes .venv with that Python

VENV ?= .venv
PYTHON ?=
ARGS ?=

BIN := $(VENV)/bin

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python compiles what is imported; to compile all that is installed takes twice the rest.
export PIP_COMPILE := 0
# Tests start some thousand processes, which compile each module once, wherever that may be kept.
export PYTHONPYCACHEPREFIX := $(abspath $(VENV))/bytecode
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SECONDARY:
.PHONY: help run test stress examples bench docs lint types imports coverage clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; \
	do printf '  make %-10s %s\n' "$$name" "$$what"; done

run: $(VENV)/.with-examples ## find molecules that are hard to ionize (the main example)
	$(BIN)/steerio run examples/molecules/search.py $(ARGS)

test: $(VENV)/.with-dev ## run the tests, several at a time
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

stress: $(VENV)/.with-dev ## run the long and heavy tests
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -m stress --timeout=1800 $(ARGS)

examples: $(VENV)/.with-dev ## run every example in its short mode
	$(BIN)/python -m pytest -m example -n auto --dist worksteal --timeout=600 --durations=0 $(ARGS)

bench: $(VENV)/.with-bench ## measure steerio beside its rivals and its floors
	$(BIN)/python -m bench spine $(ARGS)

docs: $(VENV)/.with-docs ## build the documentation site into site/
	@# pyproject.toml asks for MkDocs below 2, so its theme's warning of 2 is no news.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict $(ARGS)

lint: $(VENV)/.with-dev ## check style, format and prose
	$(BIN)/ruff check $(ARGS)
	$(BIN)/ruff format --check $(ARGS)
	$(BIN)/python -m tests.docs.prose

types: $(VENV)/.with-dev ## check types, with mypy and pyright
	$(BIN)/mypy $(ARGS)
	$(BIN)/pyright --pythonpath $(BIN)/python $(ARGS)

imports: $(VENV)/.with-dev ## check that each layer imports only from below
	$(BIN)/lint-imports --no-cache $(ARGS)

coverage: $(VENV)/.with-dev ## check that tests/core covers every branch of core and model
	$(BIN)/coverage run -m pytest tests/core $(ARGS)
	$(BIN)/coverage report

clean: ## remove everything that was made here, .venv included
	rm -rf $(VENV) build dist site .coverage .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@python=$$(.ci/find-python $(PYTHON)) && echo "making $(VENV) with $$python" && \
	"$$python" -m venv --clear $(VENV) && touch $@

$(VENV)/.with-%: $(VENV)/.made pyproject.toml
	@[ $(VENV)/.with-dev -nt pyproject.toml ] || { \
		echo "installing steerio[$*] into $(VENV) (once)"; \
		$(BIN)/python -m pip install --quiet --quiet --editable '.[$*]'; }
	@touch $@
