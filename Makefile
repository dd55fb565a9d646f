# Everything a fresh machine needs is Python 3.11+ and a package registry.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: setup demo test lint bench lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Headwater needs Python 3.11 or newer; none was found. Install one, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) has no ensurepip; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/python -c "import recsys.step"  # compiles the core's kernels, which numba then keeps
	@touch $(STAMP)

demo: setup
	@$(BIN)/headwater demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Two files at a time: many tests wait for a broker or for a process to start. Each side has a Kafka and a Redis.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile

bench: setup
	@$(BIN)/headwater bench

# Pins every package with its hashes, for all platforms, and names no registry.
lock:
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .headwater build *.egg-info
