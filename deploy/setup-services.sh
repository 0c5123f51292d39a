#!/usr/bin/env bash
# What the tests start for themselves. PostgreSQL comes with a wheel, the others from the system.
set -euo pipefail
cd "$(dirname "$0")/.."

have_one_of() {
  local program
  for program in "$@"; do command -v "$program" >/dev/null && return; done
  return 1
}

have_one_of redis-server valkey-server || deploy/apt-install.sh "a Redis server for the tests" redis-server
# Without a browser a few tests of the report's page are skipped, though never in CI.
have_one_of chromium chromium-browser google-chrome \
  || deploy/apt-install.sh "Chromium for the tests of the report's page" chromium \
  || [ -z "${CI:-}" ]
