#!/bin/bash
# A real Prometheus scrapes the agents of a group through a failover: their metrics are well formed, and every query of the
# Grafana dashboard has an answer.
#   dashboard_test.sh AGENT
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/../recipes/harness.sh"
start_sandbox

prometheus=http://127.0.0.1:$((base + 45))
cat >"$work/prometheus.yml" <<END
scrape_configs:
  - job_name: redis-consul-agent
    scrape_interval: 1s
    static_configs: [{targets: ["127.0.0.1:$((base + 31))", "127.0.0.1:$((base + 32))", "127.0.0.1:$((base + 33))"]}]
END
start prometheus.log prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
  --web.listen-address="${prometheus#http://}"
has() { curl -sf "$prometheus/api/v1/query" --data-urlencode "query=$1" | grep -q '"value":'; }
wait_until 30 "Prometheus to have scraped every agent twice" \
  has 'count(sum_over_time(up[1m]) >= 2) == 3'

for port in $((base + 31)) $((base + 32)) $((base + 33)); do
  curl -sf "http://127.0.0.1:$port/metrics" >"$work/metrics"
  if said=$(promtool check metrics <"$work/metrics" 2>&1) && [[ -z $said ]]; then
    echo "ok: $(grep -c '^# TYPE' "$work/metrics") metrics at $port"
  else
    fail "promtool says of the metrics at $port: $said"
  fi
done

expect "kill -9 of the master" 'never listed two masters' sandbox kill-master
expect "it returns" '' sandbox restart-dead
wait_until 30 "Prometheus to have seen the failover" \
  has 'sum(increase(redis_consul_agent_failover_publish_seconds_count[30s])) > 0 and on() min(redis_consul_agent_redis_up) == 1'
python3 tests/prometheus/ask_dashboard.py packaging/grafana/redis-consul-agent.json "$prometheus" ||
  fail "the dashboard has queries without an answer"
finish
