# `make help` lists what there is. Everything runs from .venv, which scripts/bootstrap makes and keeps up to date.

VMHA   := .venv/bin/vmha
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
CHAOS_ARGS ?= --seed 1 --rounds 20
# A test that hangs says where, and ends the run, instead of holding it up for ever. $(PYTEST_ARGS) is yours.
LIMITS := -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true --durations=15

.DEFAULT_GOAL := help
.PHONY: help demo check test fmt lint docs lab sim chaos model mutants bench scale compose-test man deb sbom audit lock run-ready dev-ready

help:
	@echo 'make demo    a true story on this machine in two minutes: three hosts, one vm, one power cut'
	@echo 'make test    all tests: unit, contract, real etcd and libvirt, simulation, lab (less than half an hour)'
	@echo 'make check   the fast part of them, with lint, types and import contracts (under a minute)'
	@echo
	@echo 'make fmt     put the code into shape'
	@echo 'make lint    say what is not'
	@echo 'make docs    these pages as HTML, in docs/_build/html; a link that leads nowhere is an error'
	@echo 'make lab     only the tests that build hosts'
	@echo 'make sim     a thousand lives of simulated clusters with a thousand faults each (some eleven minutes on two cores)'
	@echo 'make chaos   break a cluster of real hosts, round after round: $(CHAOS_ARGS)'
	@echo 'make model   every state of small clusters, explored (minutes); make mutants: lives that show a missing check'
	@echo 'make bench   measure, and print ratios'
	@echo 'make scale   10,000 vms on 500 nodes, one leader, one etcd: what grows, and how far (minutes); SCALE_ARGS="--agents real"'
	@echo 'make sbom    what vmha is made of (CycloneDX); make audit: whether a vulnerability is known of any of it'
	@echo 'make deb     build a Debian package for this machine: dist/vmha_*.deb'
	@echo 'make compose-test   build the container images, and break a cluster made of them (minutes, with a Docker engine)'
	@echo
	@echo 'Each installs what it needs first (as root; otherwise it says what is missing).'

demo: run-ready
	@$(VMHA) demo

check: lint
	@$(PYTEST) tests/unit $(LIMITS) $(PYTEST_ARGS)

test: lint
	@scripts/suite $(PYTEST_ARGS)

fmt: dev-ready
	@$(PYTHON) -m ruff check --quiet --fix-only .
	@$(PYTHON) -m ruff format .

lint: dev-ready
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check --quiet . || { echo 'not in shape: make fmt'; exit 1; }

docs: dev-ready
	@$(PYTHON) scripts/reference.py
	@$(PYTHON) -m sphinx -q -n -W --keep-going -d docs/_build/doctrees -b html docs docs/_build/html
	@echo docs/_build/html/index.html

lab: dev-ready
	@$(PYTEST) -m lab $(LIMITS) $(PYTEST_ARGS)

chaos: run-ready
	@$(VMHA) lab chaos $(CHAOS_ARGS)

sim: run-ready
	@$(VMHA) sim --seeds 1000 --steps 1000 --nodes 3-9 --vms 4-6 --jobs $$(nproc) $(SIM_ARGS)

model: dev-ready
	@$(PYTHON) -m tests.model --nodes 1 --faults 1
	@$(PYTHON) -m tests.model --nodes 2 --faults 1
	@$(PYTHON) -m tests.model --nodes 3 --faults 1
	@$(PYTHON) -m tests.model --nodes 2 --faults 2 --kinds freeze,stall,lease,crash

mutants: dev-ready
	@$(PYTHON) -m tests.mutation.search

bench: dev-ready
	@$(PYTHON) -m bench

scale: dev-ready
	@$(PYTHON) -m bench.scale $(SCALE_ARGS)

compose-test: dev-ready
	@scripts/with-engine sh -c 'scripts/images && $(PYTEST) -m compose tests/compose $(LIMITS) $(PYTEST_ARGS)'

# One page a verb, made from the command line itself: man -l build/man/vmha-vm.1
man: run-ready
	@$(PYTHON) scripts/man.py build/man

deb: dev-ready
	@scripts/deb

# What vmha is made of, as CycloneDX; and whether a vulnerability is known of any of it (needs the network).
sbom: dev-ready
	@mkdir -p dist && $(PYTHON) scripts/sbom.py > dist/vmha.cdx.json && echo dist/vmha.cdx.json

audit: dev-ready
	@$(PYTHON) scripts/audit.py

# After a change of the dependencies in pyproject.toml: install, test, then write down what passed.
lock: dev-ready
	@$(PYTHON) scripts/lock.py > requirements.lock.new && mv requirements.lock.new requirements.lock

run-ready:
	@scripts/bootstrap run

dev-ready:
	@scripts/bootstrap dev
