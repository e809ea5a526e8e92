#include "redis/replication_info.h"

#include <utility>

#include "redis/wire_text.h"

namespace rcb::redis {
namespace {

/// More replicas than any server has: a bound on foreign text only.
constexpr std::size_t kMaxReplicas = 4096;
constexpr std::size_t kMaxReplicaFields = 32;

/// Calls `take(name, value)` for each "name:value" line of an INFO body; section titles and anything else are skipped.
template <typename Take>
void ForEachField(std::string_view body, Take take) {
  ForEachLine(body, [&take](std::string_view line) {
    const std::size_t colon = line.find(':');
    if (line.front() != '#' && colon != std::string_view::npos) take(line.substr(0, colon), line.substr(colon + 1));
    return true;
  });
}

/// "slave" and digits: a line about one replica, as opposed to slave_priority and its like.
bool NamesReplica(std::string_view name) {
  constexpr std::string_view kPrefix = "slave";
  return name.starts_with(kPrefix) && ParseNumber<std::uint32_t>(name.substr(kPrefix.size())).has_value();
}

/// "ip=10.0.0.1,port=6379,state=online,offset=14,lag=0[,type=replica]" (src/redis.c of 2.8, src/server.c since; `type`
/// in Valkey 8). Nothing when it has no address.
std::optional<ConnectedReplica> ParseReplica(std::string_view text) {
  ConnectedReplica replica;
  std::string_view host;
  std::string_view port;
  for (const std::string_view field : SplitFields(text, ',', kMaxReplicaFields)) {
    const std::size_t equals = field.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = field.substr(0, equals);
    const std::string_view value = field.substr(equals + 1);
    if (name == "ip") host = value;
    if (name == "port") port = value;
    if (name == "state") replica.state = value;
    if (name == "offset") replica.offset = ParseNumber<std::int64_t>(value).value_or(0);
    if (name == "lag") replica.lag = ParseNumber<std::int64_t>(value).value_or(-1);
  }
  auto address = EndpointFromFields(host, port);
  if (!address) return std::nullopt;
  replica.address = *std::move(address);
  return replica;
}

}  // namespace

Result<ReplicationInfo> ParseReplicationInfo(std::string_view body) {
  ReplicationInfo info;
  std::optional<std::string_view> role;
  ForEachField(body, [&](std::string_view name, std::string_view value) {
    const auto number = [value] { return ParseNumber<std::int64_t>(value); };
    if (name == "role") {
      role = value;
    } else if (name == "master_replid") {
      info.replid = value;
    } else if (name == "master_replid2") {
      info.replid2 = value;
    } else if (name == "second_repl_offset") {
      if (number() != -1) info.second_repl_offset = number();
    } else if (name == "master_repl_offset") {
      info.master_repl_offset = number();
    } else if (name == "slave_repl_offset") {
      info.replica_repl_offset = number();
    } else if (name == "master_failover_state") {
      info.failover_state = value;
    } else if (name == "master_host") {
      info.master.host = value;
    } else if (name == "master_port") {
      info.master.port = ParseNumber<std::uint16_t>(value).value_or(0);
    } else if (name == "master_link_status") {
      info.master_link_up = value == "up";
    } else if (name == "master_sync_in_progress") {
      info.master_sync_in_progress = value == "1";
    } else if (name == "master_link_down_since_seconds") {
      // 32 bits: what is no plausible time must not overflow sums of time points.
      if (const auto seconds = ParseNumber<std::uint32_t>(value))
        info.master_link_down_since = std::chrono::seconds(*seconds);
    } else if (name == "slave_priority") {
      info.priority = number();
    } else if (name == "replica_announced") {
      info.announced = value != "0";
    } else if (name == "slave_read_only") {
      info.read_only = value != "0";
    } else if (NamesReplica(name) && info.replicas.size() < kMaxReplicas) {
      if (auto replica = ParseReplica(value)) info.replicas.push_back(*std::move(replica));
    }
  });
  if (!role) return Fail(ErrorKind::kMalformedReply, "INFO replication tells no role");
  if (*role != "master" && *role != "slave") {
    return Fail(ErrorKind::kMalformedReply, "INFO replication tells a role that is neither master nor slave");
  }
  info.role = *role == "master" ? Role::kMaster : Role::kReplica;
  return info;
}

Result<ServerInfo> ParseServerInfo(std::string_view body) {
  ServerInfo info;
  std::string valkey_version;
  ForEachField(body, [&](std::string_view name, std::string_view value) {
    if (name == "run_id") info.run_id = value;
    if (name == "redis_version") info.redis_version = value;
    if (name == "valkey_version") valkey_version = value;
    // Valkey 8 calls it server_mode.
    if (name == "redis_mode" || name == "server_mode") info.mode = value;
    if (name == "tcp_port") info.tcp_port = ParseNumber<std::uint16_t>(value).value_or(0);
  });
  if (info.run_id.empty()) return Fail(ErrorKind::kMalformedReply, "INFO server tells no run_id");
  if (!valkey_version.empty()) info.redis_version = std::move(valkey_version);
  return info;
}

bool ParseLoading(std::string_view body) {
  bool loading = false;
  ForEachField(body, [&](std::string_view name, std::string_view value) {
    if (name == "loading") loading = value == "1";
  });
  return loading;
}

}  // namespace rcb::redis
