# shellcheck shell=bash
# bash completion of redis-resolve(1). Works with and without the bash-completion package.
_redis_resolve() {
  local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    [[ ${COMP_WORDS[i]} == -- ]] || continue
    if ((COMP_CWORD > i + 1)) && declare -F _command_offset >/dev/null; then
      _command_offset $((i + 1))
    elif ((COMP_CWORD > i + 1)); then
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
    else
      mapfile -t COMPREPLY < <(compgen -c -- "$word")
    fi
    return
  done
  # bash makes three words of --role=master.
  if [[ $word == = ]]; then
    word=
  elif [[ $option == = ]]; then
    option=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case $option in
    --role) mapfile -t COMPREPLY < <(compgen -W 'master replica any' -- "$word") ;;
    --format) mapfile -t COMPREPLY < <(compgen -W 'hostport url json env args host port' -- "$word") ;;
    --dns) mapfile -t COMPREPLY < <(compgen -W 'system' -A hostname -- "$word") ;;
    --password-file | --cacert | --cert | --key) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    --dc | --domain | --timeout | --wait | --user | --sni) ;;
    *)
      mapfile -t COMPREPLY < <(compgen -W '--role --all --dc --domain --dns --format --timeout --wait --watch --verify
        --user --password-file --tls --cacert --cert --key --sni --insecure --help --version' -- "$word")
      ;;
  esac
}
complete -F _redis_resolve redis-resolve
