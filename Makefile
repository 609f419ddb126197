# Each target works alone on a machine that has Python >= 3.11, pip and make; a second run skips what is done.
PYTHON ?= python3
DATA ?= $(ETUDE_DATA)
BIN := .venv/bin

.PHONY: demo test slow lint claims bench sweep docs clean

demo: .venv/.installed  ## every method once, on embedded models and samples; writes runs/demo/index.html
	$(BIN)/etude models pull
	$(BIN)/etude demo

test: .venv/.installed-dev  ## the quick suite, on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal

slow: .venv/.installed-dev  ## the long tests, on two cores
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal

lint: .venv/.installed-dev  ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports

claims: .venv/.installed-dev  ## every claim at laptop scale; DATA=DIR holds one folder per method
	$(BIN)/etude claim --all $(if $(DATA),--data $(DATA)) --save docs/results
	$(BIN)/etude report

bench: .venv/.installed-dev  ## every benchmark against its peers, as ratios; writes docs/benchmarks.md
	$(if $(DATA),ETUDE_TEST_DATA=$(DATA)) $(BIN)/python -m benchmarks all --save docs/results/benchmarks; \
	status=$$?; $(BIN)/python docs/generate.py; exit $$status

sweep: .venv/.installed-dev  ## every verb killed, out of space, fed damage; resumable, in runs/reliability
	$(BIN)/python -m tests.reliability

docs: .venv/.installed-dev  ## the generated parts of README and docs from catalogue and results; the site in site/
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

clean:
	rm -rf .venv runs site

.venv/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/.installed-dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[all,dev]"
	touch $@
