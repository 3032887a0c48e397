#!/usr/bin/env bash
# Mutation testing: changes the code a little, many times over, and says which changes no test sees.
#
#   mutmut       functions' bodies; which files and tests: [tool.mutmut] in pyproject.toml
#   Cosmic Ray   what stands outside of them, which mutmut leaves alone: constants, tables,
#                properties, lambdas
#
# Works on a copy of the tree in build/mutants; goes on there where it was interrupted.
# Arguments go to `mutmut run`, such as --max-children 2.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1 PATH="${MUTATION_BIN:-$PWD/.venv/bin}:$PATH"
unset PYTHONPATH

mkdir -p build/mutants
cp -a pyvae r_bridge comparisons tests pyproject.toml build/mutants
cd build/mutants

mutmut run "$@"
mutmut results --all true | sed -E 's/^ *([^ ]+)\.x[^.]*: /\1: /' | sort | uniq -c
mutmut results | sed -nE '/: (caught|killed)/d; s/^ *([^ :]+): .*/\1/p' | xargs -rn 1 mutmut show

# mutmut chooses a mutant when a function is called; what is called while its module is imported is
# written into the file instead, one mutant after the other
mutmut results --all true | sed -nE 's/^ *(pyvae\.model\.objectives\.x__of_normal__[^:]+):.*/\1/p' |
  while read -r mutant; do
    mutmut apply "$mutant" </dev/null
    if python -m pytest -x -q -p no:cacheprovider tests/pyvae/model/test_objectives.py >/dev/null; then
      echo "$mutant: survived"
    else
      echo "$mutant: killed"
    fi
    cp -a ../../pyvae/model/objectives.py pyvae
  done

# MODULE TESTS: Cosmic Ray's mutants of a module, outside of functions
outside() {
  local session=${1//\//.}.sqlite
  cat >"$session.toml" <<TOML
[cosmic-ray]
module-path = "$1"
timeout = 300.0
excluded-modules = []
test-command = "python -m pytest -x -q -p no:cacheprovider --hypothesis-seed=1 $2"
distributor.name = "local"
TOML
  if [ ! -e "$session" ]; then
    cosmic-ray baseline "$session.toml"
    cosmic-ray init "$session.toml" "$session"
    python tests/mutants/outside.py "$session"
  fi
  cosmic-ray exec "$session.toml" "$session"
  printf '\n%s, outside of functions\n' "$1"
  cr-report --surviving-only --show-diff "$session"
}

outside comparisons/agreement/arrays.py tests/comparisons/agreement/test_arrays.py
outside comparisons/agreement/tolerances.py tests/comparisons/agreement/test_arrays.py
outside comparisons/expected/functions.py tests/comparisons/expected/test_functions.py
outside pyvae/model/draws.py tests/pyvae/model/test_draws.py
outside pyvae/model/kernels/onednn_blocks.py tests/pyvae/model/kernels/test_onednn_blocks.py
outside pyvae/model/objectives.py tests/pyvae/model/test_objectives.py
outside pyvae/recipes/clustering_modules.py tests/pyvae/recipes/test_clustering_modules.py
outside pyvae/model/loss_terms.py tests/pyvae/model/test_loss_terms.py
