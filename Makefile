# Everything from a clean clone with Python 3.11, make and PyPI:
#   make demo   compile, verify and profile the bundled model      make test   lint and the test suite
#   make zoo    networks of others through every command (ESPGEN_ZOO)
#   make prove  the long proofs                                    make clean  remove what was built

PYTHON ?= $(firstword $(shell command -v python3.11 python3))
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

# A folder of reference models and data beside the checkout is used where the environment names no other.
ifndef ESPGEN_DATA
ifneq ($(wildcard ../shared/data/.),)
export ESPGEN_DATA := $(abspath ../shared/data)
endif
endif

ifndef ESPGEN_ZOO
ifneq ($(wildcard ../shared/zoo/.),)
export ESPGEN_ZOO := $(abspath ../shared/zoo)
endif
endif

ifndef ESPGEN_ZOO
ifneq ($(wildcard ../shared/zoo/.),)
export ESPGEN_ZOO := $(abspath ../shared/zoo)
endif
endif

.PHONY: demo test zoo prove lint format readme install clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	touch $@

demo: install
	$(BIN)/espgen demo

test: lint
	$(BIN)/python -m pytest -m "not prove" -n $(JOBS)

prove: install
	$(BIN)/python -m pytest -m prove -n $(JOBS) --junitxml=build/prove.xml; status=$$?; \
	$(BIN)/python tests/prove_report.py docs/proofs.md build/prove.xml; exit $$status

zoo: install
	$(BIN)/python benchmarks/zoo.py --docs docs/zoo.md

FIRMWARE := $(shell find firmware -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name '*.c')

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy --strict espgen
	$(if $(FIRMWARE),$(BIN)/clang-format --dry-run --Werror $(FIRMWARE))

format: install
	$(BIN)/ruff check --fix .
	$(if $(FIRMWARE),$(BIN)/clang-format -i $(FIRMWARE))

readme: install
	$(BIN)/python -m espgen.report.operators README.md

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
