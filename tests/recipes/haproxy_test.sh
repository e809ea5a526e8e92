#!/bin/bash
# The README's HAProxy passes its own check and leads writers to the new master through real failovers.
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
start_sandbox

port=$((base + 40))
readme_block haproxy server-template | sed "s/\b6379\b/$port/" >"$work/haproxy.cfg"
expect "the configuration is valid" '' haproxy -c -f "$work/haproxy.cfg"
start haproxy.log haproxy -f "$work/haproxy.cfg"

through_haproxy() { timeout 2 redis-cli -p "$port" "$@"; }
reaches_master() {
  [[ 127.0.0.1:$(through_haproxy CONFIG GET port | tail -n 1) == "$(redis-resolve)" ]]
}
writes_reach_master() {
  local token=$RANDOM$RANDOM
  [[ $(through_haproxy SET token "$token") == OK ]] && [[ $(redis-resolve -- redis-cli {} GET token) == "$token" ]]
}
# fails_over COMMAND OUTPUT: a failover of the sandbox, during which a connection through HAProxy stays open.
fails_over() {
  start held.log redis-cli -p "$port" SUBSCRIBE channel
  local held=$pid
  wait_until 5 "the subscription" grep -q '^1$' "$work/held.log"
  local before
  before=$(master)
  expect "$1" "$2" sandbox "$1"
  [[ $(master) != "$before" ]] || fail "$1: DNS still names $before"
  wait_until 10 "HAProxy to reach the new master" reaches_master
  wait_until 10 "writes to reach the new master" writes_reach_master
  echo "ok: $1: writes through HAProxy reach the new master"
  has_ended() { ! kill -0 "$held"; }
  wait_until 10 "the end of the connection to the old master" has_ended
  echo "ok: $1: the connection to the old master is closed"
}

wait_until 10 "HAProxy to reach the master" reaches_master
wait_until 10 "a write" writes_reach_master
fails_over failover 'never listed two masters'
fails_over kill-master 'never listed two masters'
finish
