#!/usr/bin/env bash
# What the tests start for themselves. PostgreSQL comes with a wheel, the others from the system.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { # need PACKAGE PROGRAM...: one of the programs
  local package=$1 program
  shift
  for program in "$@"; do command -v "$program" >/dev/null && return; done
  missing+=("$package")
}

need redis-server redis-server valkey-server
need curl curl
need chromium chromium chromium-browser google-chrome

# Without a browser a few tests of the report's page are skipped, though never in CI.
[ ${#missing[@]} = 0 ] \
  || deploy/apt-install.sh "programs that the tests start" "${missing[@]}" \
  || [ "${missing[*]}${CI:-}" = chromium ]
