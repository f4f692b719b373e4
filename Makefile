# Everything that a person or CI does here. `make` alone lists it.
# A first `make lab` or `make test` makes .venv; later ones find it done.

PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/ready
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))

.DEFAULT_GOAL := help
.PHONY: help lab test test-browser train model bench notebooks solve lint

help:  ## list what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 15

lab: $(READY)  ## set up and open the workbook in JupyterLab
	$(BIN)/jupyter lab --ServerApp.root_dir='$(CURDIR)' --LabApp.default_url='/lab/tree/$(firstword $(NOTEBOOKS))' $(LAB_OPTIONS)

test: $(READY)  ## set up and run all tests and every notebook
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=600 notebooks

test-browser: $(READY)  ## open the chapters in JupyterLab in a Chromium or Chrome, and run them
	$(BIN)/python -m pytest tests/browser

train: $(READY)  ## train on data/input.txt and write model_weights/trained_gpt2.pth
	$(BIN)/gptlib train --config configs/quick.yaml --out model_weights/trained_gpt2.pth $(TRAIN_OPTIONS)

model: $(READY)  ## train the small model that the chapters use, model_weights/tales.pth (five minutes)
	$(BIN)/gptlib train --config configs/tales.yaml --out model_weights/tales.pth

bench: $(READY)  ## run the benchmarks side by side; BENCH_NANOGPT=FOLDER and BENCH_PEERS=FOLDER add others (bench/README.md)
	@for script in bench/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

notebooks: $(READY)  ## run the notebooks again and keep their outputs, cleaned
	$(BIN)/python tools/refresh_notebooks.py $(NOTEBOOKS)

solve: $(READY)  ## solve every exercise with its reference and run the chapters
	$(BIN)/python -m tools.solve_notebooks

lint: $(READY)  ## check style and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# The file is written last, so that an installation that broke off is done again.
$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none is on the PATH: install one, then run make again."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian and Ubuntu: apt install python3-venv), then run make again."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@$(BIN)/jupyter labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements 2>/dev/null  # no calls out
	@touch $(READY)
