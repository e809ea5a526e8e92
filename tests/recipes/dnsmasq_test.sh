#!/bin/bash
# The README's dnsmasq forwards Consul's names, and follows a failover at once.
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
start_sandbox

port=$((base + 40))
readme_block dnsmasq server= >"$work/dnsmasq.conf"
# Nothing of the host's own configuration, and a port that needs no privilege.
start dnsmasq.log dnsmasq --keep-in-foreground --conf-file="$work/dnsmasq.conf" --no-resolv --no-hosts --port="$port" \
  --listen-address=127.0.0.1 --bind-interfaces --pid-file= --log-facility=- --user="$(id -un)"
agrees() { [[ $(redis-resolve --dns "127.0.0.1:$port") == "$(redis-resolve)" ]]; }
agrees_on_replicas() {
  diff <(redis-resolve --dns "127.0.0.1:$port" --role replica --all | sort) <(redis-resolve --role replica --all | sort)
}
wait_until 10 "dnsmasq to name the master" agrees
wait_until 10 "dnsmasq to list the replicas" agrees_on_replicas
expect "the name with an underscore" "^1 1 ${REDIS_RESOLVE_DNS%:*}|^1 1 [0-9]+ " \
  dig +short "@127.0.0.1" -p "$port" _redis._master.service.consul SRV

# While there is no master, dnsmasq is asked for it all the time: it must not remember that there was none.
ask_all_the_time() { while :; do redis-resolve --dns "127.0.0.1:$1" 2>&1; done; }
start asked.log bash -c "$(declare -f ask_all_the_time); ask_all_the_time $port"
before=$(master)
expect "kill -9 of the master" 'never listed two masters' sandbox kill-master
[[ $(master) != "$before" ]] || fail "DNS still names $before"
expect "dnsmasq names the new master, with no delay" '' agrees
expect "dnsmasq was asked in between" 'no master of redis is published' cat "$work/asked.log"
finish
