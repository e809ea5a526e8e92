#!/bin/bash
# The README's ways to run something at every change tell of a failover: redis-resolve --watch and consul watch.
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
start_sandbox
export CONSUL_HTTP_ADDR=127.0.0.1:$base

# A stand-in for the README's logger, which writes to the system's log.
mkdir "$work/bin"
printf '#!/bin/sh\necho "$@"\n' >"$work/bin/logger"
chmod +x "$work/bin/logger"
PATH="$work/bin:$PATH"

recipes=$(readme_block sh 'consul watch')
for way in while logger consul; do
  start "$way.log" bash -c "$(grep -- "$way" <<<"$recipes")"
done

tells() { [[ $(tail -n 1 "$work/$1.log") == "${2}$(redis-resolve)" ]]; }
all_tell() {
  wait_until 10 "a pipe from redis-resolve --watch to tell of the master" tells while 'the master is '
  wait_until 10 "redis-resolve --watch to run a command" tells logger 'the master is '
  wait_until 10 "consul watch to tell of the master" tells consul ''
}
all_tell
for failover in failover kill-master; do
  expect "$failover" 'never listed two masters' sandbox "$failover"
  all_tell
  echo "ok: $failover: all three tell of the new master"
done
for way in while logger; do
  (($(grep -c '^the master' "$work/$way.log") == 3)) || fail "$way tells of three masters in turn, in place of: $(cat "$work/$way.log")"
done
finish
