# What developers run. `make` alone lists it. The first call sets up .venv by itself (tools/bootstrap.sh).
RUN := .venv/bin/python
# Each contains the ones before it and is held to their versions.
SETS := requirements requirements/charts requirements/snapshots requirements/demo requirements/dev
# A worker that is done takes tests from those that are not (pytest-xdist). How many workers: tests/services.py.
TESTS := $(RUN) -m pytest -n auto --dist worksteal
# Byte code is kept, whatever the environment says: tests start dozens of our programs.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup-demo setup-dev demo demo-reset test test-sandbox lint docs docs-links screenshots format messages requirements sbom bundle bench journey chaos nightly

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

setup-demo:
	@tools/bootstrap.sh demo

setup-dev:
	@tools/bootstrap.sh dev

demo: setup-demo ## the whole product on this machine: web, worker, beat, PostgreSQL, Valkey and a sandbox in WeCom's place
	@$(RUN) -m tools.demo

demo-reset: setup-demo ## throw the demo's data away; the next `make demo` starts afresh
	@$(RUN) -m tools.demo --reset

test: setup-dev ## all tests; PYTEST="tests/accounts -k name" narrows
	@$(TESTS) $(PYTEST)

test-sandbox: setup-dev ## the sandbox's own tests, which need no database; `make test` contains them
	@$(TESTS) tests/sandbox $(PYTEST)

journey: setup-dev ## count clicks, fields and pages of the ways through the product (docs/en/journeys.md)
	@$(TESTS) -m journey $(PYTEST)

lint: setup-dev ## formatting, rules, sizes, types, import contracts, security, templates, migrations, translations, pins
	@$(RUN) -m tools.lint

docs: setup-dev ## build the guides of both languages into docs/_build/html, warnings as errors; docs-links checks external links
	@$(RUN) -m tools.guides

docs-links: setup-dev
	@$(RUN) -m tools.guides linkcheck

screenshots: setup-dev ## take the pictures of the guides in both languages from a running `make demo`
	@$(RUN) -m tools.screenshots

format: setup-dev ## put Python and templates into the common format
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix-only --exit-zero --quiet .

messages: setup-dev ## bring the Chinese catalogues up to the code and compile them
	$(RUN) tools/catalogues.py update
	$(RUN) tools/catalogues.py compile

requirements: setup-dev ## pin the .in files of requirements with hashes; UPGRADE=1 takes newer versions
	@for set in $(SETS); do $(RUN) -m uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements" \
		$(if $(UPGRADE),--upgrade) $$set.in -o $$set.txt || exit; done

sbom: setup-dev ## write sbom/*.cdx.json: every package that is pinned, as CycloneDX
	@mkdir -p sbom
	@for set in $(SETS); do $(RUN) -m cyclonedx_py requirements --output-reproducible --short-PURLs \
		--pyproject pyproject.toml -o sbom/$$(basename $$set).cdx.json $$set.txt || exit; done

bundle: setup-dev ## make dist/guanwecom-….tar.gz, which installs the committed code without internet; SNAPSHOTS=1: with page pictures
	@$(RUN) -m tools.bundle $(if $(SNAPSHOTS),--snapshots)

bench: setup-dev ## measure the WeCom client, signing in, the push engine, charts and pages
	@$(RUN) -m benchmarks

chaos: setup-dev ## kill and break everything at random, and count what arrived; ROUNDS=100 SEED=1 TOWNS=3 as wished
	@$(RUN) -m tests.chaos --rounds $(or $(ROUNDS),100) --towns $(or $(TOWNS),1) $(if $(SEED),--seed $(SEED))

nightly: setup-dev ## all tests with 10,000 examples, every page and a million receipts; chaos. Each part runs, whatever failed before
	@failed=; \
	HYPOTHESIS_PROFILE=nightly $(TESTS) || failed=1; \
	$(RUN) -m tests.chaos --rounds $(or $(ROUNDS),100) $(if $(SEED),--seed $(SEED)) || failed=1; \
	test -z "$$failed"
