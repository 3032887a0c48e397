#!/usr/bin/env bash
# Sets up what `make` needs: R, and a virtual environment in .venv with an rpy2 that fits this R.
# With --r-package also the R packages that the R package pyvae and its check are made of.
# Does nothing when that is done already. On Debian and Ubuntu it installs system packages where
# it may (root, or sudo without a password); elsewhere it prints the one command to run.
set -euo pipefail
cd "$(dirname "$0")"

for_r_package=no
[ "${1:-}" = --r-package ] && for_r_package=yes
r_packages="callr cli generics ggplot2 jsonlite knitr processx reticulate rlang rmarkdown testthat"

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 2; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

# What Debian and Ubuntu lack, as package names.
missing_packages() {
  local python
  python=$(find_python)
  if [ -z "$python" ]; then
    echo python3 python3-venv python3-dev
  else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    "$python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || echo python3-dev
  fi
  # The compilers and headers that rpy2 is built with come with r-base-dev; OpenBLAS makes R's
  # matrix products several times faster than the BLAS that r-base brings.
  if ! command -v R >/dev/null; then
    echo r-base-dev libopenblas0-pthread
  elif [ "$(command -v R)" = /usr/bin/R ] && ! dpkg -s r-base-dev >/dev/null 2>&1; then
    echo r-base-dev
  fi
  if [ "$for_r_package" = yes ] && [ "$(command -v R || echo /usr/bin/R)" = /usr/bin/R ]; then
    local package
    for package in $r_packages; do
      [ -d "/usr/lib/R/site-library/$package" ] || echo "r-cran-$package"
    done
    command -v pandoc >/dev/null || echo pandoc
  fi
}

# Of an R that is not the system's: what is missing is said, and not installed behind its back.
check_r_packages() {
  local missing
  missing=$(Rscript -e 'need <- commandArgs(TRUE)
    cat(need[!vapply(need, requireNamespace, NA, quietly = TRUE)])' $r_packages)
  [ -z "$missing" ] || fail "R lacks the packages $missing; in R: install.packages(c('${missing// /\', \'}'))"
}

install_packages() {
  local packages command
  packages=$(missing_packages | xargs)
  [ -n "$packages" ] || return 0
  command="apt-get update && apt-get install -y --no-install-recommends $packages"
  if [ "$(id -u)" = 0 ]; then
    say "installing $packages"
    export DEBIAN_FRONTEND=noninteractive
    bash -c "$command" >setup.log 2>&1 || { tail -n 5 setup.log >&2; fail "failed: $command (all of it: setup.log)"; }
  elif sudo -n true 2>/dev/null; then
    say "installing $packages"
    sudo DEBIAN_FRONTEND=noninteractive bash -c "$command" >setup.log 2>&1 ||
      { tail -n 5 setup.log >&2; fail "failed: $command (all of it: setup.log)"; }
  else
    fail "these are missing: $packages; run: sudo sh -c '$command'"
  fi
}

if command -v apt-get >/dev/null; then
  install_packages
fi
python=$(find_python)
[ -n "$python" ] || fail "Python 3.11 or newer was not found; install it, or set PYTHON=/path/to/python"
command -v R >/dev/null || fail "R was not found; install R and run this again"
rpy2=$("$python" r_bridge/rpy2_fit.py) || exit 2
if [ "$for_r_package" = yes ]; then
  check_r_packages
fi

stamp="$("$python" --version) $(R --version | head -n 1) $rpy2 $(cat pyproject.toml constraints.txt setup.sh | cksum)"
if [ "$(cat .venv/.ready 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi
say "installing Python packages into .venv (PyTorch is large: a few minutes)"
"$python" -m venv .venv
# what pip called this project before 0.2.0, and calls another one: their files would mix
.venv/bin/python -m pip uninstall --quiet --yes --disable-pip-version-check pyvae >/dev/null 2>&1 || true
rm -rf pyvae.egg-info
# shellcheck disable=SC2086  # $rpy2 is a list of requirements
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
  -e '.[dev,docs]' $rpy2 || fail "pip could not install the packages"
.venv/bin/python -m pip check --disable-pip-version-check >/dev/null || fail "the installed packages do not fit each other: .venv/bin/pip check"
# as pip does with what it copies: the first command would wait for it
.venv/bin/python -m compileall -q -j 0 pyvae r_bridge comparisons
echo "$stamp" >.venv/.ready
say "done"
