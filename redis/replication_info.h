#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "redis/endpoint.h"
#include "redis/result.h"

namespace rcb::redis {

enum class Role { kMaster, kReplica };

/// One `slaveN:` line of a master: a replica as the master sees it.
struct ConnectedReplica {
  Endpoint address;         ///< As the replica announced it.
  std::string state;        ///< online, send_bulk, wait_bgsave (Redis src/replication.c).
  std::int64_t offset = 0;  ///< Bytes of the replication stream acknowledged.
  std::int64_t lag = -1;    ///< Seconds since its last acknowledgement; -1 when not told.
};

/// `INFO replication` as values. Only the role is certain: every other field is absent on some supported version
/// (Redis 2.8 to 8, Valkey 8; src/server.c genRedisInfoString).
struct ReplicationInfo {
  Role role = Role::kReplica;
  std::string replid;                              ///< master_replid, since 4.0; else empty.
  std::string replid2;                             ///< master_replid2: the former master's id; zeros mean none.
  std::optional<std::int64_t> second_repl_offset;  ///< Where replid2 ended; absent when -1.
  std::optional<std::int64_t> master_repl_offset;
  std::optional<std::int64_t> replica_repl_offset;  ///< slave_repl_offset, on replicas.
  std::string failover_state;                       ///< master_failover_state, since 6.2; else empty.
  std::vector<ConnectedReplica> replicas;

  // Told by replicas only:
  Endpoint master;  ///< The upstream, as the replica was told it.
  bool master_link_up = false;
  bool master_sync_in_progress = false;
  std::optional<std::chrono::seconds> master_link_down_since;  ///< Absent while up, or when it never was up (-1).
  std::optional<std::int64_t> priority;                        ///< slave_priority; 0: never to be promoted.
  bool announced = true;                                       ///< replica_announced, since 6.2.
  bool read_only = true;                                       ///< slave_read_only.
};

/// Takes the body of `INFO replication` or of a longer INFO. CRLF or LF; unknown fields and sections are ignored.
/// Error kMalformedReply: no role, or one that is neither master nor slave. A Sentinel has no such section: the same
/// error.
Result<ReplicationInfo> ParseReplicationInfo(std::string_view body);

/// What the `server`, `persistence` and `cluster` sections add.
struct ServerInfo {
  std::string run_id;
  std::string redis_version;  ///< redis_version; Valkey's own number (valkey_version) when it tells one.
  std::string mode;           ///< redis_mode: standalone, cluster or sentinel; empty before 2.8.
  std::uint16_t tcp_port = 0;
};

/// Takes the body of `INFO server` or of a longer INFO. Error kMalformedReply: no run_id.
Result<ServerInfo> ParseServerInfo(std::string_view body);

/// Takes the body of `INFO persistence`; true while the data set is being read ("loading:1"). A missing field is false.
bool ParseLoading(std::string_view body);

}  // namespace rcb::redis
