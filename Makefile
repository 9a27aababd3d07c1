# make app    set up, then open the app          make test   set up, then run the tests
# make lint   style and types                    make help   this

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help app test lint clean

help:
	@sed -n 's/^# //p' Makefile

app: $(VENV)/.run
	$(BIN)/streamlit run app.py

test: $(VENV)/.dev
ifdef PYTEST_ARGS
	$(BIN)/python -m pytest $(PYTEST_ARGS)
else
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/browser
	$(BIN)/python -m pytest tests/browser
endif

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "agegender needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.run: $(VENV)/.made requirements.txt
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

# Where the lock file was written for this Python and platform, what is installed is what it names, by hash. pip
# takes no hashes as constraints of ranges; so it installs the lock first, and then finds that to be enough.
$(VENV)/.dev: $(VENV)/.made $(wildcard requirements*.txt)
	if test "$$($(BIN)/python tools/write_lock.py --platform)" = "$$(head -n 1 requirements-lock.txt)"; \
	then $(BIN)/python -m pip install --quiet --require-hashes -r requirements-lock.txt; fi
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $(VENV)/.run $@

clean:
	rm -rf $(VENV)
