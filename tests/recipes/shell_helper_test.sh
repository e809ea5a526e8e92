#!/bin/bash
# scripts/redis-resolve.sh under dash and bash, with redis-resolve and with nothing but dig.
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
helper=$PWD/scripts/redis-resolve.sh
start_sandbox
# The master is to stay: on a busy machine Sentinel may take it for dead.
for number in 1 2 3; do sandbox kill "sentinel-$number"; done >"$work/kill.log"
master=$(master)

register() { curl --noproxy '*' -fsS -X PUT "http://127.0.0.1:$base/v1/agent/service/register" -d "$1"; }
register '{"Name": "six", "Tags": ["master"], "Address": "2001:db8::5:0:0:1", "Port": 7000}'
register '{"Name": "loop", "Tags": ["master"], "Address": "::1", "Port": 7001}'
register '{"Name": "node", "Tags": ["master"], "Port": 7002}'
register '{"Name": "named", "Tags": ["master"], "Address": "redis.example.net", "Port": 7003}'
register '{"Name": "twins", "ID": "twin-1", "Tags": ["master"], "Address": "10.0.0.1", "Port": 7004}'
register '{"Name": "twins", "ID": "twin-2", "Tags": ["master"], "Address": "10.0.0.2", "Port": 7005}'

# A PATH with what the helper needs, and with or without redis-resolve.
for tool in awk bash dash dig env grep redis-cli sed tr; do
  mkdir -p "$work"/{dig,binary}
  ln -s "$(command -v "$tool")" "$work/dig/$tool"
done
cp -P "$work"/dig/* "$work/binary"
ln -s "$build/agent/redis-resolve" "$work/binary/redis-resolve"
mkdir "$work/nothing"
ln -s "$(command -v dash)" "$(command -v bash)" "$work/nothing"

for shell in dash bash; do
  for means in binary dig; do
    with() { env PATH="$work/$means" "$shell" "$@"; }
    # The caller's options must not matter.
    sourced() { with -euc ". '$helper'; $1"; }
    where="$shell, $means"
    expect "$where: run" "^$master$" with "$helper"
    expect "$where: sourced" "^$master$" sourced redis_resolve
    expect "$where: a replica" '^127.0.0.1:[0-9]+$' sourced 'redis_resolve redis replica'
    [[ $(sourced 'redis_resolve redis replica') != "$master" ]] || fail "$where: the replica is the master"
    expect "$where: a full name" "^$master$" sourced 'redis_resolve master.redis.service.consul'
    expect "$where: IPv6" '^\[2001:db8::5:0:0:1\]:7000$' sourced 'redis_resolve six'
    expect "$where: IPv6 loopback" '^\[::1\]:7001$' sourced 'redis_resolve loop'
    expect "$where: the address of the node" '^127.0.0.1:7002$' sourced 'redis_resolve node'
    expect "$where: a host name" '^redis.example.net:7003$' sourced 'redis_resolve named'
    expect "$where: the name with its datacenter" "^$master$" env REDIS_RESOLVE_DC=dc1 PATH="$work/$means" "$shell" "$helper"
    expect "$where: the second DNS server" "^$master$" env "REDIS_RESOLVE_DNS=127.0.0.1:$((base + 40)),$REDIS_RESOLVE_DNS" \
      PATH="$work/$means" "$shell" "$helper"
    expect "$where: redis_master_cli" '^master$' sourced 'redis_master_cli ROLE'
    expect "$where: redis_master_cli keeps its arguments" '^a  b$' sourced 'redis_master_cli ECHO "a  b"'
    expect "$where: redis_master_cli, run" '^PONG$' with "$helper" redis_master_cli PING
    expect_status 1 "$where: none" 'master.absent|master of absent' sourced 'redis_resolve absent'
    expect_status 3 "$where: redis_master_cli without DNS" "127.0.0.1:$((base + 40))" \
      env "REDIS_RESOLVE_DNS=127.0.0.1:$((base + 40))" PATH="$work/$means" "$shell" "$helper" redis_master_cli PING
    expect_status 2 "$where: no role" "'boss' is no role" sourced 'redis_resolve redis boss'
    expect_status 2 "$where: no service" "'a;b' is no service" sourced 'redis_resolve "a;b"'
    expect_status 2 "$where: no DNS server" "'127.0.0.1:x' is no DNS server" env REDIS_RESOLVE_DNS=127.0.0.1:x \
      PATH="$work/$means" "$shell" "$helper"
    expect_status 3 "$where: DNS unreachable" "127.0.0.1:$((base + 40))" env "REDIS_RESOLVE_DNS=127.0.0.1:$((base + 40))" \
      PATH="$work/$means" "$shell" "$helper"
    expect_status 4 "$where: two masters" '10.0.0.1:7004.*10.0.0.2:7005|10.0.0.2:7005.*10.0.0.1:7004' \
      sourced 'redis_resolve twins'
  done
  expect_status 3 "$shell: neither redis-resolve nor dig" 'neither redis-resolve nor dig' \
    env PATH="$work/nothing" "$shell" "$helper"
done

# Sourcing and calling leave the caller as it was. In POSIX mode `set` lists no functions.
cat >"$work/leaks" <<END
state() { set +o; trap; pwd; umask; set | grep -v -e '^_=' -e '^BASH_' -e '^PIPESTATUS='; }
state >'$work/before'
. '$helper'
redis_resolve
redis_master_cli PING
redis_resolve absent
state >'$work/after'
END
for shell in dash 'bash --posix'; do
  # shellcheck disable=SC2086  # A word of its own.
  expect "$shell: sourced without a trace" '^PONG$' env PATH="$work/dig" $shell "$work/leaks"
  diff "$work/before" "$work/after" || fail "$shell: the caller's state differs"
done
finish
