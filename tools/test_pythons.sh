#!/usr/bin/env bash
# Run what needs no torch (the dispatcher's side, `nni-dream run`, `check`, `register` and `doctor`) on every Python from 3.10 to
# 3.13 that this machine has, two at a time, each in an environment of its own without setuptools; print what each said
# when it has ended, and the versions that ran.
#
# Usage: tools/test_pythons.sh [version ...]      e.g. tools/test_pythons.sh 3.12
set -euo pipefail
cd "$(dirname "$0")/.."

versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(3.10 3.11 3.12 3.13)
environments=${NNI_DREAM_PYTHONS:-.pythons}
# Everything below tests/ but what imports torch, a browser, or the trial's libraries.
tests=(tests --ignore=tests/automl --ignore=tests/integrations --ignore=tests/web --ignore=tests/e2e
    --ignore=tests/test_monitor.py --ignore=tests/test_torchvision_compatibility.py
    --ignore=tests/priority_building/test_workers.py --ignore=tests/test_own_trials.py
    --ignore=tests/benchmarks/test_diagnosis.py
    --deselect=tests/robustness/test_kubernetes_channel.py::test_the_monitor_of_a_deep_model_stays_small
    -m "not e2e and not slow")
searches=(tests/e2e/test_nni_dream_run.py -k "whole_search or missing_config")

# A Python of a version: on the path, or among pyenv's.  Prints nothing where there is none that starts.
find_python() {
    local candidate
    for candidate in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if [ -x "$candidate" ] && "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

test_python() {  # VERSION PYTHON
    local environment=$environments/$1
    if [ ! -e "$environment/.installed" ] || [ setup.cfg -nt "$environment/.installed" ]; then
        "$2" -m venv --clear "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . pytest hypothesis
        # nnictl alone needs it; that ours does not is what is tested here.
        "$environment/bin/python" -m pip uninstall --quiet --yes setuptools
        touch "$environment/.installed"
    fi
    "$environment/bin/nni-dream" doctor
    "$environment/bin/nni-dream" check experiment_configs/spaces/digits.json
    "$environment/bin/nni-dream" register
    "$environment/bin/python" -m pytest -q -p no:cacheprovider "${tests[@]}"
    "$environment/bin/python" -m pytest -q -p no:cacheprovider "${searches[@]}"
    "$environment/bin/python" -c 'import platform; print("all passed on Python", platform.python_version())'
}

set -m  # each in a process group of its own, which an interrupt of this script can end
logs=$(mktemp -d)
trap 'for job in $(jobs -rp); do kill -INT -- "-$job"; done; rm -rf "$logs"' EXIT
waiting=()  # versions that run, the first begun first
passed=()
failed=()
missing=()
declare -A jobs  # version -> process

finish_first() {
    local version=${waiting[0]}
    waiting=("${waiting[@]:1}")
    if wait "${jobs[$version]}"; then passed+=("$version"); else failed+=("$version"); fi
    cat "$logs/$version"
}

for version in "${versions[@]}"; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        missing+=("$version")
        continue
    fi
    [ ${#waiting[@]} -lt 2 ] || finish_first
    test_python "$version" "$python" >"$logs/$version" 2>&1 &
    jobs[$version]=$!
    waiting+=("$version")
done
while [ ${#waiting[@]} -gt 0 ]; do finish_first; done

echo "tests without torch passed on Python: ${passed[*]:-none}"
[ ${#missing[@]} -eq 0 ] || echo "not on this machine, and so not tested: ${missing[*]}"
[ ${#failed[@]} -eq 0 ] || echo "failed on Python: ${failed[*]}"
[ ${#passed[@]} -gt 0 ] && [ ${#failed[@]} -eq 0 ]
