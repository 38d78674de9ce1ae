# Everything sets itself up: a virtual environment in .venv, made once per kind of install.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1

.PHONY: demo test test-lowest check bench study clean

demo: .venv/.demo ## install, enable, run Multi-IF's packaged sample in 8 languages on a real chat model
	@bash .ci/demo.sh $(BIN)

test: .venv/.dev ## all tests
	@bash .ci/browser.sh
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-lowest: ## tests with the lowest versions of what pyproject.toml names, in .venv-lowest
	@bash .ci/lowest.sh $(TESTS)

check: .venv/.dev ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: .venv/.dev ## what is fast, each figure a ratio against a named baseline
	$(BIN)/python -m benchmarks

study: .venv/.dev ## does swapping carry a skill into another language? benchmarks/cross_lingual; goes on where it was
	$(BIN)/python -m benchmarks.cross_lingual

clean: ## remove the environment and everything built
	rm -rf .venv .venv-lowest build dist *.egg-info demo-output

# torch first and pinned: a bare torch may bring gigabytes of CUDA libraries.
.venv/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "turnswap needs Python 3.11 or newer; name one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch==2.13.0
	@touch $@

.venv/.demo: .venv/.torch pyproject.toml
	$(BIN)/pip install --quiet -e '.[demo]'
	@touch $@

.venv/.dev: .venv/.torch pyproject.toml
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@ .venv/.demo
