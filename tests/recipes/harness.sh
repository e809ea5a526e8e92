# shellcheck shell=bash
# Sourced by the tests of this folder and by tests/readme: a sandbox of real servers (scripts/sandbox), the README's blocks,
# and what is expected of both. The test's first argument is the path of redis-consul-agent in a build folder.
set -euo pipefail
# shellcheck source=tests/expectations.sh
source "$(dirname "${BASH_SOURCE[0]}")/../expectations.sh"

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
agent=$(realpath "${1:?the path of redis-consul-agent is missing}")
build=$(dirname "$agent")/..
PATH="$(dirname "$agent"):$PATH:$(scripts/install-deps --print-prefix)/usr/bin:$(
  scripts/install-deps --print-prefix
)/usr/sbin:/usr/sbin"
# Ports from here on are the test's own: CTest gives each test others.
base=${RCB_BASE_PORT:?the first of the ports for this test is missing}
work=$(mktemp -d "${TMPDIR:-/tmp}/rcb-recipe-XXXXXX")
started=()
clean_up() {
  local pid
  for pid in "${started[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
  wait
  scripts/sandbox down --dir "$work/sandbox" >"$work/down.log" 2>&1 || cat "$work/down.log" >&2
  rm -rf "$work"
}
trap clean_up EXIT

# expect WHAT PATTERN COMMAND...: the command succeeds and a line of its output matches.
expect() {
  local what=$1 pattern=$2 output
  shift 2
  if ! output=$("$@" 2>&1); then
    fail "$what: it failed: $output"
  elif ! grep -Eq -- "$pattern" <<<"$output"; then
    fail "$what: no line of its output matches '$pattern': $output"
  else
    echo "ok: $what"
  fi
}
# expect_status STATUS WHAT PATTERN COMMAND...: the command fails so, and says it on its standard error alone.
expect_status() {
  local status=$1 what=$2 pattern=$3 code=0
  shift 3
  "$@" >"$work/out" 2>"$work/err" || code=$?
  if ((code != status)) || [[ -s $work/out ]] || ! grep -Eq -- "$pattern" "$work/err"; then
    fail "$what: expected status $status and '$pattern', got $code: $(cat "$work/out" "$work/err")"
  else
    echo "ok: $what"
  fi
}

# start LOG COMMAND...: in the background, until the test ends; with all that it starts itself. Sets `pid`.
start() {
  local log=$1
  shift
  setsid "$@" >"$work/$log" 2>&1 &
  pid=$!
  started+=("$pid")
}
sandbox() { scripts/sandbox "$1" --dir "$work/sandbox" "${@:2}"; }
# Consul, a Redis group, Sentinels and agents: master.redis.service.consul is answered at REDIS_RESOLVE_DNS.
start_sandbox() {
  expect "sandbox" "master.redis.service.consul answers" sandbox up --base-port "$base" --bin-dir "$build"
  export REDIS_RESOLVE_DNS=127.0.0.1:$((base + 1))
}
# On a busy machine Sentinel may fail over by itself: wait for the master that there will be.
master() { redis-resolve --wait 20s; }

# readme_block LANGUAGE WORD: the README's one fenced block of that language that holds WORD, with the test's ports of
# Consul in place of the usual ones.
readme_block() {
  local block
  block=$(awk -v fence="\`\`\`$1" -v word="$2" '
    on && /^```$/ { if (index(block, word)) printf "%s", block; on = 0 }
    on { block = block $0 "\n" }
    $0 == fence { on = 1; block = "" }' README.md)
  [[ -n $block ]] || {
    echo "FAILED: the README has no block of $1 with '$2'" >&2
    return 1
  }
  sed "s/\b8600\b/$((base + 1))/g; s/\b8500\b/$base/g" <<<"$block"
}
