#!/bin/bash
# sentinel-client: what redis-py's Sentinel discovers is what DNS says, at rest and after each of two failovers in a row.
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
start_sandbox

cat >"$work/discover.py" <<'END'
import sys
from redis.sentinel import MasterNotFoundError, Sentinel

sentinel = Sentinel([("127.0.0.1", int(port)) for port in sys.argv[1:]], socket_timeout=1)
try:
    print("master %s:%s" % sentinel.discover_master("mymaster"))
except MasterNotFoundError as error:
    print("none:", error)
for replica in sorted(sentinel.discover_slaves("mymaster")):
    print("replica %s:%s" % replica)
END
# Debian's own Python has Debian's modules.
by_sentinel() { /usr/bin/python3 "$work/discover.py" $((base + 21)) $((base + 22)) $((base + 23)); }
by_dns() {
  redis-resolve --format hostport | sed 's/^/master /'
  # In the end there is none.
  redis-resolve --role replica --all 2>/dev/null | sort | sed 's/^/replica /'
}
agree() { diff <(by_sentinel) <(by_dns); }

wait_until 20 "Sentinel and DNS to agree at rest" agree
echo "ok: at rest: $(by_dns | paste -sd ' ')"
first=$(master)
expect "the first failover" 'never listed two masters' sandbox kill-master
# Sentinel lists a dead server among the replicas until it has seen it down.
wait_until 20 "Sentinel and DNS to agree after the first failover" agree
second=$(master)
[[ $second != "$first" ]] || fail "DNS still names $first"
echo "ok: after the first failover: $(by_dns | paste -sd ' ')"
expect "the second failover" 'never listed two masters' sandbox kill-master
third=$(master)
[[ $third != "$first" && $third != "$second" ]] || fail "of $first, $second and the third, DNS names $third"
wait_until 20 "Sentinel and DNS to agree after the second failover" agree
echo "ok: after the second failover: $(by_dns | paste -sd ' ')"
(($(by_dns | wc -l) == 1)) || fail "two of three servers are dead"
finish
