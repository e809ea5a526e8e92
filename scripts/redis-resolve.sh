#!/bin/sh
# Where a Redis service that is published in Consul DNS can be dialled, for shell scripts that have redis-resolve or
# nothing but dig. POSIX sh: source it for its functions, or run it. See redis_resolve_usage().
# Each function is a subshell, so that neither variables nor options of the caller change.

redis_resolve_usage() {
  cat <<'END'
usage: redis-resolve.sh [SERVICE [ROLE]]                        prints HOST:PORT (default: redis master)
       redis-resolve.sh redis_master_cli [REDIS-CLI ARGUMENTS]  runs redis-cli on the master of redis

ROLE is master, replica or any; a SERVICE with a dot in it is a full DNS name. Uses redis-resolve when it is in PATH, else
dig. REDIS_RESOLVE_DNS names the DNS server: HOST:PORT (default 127.0.0.1:8600), [IPV6]:PORT or system; several with
commas between them are tried in order. REDIS_RESOLVE_DC and REDIS_RESOLVE_DOMAIN: as for redis-resolve.
Exit status: 0 found, 1 none, 2 usage, 3 DNS unreachable or failing, 4 more than one master.

After `. redis-resolve.sh`: redis_resolve [SERVICE [ROLE]] and redis_master_cli [REDIS-CLI ARGUMENTS].
END
}

# redis_resolve_fail STATUS MESSAGE...: ends the subshell that calls it.
redis_resolve_fail() {
  echo "redis-resolve.sh: $2${3:+ $3}" >&2
  exit "$1"
}

# redis_resolve [SERVICE [ROLE]]: prints HOST:PORT, an IPv6 host in brackets.
redis_resolve() (
  service=${1:-redis} role=${2:-master}
  [ $# -le 2 ] || redis_resolve_fail 2 "expected SERVICE and ROLE, got $# arguments"
  case $role in
    master | replica | any) ;;
    *) redis_resolve_fail 2 "'$role' is no role: master, replica or any" ;;
  esac
  case $service in
    -* | *[!A-Za-z0-9._-]*) redis_resolve_fail 2 "'$service' is no service: its name in Consul, or a full DNS name" ;;
  esac
  if command -v redis-resolve >/dev/null 2>&1; then
    exec redis-resolve --role "$role" --format hostport "$service"
  fi
  consul=service.${REDIS_RESOLVE_DC:+$REDIS_RESOLVE_DC.}${REDIS_RESOLVE_DOMAIN:-consul}
  case $role.$service in
    *.*.*) name=$service ;;
    any.*) name=$service.$consul ;;
    *) name=$role.$service.$consul ;;
  esac
  redis_resolve_by_dig "$name" "$role"
)

# redis_master_cli [REDIS-CLI ARGUMENTS]: the exit status is redis-cli's, or that of redis_resolve.
redis_master_cli() (
  address=$(redis_resolve) || exit
  host=${address%:*}
  host=${host#[}
  exec redis-cli -h "${host%]}" -p "${address##*:}" "$@"
)

# redis_resolve_dig NAME TYPE: asks the servers of REDIS_RESOLVE_DNS until one answers. Prints the answer with its header.
redis_resolve_dig() (
  servers=${REDIS_RESOLVE_DNS:-127.0.0.1:8600}, problem=
  while [ -n "$servers" ]; do
    server=${servers%%,*} servers=${servers#*,}
    host=$server port=8600
    case $server in
      \[*\]:*) port=${server##*:} host=${server%:*} ;;
      *:*:* | \[*\]) ;;
      *:*) port=${server#*:} host=${server%:*} ;;
    esac
    host=${host#[}
    host=${host%]}
    case $host in
      '' | -* | *[!A-Za-z0-9.:%_-]*) port= ;;
    esac
    case $port in
      '' | *[!0-9]*)
        redis_resolve_fail 2 "REDIS_RESOLVE_DNS: '$server' is no DNS server: HOST:PORT, [IPV6]:PORT or system"
        ;;
    esac
    # -r: what a user's ~/.digrc adds would change the output.
    set -- "$1" "$2" -r +noall +comments +answer +additional +time=1 +tries=2
    [ "$host" = system ] || set -- "$@" "@$host" -p "$port"
    answer=$(dig "$@") || answer=
    status=$(printf '%s\n' "$answer" | sed -n 's/.*HEADER.* status: \([A-Z]*\),.*/\1/p')
    case $status in
      NOERROR | NXDOMAIN)
        printf '%s\n' "$answer"
        exit 0
        ;;
    esac
    problem="${problem:+$problem, }$server ${status:-does not answer}"
  done
  redis_resolve_fail 3 "DNS fails for $1 ($problem): does a Consul agent run there?"
)

# redis_resolve_by_dig NAME ROLE
redis_resolve_by_dig() (
  name=$1 role=$2
  command -v dig >/dev/null 2>&1 || redis_resolve_fail 3 "there is neither redis-resolve nor dig (Debian: bind9-dnsutils)"
  answer=$(redis_resolve_dig "$name" SRV) || exit
  # A line, HOST:PORT, for each address of the most wanted priority. Consul names an address by its hexadecimal digits,
  # 7f000001.addr.dc1.consul; that of another target may stand in the additional section.
  found=$(printf '%s\n' "$answer" | awk '
    function number(hex, i, value) {
      for (i = 1; i <= length(hex); ++i) value = value * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
      return value
    }
    function ipv4(hex) {
      return number(substr(hex, 1, 2)) "." number(substr(hex, 3, 2)) "." number(substr(hex, 5, 2)) "." number(substr(hex, 7))
    }
    # As RFC 5952 has it: no leading zeros, and "::" for the longest run of zeros.
    function ipv6(hex, i, group, text, zeros) {
      text = ":"
      for (i = 1; i <= 32; i += 4) {
        group = substr(hex, i, 4)
        sub(/^0+/, "", group)
        text = text (group == "" ? "0" : group) ":"
      }
      for (zeros = ":0:0:0:0:0:0:0:0:"; length(zeros) > 3; zeros = substr(zeros, 3)) {
        if (i = index(text, zeros)) {
          text = substr(text, 1, i - 1) "::" substr(text, i + length(zeros))
          break
        }
      }
      if (text !~ /^::/) sub(/^:/, "", text)
      if (text !~ /::$/) sub(/:$/, "", text)
      return text
    }
    function host(target, label) {
      label = target
      sub(/\..*/, "", label)
      if (target ~ /^[0-9a-f]+\.addr\./ && length(label) == 8) return ipv4(label)
      if (target ~ /^[0-9a-f]+\.addr\./ && length(label) == 32) return "[" ipv6(label) "]"
      return target in address ? address[target] : target
    }
    $4 == "A" { address[tolower($1)] = $5 }
    $4 == "AAAA" && !(tolower($1) in address) { address[tolower($1)] = "[" $5 "]" }
    $4 == "SRV" && $7 > 0 && $8 ~ /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/ {
      ++count
      if (count == 1 || $5 < lowest) lowest = $5
      priority[count] = $5
      port[count] = $7
      target[count] = tolower($8)
    }
    END {
      for (i = 1; i <= count; ++i) {
        line = host(target[i]) ":" port[i]
        if (priority[i] == lowest && !(line in seen)) print line
        seen[line] = 1
      }
    }')
  [ -n "$found" ] || redis_resolve_fail 1 "$name is not published: is redis-consul-agent running beside its servers?"
  # Consul answers in an order that is new each time, so that the first line is as good a choice as any.
  first=$(printf '%s\n' "$found" | sed -n 1p)
  if [ "$role" = master ] && [ "$first" != "$found" ]; then
    redis_resolve_fail 4 "$name has several addresses where a master has one:" "$(printf '%s\n' "$found" | tr '\n' ' ')"
  fi
  case $first in
    *.:*) echo "$(redis_resolve_host "${first%:*}"):${first##*:}" ;;
    *) echo "$first" ;;
  esac
)

# Prints an address of the host NAME, or NAME itself when DNS does not know it (Consul without recursors).
redis_resolve_host() (
  for type in A AAAA; do
    address=$(redis_resolve_dig "$1" "$type" 2>/dev/null | awk -v type="$type" '$4 == type && !found++ { print $5 }') || :
    [ -z "$address" ] || break
  done
  case $address in
    '') echo "${1%.}" ;;
    *:*) echo "[$address]" ;;
    *) echo "$address" ;;
  esac
)

# Sourced, this has another name.
case ${0##*/} in
  redis-resolve.sh)
    case ${1-} in
      -h | --help) redis_resolve_usage ;;
      redis_master_cli) "$@" ;;
      *) redis_resolve "$@" ;;
    esac
    ;;
esac
