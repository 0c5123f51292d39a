#!/usr/bin/env bash
# Makes .venv with everything the project needs, from a Python of this machine that fits.
set -euo pipefail
cd "$(dirname "$0")/.."

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() { # the machine's own choice first
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && fits "$candidate"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  return 1
}

version_of() { "$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'; }

find_package() { # the newest fitting Python that apt offers here
  local version
  for version in 3.13 3.12 3.11; do
    if apt-cache show "python$version-venv" >/dev/null 2>&1; then
      echo "python$version python$version-venv"
      return
    fi
  done
  echo "python3.12 python3.12-venv"
}

if ! python=$(find_python); then
  deploy/apt-install.sh "a Python from 3.11 to 3.13 (python3 is $(python3 -V 2>/dev/null || echo missing))" $(find_package)
  python=$(find_python)
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  deploy/apt-install.sh "the venv module of $python" "$(version_of "$python")-venv"
fi

if ! fits .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  echo "Making .venv with $python"
  "$python" -m venv --clear .venv
fi
echo "Installing the packages of constraints.txt (the first time: some minutes, 2 GB or more)"
.venv/bin/python -m pip install --disable-pip-version-check --quiet --quiet \
  --constraint constraints.txt --editable '.[engine,demo,dev]'
