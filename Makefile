# make compare    train in Python and in R, compare, leave pictures in comparison/
# make test       lint, type check, all tests
# Both set up all that they need first (setup.sh).

PYTEST_ARGS ?=
# a process for each core, with one thread each: the tests' networks are too small for more
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n auto
COMPARE_ARGS ?=

.PHONY: compare test quick lint setup clean

compare: setup
	.venv/bin/pyvae compare $(COMPARE_ARGS)

test: lint
	$(PYTEST) $(PYTEST_ARGS)

quick: setup
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

setup:
	@./setup.sh

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache comparison runs setup.log
