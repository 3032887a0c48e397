# make compare    train in Python and in R, compare, leave pictures in comparison/
# make test       lint, type check, all tests
# Both set up all that they need first (setup.sh).

PYTEST_ARGS ?=
COMPARE_ARGS ?=

.PHONY: compare test quick lint setup clean

compare: setup
	.venv/bin/pyvae compare $(COMPARE_ARGS)

test: lint
	.venv/bin/python -m pytest $(PYTEST_ARGS)

quick: setup
	.venv/bin/python -m pytest -m "not slow" $(PYTEST_ARGS)

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

setup:
	@./setup.sh

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache comparison runs setup.log
