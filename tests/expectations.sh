# shellcheck shell=bash
# Sourced by the shell tests: what they expect, and how often it was not so.
failures=0
fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}
# same WHAT EXPECTED FOUND: the same text, which is not empty.
same() {
  if [[ -n $2 && $2 == "$3" ]]; then
    echo "ok: $1"
  else
    fail "$1: $(diff <(echo "$2") <(echo "$3"))"
  fi
}
# wait_until SECONDS WHAT COMMAND...: until the command succeeds. The test ends when it does not. Its words go to the
# folder $work, not to a subshell: it may set variables.
wait_until() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >"${work:?}/wait.log" 2>&1; do
    if ((SECONDS > deadline)); then
      fail "still waiting for $what: $(tail -n 20 "$work/wait.log")"
      exit 1
    fi
    sleep 0.05
  done
}
# Ends the test; to be its last command.
finish() { ((failures == 0)) || exit 1; }
