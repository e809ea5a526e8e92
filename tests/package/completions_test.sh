#!/bin/bash
# The completions of redis-consul-agent offer what its --help lists, no more and no less.
#   completions_test.sh AGENT
# shellcheck disable=SC2016  # What stands in single quotes is for other shells.
set -euo pipefail
# shellcheck source=tests/expectations.sh
source "$(dirname "${BASH_SOURCE[0]}")/../expectations.sh"
agent=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../../packaging/completions"
# What --help lists of COMMAND...
options_in_help() { "$agent" "$@" --help | grep -oE '^  (-h,)?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort; }
commands_in_help() { "$agent" "$@" --help | awk '/^[A-Z]/ {on = $0 == "Subcommands:"} on && /^  / {print $1}' | sort; }
# in_bash WORD...: what is offered for the last word.
in_bash() {
  bash --norc -c 'source redis-consul-agent.bash
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _redis_consul_agent
    printf "%s\n" "${COMPREPLY[@]}"' - redis-consul-agent "$@" | sort -u
}
# in_fish LINE: what is offered at its end, without descriptions.
in_fish() { fish --no-config -c 'source redis-consul-agent.fish; complete -C $argv' "redis-consul-agent $1" | cut -f 1 | sort; }

same "bash: commands" "$(commands_in_help)" "$(in_bash '' | grep -v '^--')"
same "fish: commands" "$(commands_in_help)" "$(in_fish '')"
same "bash: options of no command" "$(options_in_help)" "$(in_bash --)"
same "fish: options of no command" "$(options_in_help)" "$(in_fish --)"
same "bash: commands of claim" "$(commands_in_help claim)" "$(in_bash claim '' | grep -v '^--')"
same "fish: commands of claim" "$(commands_in_help claim)" "$(in_fish 'claim ')"
while read -r command; do
  [[ $command != claim ]] || command="claim show"
  # shellcheck disable=SC2086  # claim show is two words.
  same "bash: options of $command" "$(options_in_help $command)" "$(in_bash $command --)"
  # shellcheck disable=SC2086
  same "fish: options of $command" "$(options_in_help $command)" "$(in_fish "$command --")"
done < <(commands_in_help)
levels=$(printf '%s\n' debug error info warn)
same "bash: levels" "$levels" "$(in_bash run --log-level '')"
same "bash: levels after =" "$levels" "$(in_bash run --log-level = '')"
same "fish: levels" "$levels" "$(in_fish 'run --log-level ')"
same "bash: a file" redis-consul-agent.fish "$(in_bash run --config redis-consul-agent.f)"
finish
