#!/usr/bin/env bash
# What the tests start for themselves. PostgreSQL comes with a wheel, the rest from the system.
set -euo pipefail
cd "$(dirname "$0")/.."

any_of() { command -v "$@" >/dev/null; }

missing=()
any_of redis-server || any_of valkey-server || missing+=(redis-server)
any_of curl || missing+=(curl)
if ! any_of chromium && ! any_of chromium-browser && ! any_of google-chrome; then
  if grep -qs '^ID=ubuntu' /etc/os-release; then # whose package of it is only a pointer to a snap
    echo "No Chromium here: the tests that look at the report in a browser are skipped." >&2
  else
    missing+=(chromium)
  fi
fi
[ ${#missing[@]} = 0 ] || deploy/apt-install.sh "what the tests need" "${missing[@]}"
