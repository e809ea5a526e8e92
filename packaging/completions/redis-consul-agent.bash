# shellcheck shell=bash
# bash completion of redis-consul-agent(8). Works with and without the bash-completion package.
_redis_consul_agent() {
  local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
  COMPREPLY=()
  # bash makes three words of --log-level=debug.
  if [[ $word == = ]]; then
    word=
  elif [[ $option == = ]]; then
    option=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W 'run check-config status explain doctor deregister claim --help --version' -- "$word")
    return
  elif [[ $command == claim ]] && ((COMP_CWORD == 2)); then
    mapfile -t COMPREPLY < <(compgen -W 'show release --help' -- "$word")
    return
  fi
  local options='--config --redis --sentinel --discover --master-name --consul --service --advertise --listen
    --log-level --log-format --help'
  case $command in
    check-config | status | explain | deregister) options+=' --json' ;;
    doctor) options+=' --json --dns' ;;
  esac
  case $option in
    --config) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    --log-level) mapfile -t COMPREPLY < <(compgen -W 'debug info warn error' -- "$word") ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$word") ;;
    --listen) mapfile -t COMPREPLY < <(compgen -W 'off' -- "$word") ;;
    --redis | --sentinel | --discover | --master-name | --consul | --service | --advertise | --dns) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word") ;;
  esac
}
complete -F _redis_consul_agent redis-consul-agent
