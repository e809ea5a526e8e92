#!/bin/bash
# What the package says about settings agrees with the program: redis-consul-agent.json(5) has every key and no other, the
# example is valid, and the users for Redis are those of the README, which tests/integration/access_test.cpp runs with.
#   settings_test.sh AGENT
set -euo pipefail
# shellcheck source=tests/expectations.sh
source "$(dirname "${BASH_SOURCE[0]}")/../expectations.sh"
agent=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# "groups" is printed where there are some.
in_program=$({ "$agent" check-config && "$agent" check-config --config <(echo '{"groups": [{"service": "a"}]}'); } |
  grep -o '^  "[a-z_]*"' | tr -d ' "' |
  sed 's/^\(redis_password\|sentinel_password\|consul_token\)$/\1_file/' | sort -u)
in_page=$(sed -nE 's/^\.It Li ([a-z_]+( , [a-z_]+)*)( No .*)?$/\1/p' packaging/man/redis-consul-agent.json.5 |
  tr -d ' ' | tr ',' '\n' | sort)
same "the keys of redis-consul-agent.json(5)" "$in_program" "$in_page"

same "the example has the defaults" "$("$agent" check-config)" \
  "$("$agent" check-config --config packaging/examples/config.json)"

in_readme=$(awk '/^```acl$/ {on = 1; next} /^```$/ {on = 0} on' README.md)
same "the users for Redis and Sentinel" "$in_readme" "$(cat packaging/redis/{redis,redis-demote,redis-cluster,sentinel}.acl)"
finish
