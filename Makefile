SHELL   := /bin/bash
VERSION := 0.1.0
ENGINE  := $(if $(shell command -v nextflow),,.engine/ready)
# A quick start of the engine's Java counts for more than its speed in short runs.
QUICK   := NXF_OPTS='-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'
RUN     := PATH="$(CURDIR)/.venv/bin:$(CURDIR)/bin:$(if $(ENGINE),$(CURDIR)/engine:)$$PATH:$(CURDIR)/.venv-macs3/bin:$(CURDIR)/.venv-celltypist/bin"

.PHONY: help setup peaks-env celltypist-env peers demo test test-full lint nf-core-lint docs images sifs airgap lock clean

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /'

setup: .venv/ready $(ENGINE) ## the Python environment and, where no `nextflow` is on PATH, the engine

.venv/ready: requirements.lock
	@command -v python3 >/dev/null && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "ERROR: Python 3.11 or newer is missing: install it (Debian: apt-get install python3 python3-venv)"; exit 1; }
	python3 -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check uv==0.13.8
	.venv/bin/uv pip install -q --compile-bytecode --python .venv/bin/python --require-hashes -r requirements.lock
	echo "$(CURDIR)/src" > "$$(echo .venv/lib/python3.*/site-packages)/cellpredx.pth"
	touch $@

peaks-env: .venv-macs3/ready ## MACS3, for peak calling without containers

.venv-macs3/ready: containers/macs3.lock .venv/ready
	@command -v gcc >/dev/null || { echo "ERROR: a C compiler is missing, to build MACS3: install it (Debian: apt-get install gcc python3-dev)"; exit 1; }
	python3 -m venv --without-pip .venv-macs3
	.venv/bin/uv pip install -q --python .venv-macs3/bin/python --require-hashes -b containers/macs3.lock -r containers/macs3.lock
	touch $@

celltypist-env: .venv-celltypist/ready ## CellTypist, a baseline beside the model, without containers

.venv-celltypist/ready: containers/celltypist.lock .venv/ready
	python3 -m venv --without-pip .venv-celltypist
	.venv/bin/uv pip install -q --compile-bytecode --python .venv-celltypist/bin/python --require-hashes -r containers/celltypist.lock
	touch $@

.engine/ready: engine/pom.xml
	@command -v java >/dev/null || { echo "ERROR: Java 17 or newer is missing: install it (Debian: apt-get install openjdk-17-jre-headless)"; exit 1; }
	@command -v mvn >/dev/null || { echo "ERROR: neither nextflow nor Maven is on PATH: install one (Debian: apt-get install maven)"; exit 1; }
	mvn -q -B -f engine/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
	    -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/.engine
	touch $@

demo: setup ## the main job on simulated data, without containers; results in results-demo
	@[ -s results-demo/data/sheet.csv ] || $(RUN) cellpredx simulate --scenario demo --outdir results-demo/data
	$(RUN) nextflow -log results-demo/nextflow.log run . -profile test -work-dir results-demo/work \
	    --input results-demo/data/sheet.csv \
	    --annotation results-demo/data/genes.gtf.gz \
	    --chrom_sizes results-demo/data/genome.sizes \
	    --hyperparameters iterations=500 \
	    --baselines all \
	    --umap_cells 50000 \
	    --outdir results-demo
	@echo "Open $(CURDIR)/results-demo/multiqc/multiqc_report.html"

lint: setup ## style, types, workflow
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/hadolint containers/Dockerfile
	$(RUN) ./tests/lint_workflow

# A folder would take in the files of it that are named before it, at its own place.
LONGEST := tests/pipeline/test_scenarios.py tests/pipeline/test_rna.py

test: lint ## everything but real data and containers
	$(RUN) $(QUICK) pytest -q -n 2 --dist loadscope --no-loadscope-reorder \
	    $(LONGEST) tests/unit tests/mistakes $(filter-out $(LONGEST),$(wildcard tests/pipeline/test_*.py))
	@if command -v nf-test >/dev/null; then $(RUN) $(QUICK) nf-test test --ci; \
	else echo "nf-test is not on PATH: $$(ls modules/local/*/tests/*.nf.test tests/*.nf.test | wc -l) suites were not run"; fi

test-full: peaks-env celltypist-env test nf-core-lint images peers ## real data and peers, locally and in Docker; tables go to docs/
	$(RUN) pytest -q tests/exact --exact-table docs/exact.md
	$(RUN) pytest -q tests/real --engines local,docker --table docs/real_data.md
	$(RUN) pytest -q tests/pipeline/test_resume.py --real-tasks
	$(RUN) $(QUICK) python -m tests.interruptions.interrupt --page docs/nothing_lost.md
	$(RUN) python -m benchmarks.agreement --engines docker --page docs/nothing_lost.md
	$(RUN) pytest -q -rs tests/sites --image-dir $(abspath $(IMAGE_DIR))

nf-core-lint: .venv-nf-core/ready $(ENGINE) ## the nf-core linter's checks; .nf-core.yml says which are off
	$(RUN) .venv-nf-core/bin/python tests/nf_core_lint.py

.venv-nf-core/ready: .venv/ready
	.venv/bin/uv venv -q --clear --python .venv/bin/python .venv-nf-core
	.venv/bin/uv pip install -q --python .venv-nf-core/bin/python nf-core==4.2.1
	touch $@

docs: setup ## docs/parameters.md anew from nextflow_schema.json
	.venv/bin/python docs/make_parameters.py > parameters.new && mv parameters.new docs/parameters.md

TARGETS := core torch peaks baselines report

images: ## the images core, torch, peaks, baselines and report
	for target in $(TARGETS); do \
	    $(or $(DOCKER_BUILD),containers/build) containers/Dockerfile . cellpredx-$$target:$(VERSION) --target $$target || exit 1; \
	done

IMAGE_DIR ?= images

sifs: ## the images as .sif in IMAGE_DIR (images), for --image_dir; `make images` first
	containers/sif $(IMAGE_DIR) $(VERSION) $(TARGETS)

BUNDLE ?= cellpredx-$(VERSION)

airgap: .engine/ready ## the folder BUNDLE for a machine without a network; `make images sifs` first, or IMAGE_DIR=docker
	containers/airgap $(BUNDLE) $(VERSION) $(IMAGE_DIR) $(TARGETS)

peers: .venv-peers/ready ## the programs that tests/exact compares with

.venv-peers/ready: .venv/ready
	.venv/bin/uv venv -q --clear --python .venv/bin/python .venv-peers
	.venv/bin/uv pip install -q --python .venv-peers/bin/python snapatac2==2.9.0
	touch $@

COMPILE := uv pip compile --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q

lock: ## requirements.lock and the locks of containers/ anew from pyproject.toml
	{ echo "# Every package at one version, with hashes: the images and the local environment both install from here."; \
	  echo "# Made by \`make lock\` from pyproject.toml."; \
	  $(COMPILE) pyproject.toml --all-extras; \
	} > requirements.new && mv requirements.new requirements.lock
	{ echo "# MACS3 and what builds it, with hashes: the image peaks and \`make peaks-env\` install from here."; \
	  echo "# Made by \`make lock\` from pyproject.toml."; \
	  $(COMPILE) --group macs3; \
	} > macs3.new && mv macs3.new containers/macs3.lock
	{ echo "# CellTypist with a scikit-learn that its trainer knows, with hashes: the image baselines and \`make celltypist-env\`"; \
	  echo "# install from here. Made by \`make lock\` from pyproject.toml."; \
	  $(COMPILE) --group celltypist; \
	} > celltypist.new && mv celltypist.new containers/celltypist.lock

clean: ## what make and the tests left
	rm -rf results-demo .nextflow* .nf-test* work
