#!/usr/bin/env bash
# The commands that the project needs and pip cannot bring, and the Debian packages that hold them.
#   debian_packages.sh COMMAND...            names what is missing and how to install it, exits 1
#   debian_packages.sh --install COMMAND...  installs what is missing (as root)
set -euo pipefail

declare -A package_of=(
  [make]=make
  [python3]=python3
  [ensurepip]=python3-venv
  [systemd-analyze]=systemd
  [chromium]=chromium
)

present() {
  case $1 in
    ensurepip) "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

install=no
if [ "${1:-}" = --install ]; then
  install=yes
  shift
fi

missing=()
for command in "$@"; do
  present "$command" || missing+=("${package_of[$command]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$install" = yes ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
else
  echo "Missing on this machine: ${missing[*]}. Install with: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
