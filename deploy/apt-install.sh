#!/usr/bin/env bash
# apt-install.sh WHAT PACKAGE...: installs the packages where that needs no password, else names the one command.
set -euo pipefail
what=$1
shift
command="apt-get install -y --no-install-recommends $*"

if ! command -v apt-get >/dev/null; then
  echo "Missing: $what. Install it with this system's package manager (on Debian and Ubuntu: $*)." >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then
  root=()
elif sudo -n true 2>/dev/null; then
  root=(sudo)
else
  echo "Missing: $what. Install it with:  sudo $command" >&2
  exit 1
fi
echo "Installing $what: $*"
"${root[@]}" apt-get update -qq
if ! "${root[@]}" env DEBIAN_FRONTEND=noninteractive $command -qq >/dev/null; then
  echo "Missing: $what. This failed:  $command" >&2
  exit 1
fi
