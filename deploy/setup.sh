#!/usr/bin/env bash
# Makes .venv with everything the project needs, from a Python of this machine that fits.
set -euo pipefail
cd "$(dirname "$0")/.."

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() { # the one asked for, else the machine's own choice, else the newest
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && fits "$candidate"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  return 1
}

install_python() {
  local what version
  what="a Python from 3.11 to 3.13 (python3 is $(python3 -V 2>/dev/null || echo not there))"
  for version in 3.13 3.12 3.11; do
    if apt-cache show "python$version-venv" >/dev/null 2>&1; then
      deploy/apt-install.sh "$what" "python$version" "python$version-venv"
      return
    fi
  done
  cat >&2 <<EOF
Missing: $what, and apt offers none here.
Install one, for instance with 'pyenv install 3.13' or on Ubuntu from the archive ppa:deadsnakes/ppa, then run:
  make setup PYTHON=/path/to/python3.13
EOF
  exit 1
}

if ! fits .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  find_python >/dev/null || install_python
  python=$(find_python)
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    deploy/apt-install.sh "the venv module of $python" \
      "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  fi
  echo "Making .venv with $python"
  "$python" -m venv --clear .venv
fi
echo "Installing the packages of constraints.txt (the first time: some minutes, 2 GB or more)"
# The pip of Debian 12 would build seqeval the old way, which fails beside today's setuptools_scm.
.venv/bin/python -m pip install --disable-pip-version-check --quiet --quiet --use-pep517 \
  --constraint constraints.txt --editable '.[engine,demo,dev]'
