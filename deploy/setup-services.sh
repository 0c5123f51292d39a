#!/usr/bin/env bash
# The servers that the tests start for themselves. PostgreSQL comes with a wheel, Redis from the system.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v redis-server >/dev/null || command -v valkey-server >/dev/null \
  || deploy/apt-install.sh "a Redis server for the tests" redis-server
