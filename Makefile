# Everything a fresh machine needs: Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs

.PHONY: demo install test test-slow lint format docs verified clean

# the library alone: what `make demo` needs
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $(STAMP)

# and what the tests and the linters need
$(DEV): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(DEV)

# and what the documentation needs
$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $(DOCS)

demo: $(STAMP)
	$(BIN)/jensen demo

install: $(DEV)

test: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(DEV)
	XLA_FLAGS= $(BIN)/python -m pytest -m slow

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest tests/test_structure.py -k "not examples"

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# the documentation, site/index.html; warnings are errors
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# the run of all studies that the documentation shows
verified: $(STAMP)
	$(BIN)/python docs/verified.py

clean:
	rm -rf $(VENV) demo dist site .pytest_cache .ruff_cache
