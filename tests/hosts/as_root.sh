#!/bin/sh
# Runs a test as root: network namespaces need it. Used by ctest, so nobody is there to be asked for a password.
PATH=$PATH:/usr/sbin:/sbin
export PATH
[ "$(id -u)" -eq 0 ] && exec "$@"
sudo -n true || {
  echo "as_root.sh: this test makes network namespaces and so needs root: run scripts/test as root, or let sudo ask for" \
    "no password" >&2
  exit 1
}
exec sudo -n env PATH="$PATH" RCB_FIGURES="${RCB_FIGURES-}" "$@"
