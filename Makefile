# Tools come from .venv where there is one, else from the environment that is active.
ifneq ($(wildcard .venv/bin/python),)
ifndef VIRTUAL_ENV
export PATH := $(CURDIR)/.venv/bin:$(PATH)
endif
endif

.PHONY: check lint types contracts test format vectors

check: lint types contracts test

lint:
	ruff check .
	ruff format --check .

types:
	pyright

contracts:
	lint-imports

test:
	python -m pytest

# The coded streams of tests/vectors, as new weights ask for.
vectors:
	python tests/vectors/make_vectors.py

format:
	ruff check --fix .
	ruff format .
