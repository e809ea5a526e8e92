#!/bin/bash
# Runs every command of the README's sh blocks on a sandbox of its own, and compares the README's table of settings with what
# `check-config` prints, and the entries that tests/README.md names with those of ctest. A command that this test does not know fails it: teach it here.
#   readme_test.sh AGENT_BINARY
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/../recipes/harness.sh"

# A daemon: it must still run after it said that it started, and end well on SIGTERM.
run_daemon() {
  start run.log "$agent" run --redis "127.0.0.1:$((base + 11))" --consul "http://127.0.0.1:$base" --service readme
  wait_until 20 "the agent to start" grep -q started "$work/run.log"
  kill -TERM "$pid"
  wait "$pid"
  cat "$work/run.log"
}

commands=$(awk '/^```sh$/ {on = 1; next} /^```$/ {on = 0} on' README.md | sed 's/ *#.*//' | grep -v '^$')
[[ -n $commands ]] || fail "the README has no commands"

# The sandbox first: the commands below that ask DNS are asked of it.
start_sandbox

# shellcheck disable=SC2016  # A part of a command, not one.
while read -r command; do
  case $command in
    scripts/quickstart)
      expect "$command" "never listed two masters" scripts/quickstart --dir "$work/quickstart" --base-port $((base + 50))
      ;;
    scripts/test) [[ -x scripts/test ]] || fail "$command" ;; # This test is a part of it.
    scripts/package | 'apt install '*) ;; # tests/package
    scripts/install-deps | 'cmake --preset release' | 'cmake --build --preset release')
      # shellcheck disable=SC2086  # Words are meant to split.
      expect "$command" '' $command
      ;;
    'cmake --install build/release --prefix /usr')
      expect "$command" 'usr/bin/redis-consul-agent' env DESTDIR="$work/root" cmake --install build/release --prefix /usr
      expect "what is installed" '0\.' "$work/root/usr/bin/redis-consul-agent" --version
      ;;
    'redis-consul-agent check-config') expect "$command" '"service": "redis"' "$agent" check-config ;;
    'redis-consul-agent check-config --discover '*)
      # shellcheck disable=SC2086
      expect "$command" '"192.0.2.12:26379"' $command
      ;;
    'redis-consul-agent status' | 'redis-consul-agent explain')
      # shellcheck disable=SC2086
      expect "$command" 'passing.*master at epoch 0|master, passing' $command --listen "127.0.0.1:$((base + 31))"
      ;;
    'redis-consul-agent doctor')
      expect "$command" 'DNS .* has 1 answer' "$agent" doctor --redis "127.0.0.1:$((base + 11))" --consul "http://127.0.0.1:$base"
      ;;
    'redis-consul-agent run') expect "$command" "stopping" run_daemon ;;
    *'redis.service.consul SRV'*'-p $('*) ;; # tests/recipes/consul_recipe_test.sh
    'redis-resolve --watch '* | 'consul watch '*) ;; # tests/recipes/watch_test.sh
    'dig +short @127.0.0.1 -p 8600 '*)
      # shellcheck disable=SC2086
      expect "$command" '^1 1 [0-9]+ ' ${command/8600/$((base + 1))}
      ;;
    '. /usr/share/'*) helper=". '$work/root${command#. }'" ;;
    'redis_master_cli ping') expect "$command" '^PONG$' sh -c "$helper && $command" ;;
    *ping) expect "$command" '^PONG$' bash -c "$command" ;;
    redis-resolve*)
      # shellcheck disable=SC2086
      expect "$command" '127.0.0.1:[0-9]+$' $command
      ;;
    *) fail "the README's command '$command' is not run by any test" ;;
  esac
done <<<"$commands"

# Every setting stands in the table, and nothing else.
# shellcheck disable=SC2016  # The backquotes are those of the table.
in_table=$(awk '/^## Configure/ {on = 1} /^## From/ {on = 0} on && /^\| `/ {split($0, cell, "|"); print cell[2]}' README.md |
  grep -o '`[a-z_]*`' | tr -d '`' | sort)
# "groups" is printed where there are some.
in_program=$({ "$agent" check-config && "$agent" check-config --config <(echo '{"groups": [{"service": "a"}]}'); } |
  grep -o '^  "[a-z_]*"' | tr -d ' "' |
  sed 's/^\(redis_password\|sentinel_password\|consul_token\)$/\1_file/' | sort -u)
if [[ $in_table == "$in_program" ]]; then
  echo "ok: the table of settings"
else
  fail "the table of settings differs from check-config: $(diff <(echo "$in_table") <(echo "$in_program"))"
fi

# Every entry that tests/README.md names is one that ctest has.
# shellcheck disable=SC2016  # These are backquotes, too.
named=$(grep -o '`[a-z]*_[a-z0-9_]*`' tests/README.md | tr -d '`' | sort -u)
known=$(ctest --test-dir "$(dirname "$agent")/.." -N | awk '/Test +#/ {print $3}' | sort)
unknown=$(comm -23 <(echo "$named") <(echo "$known"))
if [[ $named && -z $unknown ]]; then
  echo "ok: the entries that tests/README.md names"
else
  fail "tests/README.md names what ctest does not have: $unknown"
fi
finish
