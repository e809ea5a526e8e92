#!/bin/bash
# The README's recipe for Python writes through a crash of the master and through a planned failover.
# shellcheck source=tests/recipes/harness.sh
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
start_sandbox

# The recipe, and a writer that says at every change where it writes. Any exception ends it.
{
  readme_block python MasterConnection
  cat <<'END'
import sys, time
shown = None
while True:
    client.incr("written")
    port = client.config_get("port")["port"]
    if port != shown:
        shown = port
        print(f"127.0.0.1:{port}", flush=True)
END
} >"$work/writer.py"
# Debian's own Python has Debian's modules.
start writer.log /usr/bin/python3 "$work/writer.py"
writer=$pid
writes_to_master() {
  kill -0 "$writer" && [[ $(tail -n 1 "$work/writer.log") == "$(redis-resolve)" ]]
}
wait_until 10 "the first write" writes_to_master
expect "kill -9 of the master" 'never listed two masters' sandbox kill-master
wait_until 20 "writes to the successor" writes_to_master
echo "ok: writes follow a crash"
expect "the old master returns" 'always named the one master|never named two masters' sandbox restart-dead
expect "a planned failover" 'never listed two masters' sandbox failover
# The open connection is closed when Sentinel makes the old master a replica.
wait_until 60 "writes to the new master" writes_to_master
echo "ok: writes follow a planned failover"
if kill -0 "$writer" && ! grep -v '^127' "$work/writer.log"; then
  echo "ok: no exception, and these masters in turn: $(paste -sd ' ' "$work/writer.log")"
else
  fail "the writer has ended or complained: $(cat "$work/writer.log")"
fi
finish
