#!/bin/bash
# The package in a minimal Debian of its own, booted by systemd-nspawn without a network: installed with apt, run by its
# units beside real Consul, Redis and Sentinel through a failover, upgraded, removed and purged.
#   installed_test.sh OBSERVER     as root; OBSERVER is the binary of integration_observer
set -euo pipefail
# shellcheck source=tests/expectations.sh
source "$(dirname "${BASH_SOURCE[0]}")/../expectations.sh"
observer=$(realpath "${1:?the path of integration_observer is missing}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
prefix=$(scripts/install-deps --print-prefix)
PATH=$PATH:/usr/sbin:/sbin:$prefix/usr/bin
work=$(mktemp -d "${TMPDIR:-/tmp}/rcb-package-XXXXXX")
nspawn='' watching='' leader=''
# systemd-nspawn asks the host's systemd for a scope, where there is one.
unit=()
[[ -d /run/systemd/system ]] || unit=(--keep-unit)
clean_up() {
  local status=$? pid
  ((status == 0)) || agent_log >&2
  # Nothing there is worth an orderly shutdown.
  for pid in $watching $leader; do kill -KILL "$pid" 2>/dev/null || true; done
  wait
  # Where there is no systemd to do it: the empty groups that systemd-nspawn leaves.
  ((${#unit[@]} == 0)) || find /sys/fs/cgroup/*/{payload,supervisor} -depth -type d -exec rmdir {} \; 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT

agent_log() { [[ -z $leader ]] || inside journalctl -q --no-pager -n 25 -u 'redis*' || true; }
# expect WHAT COMMAND...
expect() {
  local what=$1
  shift
  if "$@" >"$work/expect.log" 2>&1; then
    echo "ok: $what"
  else
    fail "$what: $(tail -n 20 "$work/expect.log")"
    agent_log >&2
  fi
}
# wait_for SECONDS WHAT COMMAND...: as wait_until, and tells of it.
wait_for() {
  wait_until "$@"
  echo "ok: $2"
}

# The package, and the same as the next revision.
deb=$(ls "$PWD"/build/release/redis-consul-bridge_*.deb)
mkdir "$work/in"
cp "$deb" "$work/in/first.deb"
dpkg-deb -R "$deb" "$work/next"
version=$(dpkg-deb -f "$deb" Version)
next=${version%-*}-$((${version##*-} + 1))
sed -i "s/^Version: .*/Version: $next/" "$work/next/DEBIAN/control"
dpkg-deb -b --root-owner-group "$work/next" "$work/in/next.deb" >"$work/next.log"
cp "$(command -v consul)" "$work/in/consul"

# What is beside the agent on such a host.
cat >"$work/consul.service" <<'END'
[Service]
ExecStart=/in/consul agent -dev -log-level warn -node redis-host
[Install]
WantedBy=multi-user.target
END
redis_conf() {
  printf '%s\n' "port $1" "supervised systemd" "dir /var/lib/redis" "dbfilename $1.rdb" "repl-diskless-sync-delay 0"
}
redis_conf 6379 >"$work/redis.conf"
redis_conf 6380 >"$work/redis-second.conf"
echo 'replicaof 127.0.0.1 6379' >>"$work/redis-second.conf"
redis_conf 6381 >"$work/redis-cache.conf"
echo 'requirepass a-secret-of-the-test' >>"$work/redis-cache.conf"
# An attempt that finds no good replica, since what it heard of it is too long ago, is repeated after twice failover-timeout.
cat >"$work/sentinel.conf" <<'END'
port 26379
supervised systemd
sentinel monitor mymaster 127.0.0.1 6379 1
sentinel down-after-milliseconds mymaster 1000
sentinel failover-timeout mymaster 2000
END

echo "making or finding the root"
root=$(tests/package/debian_root "$work/in/first.deb")
systemd-nspawn --quiet --directory="$root" --volatile=overlay --private-network --register=no "${unit[@]}" --boot \
  --machine="rcb-package-$$" --bind-ro="$work/in:/in" --bind-ro="$work/consul.service:/etc/systemd/system/consul.service" \
  >"$work/boot.log" 2>&1 </dev/null &
nspawn=$!
# Its own word, where it does not start.
find_leader() { leader=$(pgrep -P "$nspawn" -x systemd) || { cat "$work/boot.log" && false; }; }
wait_for 20 "systemd-nspawn starts" find_leader
inside() { nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup --root --wd -- "$@"; }
# beside COMMAND...: a program of this host in the container's network.
beside() { nsenter --target "$leader" --net -- "$@"; }
is_up() { inside systemctl is-system-running | grep -Eq 'running|degraded'; }
wait_for 60 "the container is up" is_up
redis_cli() { beside redis-cli -p "$@"; }

# configure FILE PATH: copies a file into the container, readable by Redis.
configure() { inside tee "$2" <"$1" >/dev/null && inside chown redis:redis "$2"; }
configure "$work/redis.conf" /etc/redis/redis.conf
configure "$work/redis-second.conf" /etc/redis/redis-second.conf
configure "$work/redis-cache.conf" /etc/redis/redis-cache.conf
configure "$work/sentinel.conf" /etc/redis/sentinel.conf
inside systemctl restart redis-server redis-server@second redis-server@cache
inside systemctl restart consul
has_leader() { beside curl -sf http://127.0.0.1:8500/v1/status/leader | grep -q :8300; }
wait_for 30 "Consul has a leader" has_leader

# There is no network to download anything from.
install() { inside env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$1"; }
answers() { [[ $(inside redis-resolve "${@:2}") == "$1" ]]; }
agent_pid() { inside systemctl show --property MainPID --value "${1:-redis-consul-agent}"; }

expect "apt installs it" install /in/first.deb
expect "the unit runs" inside systemctl is-active redis-consul-agent
wait_for 10 "with the settings that it is installed with, DNS names the server" answers 127.0.0.1:6379
[[ $(inside stat -c '%U:%G %a' /etc/redis-consul-agent /etc/redis-consul-agent/config.json | paste -sd,) == \
  root:redis-consul-agent\ 750,root:redis-consul-agent\ 640 ]] || fail "the settings have other rights"
[[ $(inside stat -c %U "/proc/$(agent_pid)") == redis-consul-agent ]] || fail "the agent runs as somebody else"
# "Max open files", soft and hard, of process $1.
open_files() { inside sed -n 's/^Max open files *\([0-9]*\) *\([0-9]*\) .*/\1 \2/p' "/proc/$1/limits"; }
read -r soft hard < <(open_files "$(agent_pid)")
raised() {
  echo "it may open $soft files, and could $hard"
  ((soft > 1024 && soft == hard))
}
expect "the agent may open as many files as the unit lets it" raised

# Settings.
echo '{"redis": ["127.0.0.1:6379", "127.0.0.1:6380"]}' >"$work/config.json"
inside tee /etc/redis-consul-agent/config.json <"$work/config.json" >/dev/null
inside systemctl restart redis-sentinel
expect "reload" inside systemctl reload redis-consul-agent
wait_for 20 "DNS names the replica" answers 127.0.0.1:6380 --role replica
first_pid=$(agent_pid)
echo '{"radis": []}' | inside tee /etc/redis-consul-agent/config.json >/dev/null
inside systemctl reload redis-consul-agent
refused() { agent_log | grep -q 'not reloaded.*"radis"; did you mean "redis"'; }
wait_for 10 "faulty settings are refused" refused
[[ $(agent_pid) == "$first_pid" ]] || fail "faulty settings ended the agent"
inside tee /etc/redis-consul-agent/config.json <"$work/config.json" >/dev/null
expect "reload of settings that are right again" inside systemctl reload redis-consul-agent

# A second agent by the template, whose secret is a credential that root alone can read.
echo '{"redis": ["127.0.0.1:6381"], "service": "cache", "listen": "127.0.0.1:8580", "redis_password_file": "password"}' |
  inside tee /etc/redis-consul-agent/cache.json >/dev/null
inside mkdir -p '/etc/systemd/system/redis-consul-agent@cache.service.d'
printf '[Service]\nLoadCredential=password:/etc/redis-consul-agent/password\n' |
  inside tee '/etc/systemd/system/redis-consul-agent@cache.service.d/password.conf' >/dev/null
echo a-secret-of-the-test | inside sh -c 'umask 077 && cat >/etc/redis-consul-agent/password'
inside systemctl daemon-reload
expect "the template" inside systemctl enable --now redis-consul-agent@cache
wait_for 10 "DNS names the second agent's server" answers 127.0.0.1:6381 cache
expect "reload of the second agent" inside systemctl reload redis-consul-agent@cache

# A failover.
follows() { redis_cli 6380 role | grep -q master; }
knows_replica() { redis_cli 26379 sentinel replicas mymaster | grep -A1 slave-repl-offset | grep -Eq "^[1-9]"; }
wait_for 20 "Sentinel knows the replica" knows_replica
expect "Redis stops" inside systemctl stop redis-server
wait_for 40 "Sentinel promotes the replica" follows
wait_for 5 "DNS names the new master" answers 127.0.0.1:6380

# watch_dns SERVICE: from outside, each millisecond, until `watching` is ended.
watch_dns() {
  # Not by beside(): the process to be ended is the observer, not a shell around it.
  nsenter --target "$leader" --net -- "$observer" --out "$work/history-$1" --service "$1" --dns 127.0.0.1:8600 \
    >>"$work/observer.log" 2>&1 &
  watching+=" $!"
}
has_samples() { grep -q samples "$work/history-redis" "$work/history-cache"; }
# An answer that does not come in time, on a busy machine, says nothing.
never_changed() {
  local answers
  answers=$(awk '$2 == "dns" && $4 != "!timeout" {print $4}' "$work/history-$1" | sort -u | wc -l)
  [[ $answers == 1 ]] || fail "$2: DNS changed its answer on $1: $(awk '$2 == "dns"' "$work/history-$1")"
}
restarted() { [[ $(agent_pid "$1") != "$2" && $(agent_pid "$1") != 0 ]] && inside systemctl is-active "$1"; }
watching=''
watch_dns redis
watch_dns cache
wait_for 10 "the observer sees DNS" has_samples
second_pid=$(agent_pid redis-consul-agent@cache)
started=$EPOCHREALTIME
expect "apt upgrades it" install /in/next.deb
echo "the upgrade took $(((${EPOCHREALTIME/./} - ${started/./}) / 1000)) ms"
[[ $(inside dpkg-query -W redis-consul-bridge) == *"$next" ]] || fail "the version is not $next"
expect "the upgrade restarted the agent" restarted redis-consul-agent "$first_pid"
expect "the upgrade restarted the second agent" restarted redis-consul-agent@cache "$second_pid"
expect "the upgrade kept the settings" inside grep -q 6380 /etc/redis-consul-agent/config.json

# A hung agent: the watchdog ends it, within the TTL.
hung_pid=$(agent_pid)
inside systemctl kill --signal STOP redis-consul-agent
wait_for 20 "the watchdog restarts a hung agent" restarted redis-consul-agent "$hung_pid"
# Longer than a TTL after the upgrade: what the first agent last said has expired.
told() { beside curl -sf "http://127.0.0.1:8579/readyz"; }
wait_for 10 "the new agent is ready" told
# shellcheck disable=SC2086  # Two processes.
kill $watching
# shellcheck disable=SC2086
wait $watching || true
watching=''
never_changed redis "upgrade and watchdog"
never_changed cache "upgrade"
awk '$2 == "samples" {n += $4; if ($5 > gap) gap = $5} END {print n " DNS answers, the longest pause between two " gap / 1000 " ms"}' \
  "$work"/history-*

# Gone.
registered() { beside curl -sf "http://127.0.0.1:8500/v1/catalog/service/$1"; }
[[ $(registered redis | grep -o '"ServiceID"' | wc -l) == 2 ]] || fail "two servers should be registered: $(registered redis)"
expect "apt removes it" inside apt-get remove -y -q redis-consul-bridge
[[ $(registered redis)$(registered cache) == '[][]' ]] || fail "registrations stay: $(registered redis) $(registered cache)"
expect "removal keeps the settings" inside test -f /etc/redis-consul-agent/config.json
inside rm -r /etc/redis-consul-agent/{cache.json,password} '/etc/systemd/system/redis-consul-agent@cache.service.d' \
  '/etc/systemd/system/multi-user.target.wants/redis-consul-agent@cache.service'
expect "apt purges it" inside apt-get purge -y -q redis-consul-bridge
left=$(inside find / -xdev \( -name '*redis-consul*' -o -name 'redis-resolve*' \) -not -path '/proc/*')
[[ -z $left ]] || fail "the purge left $left"
finish
