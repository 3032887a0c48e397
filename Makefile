# make compare    train in Python and in R, compare, leave pictures in comparison/
# make test       lint, type check, all tests, R CMD check of the R package
# make quick      the fast tests, without R: a minute and a half
# make benchmark  how fast it is, beside plain loops and the machine's limits, in benchmarks/ (eight
#                 minutes; make benchmark-quick: one)
# make vignettes  computes the R package's vignettes anew, with Python: five to ten minutes
# make site       the documentation as a site, in build/site
# make site-r     the R package's reference beside it, in build/site/r (needs R's pkgdown)
# make long       what takes long: fifty killed runs, thousands of steps through R, 200 starts of it,
#                 all the noises and planted mistakes of which make test has a part
# make coverage   which lines and branches the tests go through (half an hour)
# make mutants    which small mistakes in losses, draws, layers and agreement no test sees (hours)
# make fuzz       a minute of spoiled files for every reader (FUZZ_SECONDS)
# All set up what they need first (setup.sh).

PYTEST_ARGS ?=
# a process for each core, with one thread each: the tests' networks are too small for more; each
# begins with tests that stand together, which share what they need, and takes others' when it is idle;
# compiled modules are kept, whatever the shell says, as tests start many Pythons; R does not compile,
# which takes it longer than what it computes in them and changes no result (make long: it does)
PYTEST = env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 R_ENABLE_JIT=0 .venv/bin/python -m pytest \
  -n auto --dist worksteal
COMPARE_ARGS ?=
BENCHMARK_ARGS ?=
FUZZ_SECONDS ?= 60
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: compare test quick benchmark benchmark-quick lint style setup setup-r vignettes site site-r clean long \
  coverage mutants fuzz

compare: setup
	.venv/bin/pyvae compare $(COMPARE_ARGS)

# types are checked beside the tests (tests/test_types.py)
test: setup-r style
	$(PYTEST) $(PYTEST_ARGS)

quick: setup
	$(PYTEST) -m "not slow and not r and not r_torch" $(PYTEST_ARGS)

benchmark: setup
	.venv/bin/python -m benchmarks $(BENCHMARK_ARGS)

benchmark-quick: setup
	.venv/bin/python -m benchmarks --quick $(BENCHMARK_ARGS)

long: setup-r
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m long -s $(PYTEST_ARGS)

coverage: setup-r
	$(PIP) -e '.[coverage]'
	OMP_NUM_THREADS=1 .venv/bin/python -m coverage run -m pytest -n auto --dist worksteal $(PYTEST_ARGS)
	.venv/bin/python -m coverage combine
	.venv/bin/python -m coverage report

mutants: setup
	$(PIP) -e '.[mutation]'
	tests/mutants/run.sh

fuzz: setup
	$(PIP) -e '.[fuzz]'
	PYTHONPATH=tests .venv/bin/python -c 'from fuzz.readers import READERS; print(*READERS)' | \
	  xargs -n 1 | xargs -I READER .venv/bin/python tests/fuzz/fuzz.py READER --seconds $(FUZZ_SECONDS)

style: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

lint: style
	.venv/bin/mypy

setup:
	@./setup.sh

# what the R package and its check need, too
setup-r:
	@./setup.sh --r-package

# what the package keeps of its vignettes: with results and figures, so that they need no Python
vignettes: setup-r
	mkdir -p .venv/r-library
	R CMD INSTALL --no-test-load --library=.venv/r-library r_bridge/rpackage
	R_LIBS=$(CURDIR)/.venv/r-library:$(R_LIBS) RETICULATE_PYTHON=$(CURDIR)/.venv/bin/python \
	  Rscript docs/vignettes.R

# the documentation as a site to read, from the same files
site: setup
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet
	@echo 'built: build/site/index.html (to search in it: .venv/bin/python -m http.server -d build/site)'

site-r: setup-r
	mkdir -p .venv/r-library
	R CMD INSTALL --no-test-load --library=.venv/r-library r_bridge/rpackage
	R_LIBS=$(CURDIR)/.venv/r-library:$(R_LIBS) RETICULATE_PYTHON=$(CURDIR)/.venv/bin/python \
	  Rscript docs/site_r.R

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache comparison runs setup.log \
	  benchmarks/*.json benchmarks/*.png
