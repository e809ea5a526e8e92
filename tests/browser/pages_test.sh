#!/bin/bash
# The status page and Consul's own UI in Chromium, before and after a failover: what they say, and pictures of them.
#   pages_test.sh AGENT_BINARY PICTURES_FOLDER
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/../recipes/harness.sh"
pictures=$(realpath -m "$2")
mkdir -p "$pictures"
rm -f "$pictures"/*.png

look() { expect "$1" '.' /usr/bin/python3 tests/browser/look.py "${@:2}"; }
# both WHEN MASTER OTHER...: the two pages name MASTER as master, and the others as replicas.
both() {
  local when=$1 master=$2 address instances=() nodes=() nl=$'\n'
  shift 2
  nodes=("$master${nl}?master, passing" "master.redis.service.consul$nl$master$nl" "Claim: held by redis-.*-${master#*:},")
  instances=("All service checks passing${nl}All node checks passing${nl}sandbox$nl$master${nl}master")
  for address in "$@"; do
    nodes+=("$address${nl}?replica, passing${nl}replica of $master, in sync")
    instances+=("All service checks passing${nl}All node checks passing${nl}sandbox$nl$address${nl}replica")
  done
  look "the status page $when" --size 1200x1000 "http://127.0.0.1:$((base + 31))/" "$pictures/status-$when.png" "${nodes[@]}"
  look "the Consul UI $when" --size 1200x700 "http://127.0.0.1:$base/ui/dc1/services/redis" "$pictures/consul-$when.png" \
    "${instances[@]}"
}
others() {
  local port
  for port in $((base + 11)) $((base + 12)) $((base + 13)); do
    [[ 127.0.0.1:$port == "$1" ]] || echo "127.0.0.1:$port"
  done
}

start_sandbox
first=$(master)
mapfile -t replicas < <(others "$first")
both before "$first" "${replicas[@]}"

expect failover 'never listed two masters' sandbox failover
# The old master is a replica again when Sentinel has made it one.
expect "the old master's return" '.' sandbox restart-dead
second=$(master)
mapfile -t replicas < <(others "$second")
both after "$second" "${replicas[@]}"
[[ $first != "$second" ]] || fail "the failover changed nothing"
look "the status page, dark and narrow" --dark --size 420x1400 "http://127.0.0.1:$((base + 31))/" "$pictures/status-narrow.png" \
  "$second" 'published master, passing'
# What an operator finds of one of them: why it is what it is, its tag, its Meta. Each a heading and what stands below.
# instance ROLE ADDRESS OUTPUT META...
instance() {
  local role=$1 port=${2#*:} output=$3 nl=$'\n' run_id url
  url="http://127.0.0.1:$base/ui/dc1/services/redis/instances/sandbox/redis-$(hostname -s)-$port"
  look "the Consul UI, why it is the $role" --size 1200x700 "$url/health-checks" "$pictures/consul-$role-checks.png" \
    "Redis role$nl" "CheckID${nl}redis-.*-$port:role$nl" "Type${nl}ttl$nl" "Output$nl$output"
  run_id=$(redis-cli -p "$port" info server | sed -n 's/^run_id:\([0-9a-f]*\).*/\1/p')
  # Its list shows what fits into the window.
  look "the Consul UI, the tag and Meta of the $role" --size 1200x1000 "$url/metadata" "$pictures/consul-$role-meta.png" \
    "Tags$nl$role${nl}Meta$nl" "role$nl$role$nl" "run_id$nl$run_id$nl" "group${nl}mymaster$nl" "redis_version${nl}[0-9.]+$nl" \
    "bridge_version${nl}[0-9.]+$nl" "${@:4}"
}
instance master "$second" 'master at epoch [0-9]+, confirmed by sentinel' "epoch"$'\n[0-9]+\n'
instance replica "${replicas[0]}" "replica of $second, in sync" "upstream"$'\n'"$second"$'\n'

# A chain: without Sentinels, which would undo it, the second replica follows the first.
for sentinel in sentinel-1 sentinel-2 sentinel-3; do
  expect "the end of $sentinel" killed sandbox kill "$sentinel"
done
expect "a replica of a replica" OK redis-cli -p "${replicas[1]#*:}" replicaof 127.0.0.1 "${replicas[0]#*:}"
# node ADDRESS: the XPath of its box in a list.
node() { echo "li[div/b='$1']"; }
chain="//ul[@id='group']/$(node "$second")/ul/$(node "${replicas[0]}")/ul/$(node "${replicas[1]}")"
for look in "wide --size 1200x1200" "wide-dark --dark --size 1200x1200" "narrow --size 420x1900" \
  "narrow-dark --dark --size 420x1900"; do
  read -ra how <<<"$look"
  look "a chain on the status page, ${how[0]}" "${how[@]:1}" --has "$chain" "http://127.0.0.1:$((base + 31))/" \
    "$pictures/chain-${how[0]}.png" "replica of ${replicas[0]}, in sync"
done
finish
