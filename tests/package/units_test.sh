#!/bin/bash
# The units are valid and confined: systemd-analyze verify has nothing to say, and systemd-analyze security gives 1.5 at most.
#   units_test.sh AGENT
set -euo pipefail
agent=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../../packaging/systemd"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The program of the build: systemd-analyze wants it to be there.
for unit in *.service; do sed "s#/usr/bin/redis-consul-agent#$agent#" "$unit" >"$work/$unit"; done
mv "$work/redis-consul-agent@.service" "$work/redis-consul-agent@cache.service"

failed=0
for unit in redis-consul-agent.service redis-consul-agent@cache.service; do
  # The status of verify tells errors only: what it warns of stands on its standard error.
  said=$(systemd-analyze verify --man=no --recursive-errors=no "$work/$unit" 2>&1) || failed=1
  exposure=$(systemd-analyze security --offline=true --no-pager "$work/$unit" | grep -oP 'exposure level.*: \K[0-9.]+')
  echo "$unit: exposure $exposure${said:+, and: $said}"
  [[ -z $said ]] || failed=1
  awk -v exposure="$exposure" 'BEGIN { exit !(exposure <= 1.5) }' || failed=1
done
exit "$failed"
