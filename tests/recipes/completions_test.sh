#!/bin/bash
# The completions of packaging/completions offer what redis-resolve --help lists, no more and no less.
#   completions_test.sh REDIS_RESOLVE
# shellcheck disable=SC2016  # What stands in single quotes is for other shells.
set -euo pipefail
# shellcheck source=tests/expectations.sh
source "$(dirname "${BASH_SOURCE[0]}")/../expectations.sh"
resolve=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../../packaging/completions"
help=$("$resolve" --help)
options=$(grep -oE '^  (-h,)?--[a-z-]+' <<<"$help" | grep -oE -- '--[a-z-]+' | sort)
# choices OPTION: the words that stand behind it, "one (default), two or three".
choices() {
  sed -n "s/^  --$1 [A-Z]* *//p" <<<"$help" | sed 's/(default)//; s/ or / /' | tr -cs '[:lower:]' '\n' | sort
}
roles=$(choices role)
formats=$(choices format)

# in_bash WORD...: what is offered for the last word.
in_bash() {
  bash --norc -c 'source redis-resolve.bash
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _redis_resolve
    printf "%s\n" "${COMPREPLY[@]}"' - redis-resolve "$@" | sort -u
}
same "bash: options" "$options" "$(in_bash --)"
same "bash: options after a service" "$options" "$(in_bash sessions --)"
same "bash: an option's beginning" --watch "$(in_bash --wat)"
same "bash: roles" "$roles" "$(in_bash --role '')"
same "bash: roles after =" "$roles" "$(in_bash --role = '')"
same "bash: a role's beginning after =" replica "$(in_bash --role = rep)"
same "bash: formats" "$formats" "$(in_bash --format '')"
same "bash: the host's DNS" system "$(in_bash --dns sys)"
same "bash: a file" redis-resolve.fish "$(in_bash --password-file redis-resolve.f)"
same "bash: a command" redis-cli "$(in_bash -- redis-cl)"
same "bash: a command's file" redis-resolve.fish "$(in_bash -- cat redis-resolve.f)"
same "bash: it is registered" "complete -F _redis_resolve redis-resolve" \
  "$(bash --norc -c 'source redis-resolve.bash; complete -p redis-resolve')"

# in_fish LINE: what is offered at its end, without descriptions.
in_fish() { fish --no-config -c 'source redis-resolve.fish; complete -C $argv' "redis-resolve $1" | cut -f 1 | sort; }
same "fish: options" "$options" "$(in_fish --)"
same "fish: roles" "$roles" "$(in_fish '--role ')"
same "fish: formats" "$formats" "$(in_fish '--format ')"
same "fish: the host's DNS" system "$(in_fish '--dns sys')"
same "fish: a file" redis-resolve.fish "$(in_fish '--password-file redis-resolve.f' | grep -x 'redis-resolve.fish')"
same "fish: a command" redis-cli "$(in_fish '-- redis-cl')"

# zsh offers what _arguments is told: listen to that.
told=$(zsh -f -c '_arguments() { print -rl -- "$@" }; source ./_redis-resolve')
in_zsh() { sed -n "s/.*--$1=.*(\(.*\))$/\1/p" <<<"$told" | tr ' ' '\n' | sort; }
same "zsh: options" "$options" "$(grep -oE '^(\([^)]*\)|\*)?--[a-z-]+' <<<"$told" | grep -oE -- '--[a-z-]+' | sort)"
same "zsh: roles" "$roles" "$(in_zsh role)"
same "zsh: formats" "$formats" "$(in_zsh format)"
# And they are real: a terminal, with compinit, in which Tab is pressed.
same "zsh: Tab" "redis-resolve --role replica" "$(timeout 20 zsh -f -c '
  zmodload zsh/zpty
  zpty terminal zsh -f -i
  zpty -w terminal "PS1= fpath=(\$PWD \$fpath); autoload -Uz compinit; compinit -D -u; print ready\$((1))"
  zpty -r -m terminal line "*ready1*"
  zpty -w -n terminal $'\''redis-resolve --role rep\t\C-A: \C-E; print done$((1))\n'\''
  zpty -r -m terminal line "*done1*"
  print -r -- "$line"' | grep -oE 'redis-resolve --role replica' | head -n 1)"

finish
