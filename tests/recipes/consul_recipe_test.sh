#!/bin/bash
# consul-recipe: with `replica_service` set, plain redis.service.consul answers the master alone, so that the README's recipe of
# two digs finds it; through a shutdown of the master and through its return.
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
start_sandbox
export CONSUL_HTTP_ADDR=127.0.0.1:$base

# The same agents, started again with the setting.
echo '{"replica_service": "redis-replica"}' >"$work/agent.json"
for number in 1 2 3; do
  sandbox kill "agent-$number"
  sed -i "/^exec/s|\$| --config $work/agent.json|" "$work/sandbox/agent-$number/run"
done >"$work/kill.log"
sandbox restart-dead >"$work/restart.log"

plain() { dig +short @127.0.0.1 -p $((base + 1)) redis.service.consul SRV; }
recipe=$(readme_block sh 'noall +additional' | grep '^redis-cli')
# Both ways to ask name the one master that redis-resolve finds.
all_agree() {
  local master answer reply
  master=$(redis-resolve)
  answer=$(plain)
  [[ $(wc -l <<<"$answer") == 1 && $answer == *" ${master##*:} "* ]] || return 1
  reply=$(bash -c "${recipe/%ping/CONFIG GET port}")
  [[ 127.0.0.1:$(tail -n 1 <<<"$reply") == "$master" ]]
}
lists_replicas() { (($(dig +short @127.0.0.1 -p $((base + 1)) redis-replica.service.consul SRV | wc -l) == $1)); }

wait_until 20 "the replicas under a name of their own" lists_replicas 2
wait_until 20 "the two digs to find the master" all_agree
echo "ok: the two digs, at rest"

first=$(master)
redis-cli -p "${first##*:}" SHUTDOWN NOSAVE
has_moved() { [[ $(redis-resolve) != "$first" ]] && all_agree; }
wait_until 60 "the two digs to find the new master" has_moved
echo "ok: the two digs, after a failover"

# What plain DNS says while the old master says that it is master, and after.
watch_plain() { while sleep 0.02; do plain | paste -sd ' '; done; }
start answers bash -c "$(declare -f plain watch_plain); base=$base; watch_plain"
start redis-1.log "$work/sandbox/redis-$((${first##*:} - base - 10))/run"
says_master() { redis-cli -p "${first##*:}" ROLE | grep -qx master; }
wait_until 10 "the old master to say that it is master" says_master
wait_until 60 "both replicas" lists_replicas 2
wait_until 20 "the two digs to find the master" all_agree
echo "ok: the two digs, after its return"
if wrong=$(grep -e " ${first##*:} " -e '\. 1 1 ' "$work/answers"); then
  fail "redis.service.consul named the old master, or two: $(sort <<<"$wrong" | uniq -c)"
else
  echo "ok: in $(wc -l <"$work/answers") answers redis.service.consul never named the old master nor two"
fi
finish
