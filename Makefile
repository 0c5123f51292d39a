.DEFAULT_GOAL := help
BIN := .venv/bin
STAMP := .venv/.installed
# Of 2 cores: while a test waits for a process, another computes.
TEST_WORKERS ?= 3

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{split($$1, name, ":"); printf "  make %-18s %s\n", name[1], $$2}'

setup: $(STAMP) ## make .venv with everything (again only when the dependencies changed)

$(STAMP): pyproject.toml constraints.txt deploy/setup.sh
	@deploy/setup.sh
	@touch $@

setup-services: ## install Redis and Chromium for the tests where that needs no password, else name the command
	@deploy/setup-services.sh

demo: setup ## the whole way on this machine: server, model, compression, report
	@$(BIN)/python -m plankwright.demo

# One compute thread for each test: more would wait for the cores that the other test worker uses.
test: export OMP_NUM_THREADS = 1
test: setup setup-services ## the whole test suite, on PostgreSQL and Redis too
	$(BIN)/python -m pytest -m "not serial" -n $(TEST_WORKERS) --dist worksteal
	$(BIN)/python -m pytest -m serial

lint: setup ## ruff, with the format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## put every file in format, mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## mypy --strict
	$(BIN)/mypy

contracts: setup ## which package may import which
	$(BIN)/lint-imports

openapi: setup ## write docs/openapi.json
	$(BIN)/python -m api.openapi > docs/openapi.json

openapi-check: setup ## is docs/openapi.json what the code says
	$(BIN)/python -m api.openapi --check docs/openapi.json

migrations-check: setup ## do the migrations make the tables of the models, on PostgreSQL and SQLite
	$(BIN)/python -m deploy.check_migrations

compose-smoke: setup ## docker-compose.yml up, one small job through it, and down again
	$(BIN)/python -m deploy.compose_smoke

bench: setup ## take every measurement of benchmarks/README.md anew (hours)
	$(BIN)/python -m benchmarks

lock: setup ## resolve constraints.txt anew
	$(BIN)/python -m deploy.lock

clean: ## remove what the other targets made
	rm -rf .venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis

.PHONY: help setup setup-services demo test lint format types contracts openapi openapi-check \
	migrations-check compose-smoke bench lock clean
