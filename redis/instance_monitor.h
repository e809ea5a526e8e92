#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "redis/cluster_info.h"
#include "redis/replication_info.h"
#include "redis/result.h"

namespace rcb::redis {

/// How a server stands towards whoever asks it.
enum class Health {
  kUnknown,    ///< Nothing was heard yet, good or bad.
  kAnswering,  ///< INFO replication was answered, and silence has not lasted hang_after since.
  kRefused,    ///< Its port refuses connections: the process is gone.
  kSilent,     ///< No answer for hang_after: hung, or its host is gone.
  kBusy,       ///< It answers -BUSY.
  kDenied,     ///< It answers -NOAUTH, -WRONGPASS or -NOPERM.
  kNotRedis,   ///< What answers is no Redis server (or a Sentinel).
};

/// What a Redis Cluster node says of itself and of its cluster.
struct ClusterView {
  ClusterInfo info;
  ClusterNodes nodes;

  bool operator==(const ClusterView&) const = default;
};

/// The local evidence about one instance at one moment: a plain value.
struct InstanceState {
  Health health = Health::kUnknown;
  std::string detail;                   ///< The error's sentence when health is not kAnswering; else empty.
  TimePoint health_since{};             ///< When `health` last changed.
  bool loading = false;                 ///< The data set is being read; INFO is answered all the same.
  std::optional<ReplicationInfo> info;  ///< The last INFO replication that was understood; outlives a loss.
  TimePoint info_at{};                  ///< When that was.
  TimePoint role_since{};               ///< When its role last changed, as far as was seen.
  ServerInfo server;                    ///< run_id and version; empty until told; renewed at each connection.
  std::optional<ClusterView> cluster;   ///< Of a Redis Cluster node, as last told; absent: not told yet, or refused.
  std::string cluster_trouble;          ///< Why a Redis Cluster node did not tell; else empty.
};

/// Judges one Redis server from its INFO replies, its errors and the passing of time.
/// No I/O, reads no clock: feed it a never-decreasing `now` and call OnTimer() by deadline().
class InstanceMonitor {
 public:
  struct Options {
    std::chrono::milliseconds hang_after{5000};  ///< Silence that counts as down.
    std::string name = "the server";             ///< What sentences call it: its endpoint.
  };
  InstanceMonitor(const Options& options, TimePoint now);

  /// Takes an `INFO server` body. Error kMalformedReply leaves the state as it was.
  Result<void> OnServerReply(std::string_view body, TimePoint now);

  /// Takes an `INFO replication` body. A replica says "role:slave" on the wire.
  /// Error kMalformedReply: no role found. The last judgement stands and silence keeps counting, so a server that talks
  /// nonsense goes down. Only a server of which nothing was heard before is kNotRedis at once.
  Result<void> OnReplicationReply(std::string_view body, TimePoint now);

  /// Takes an `INFO persistence` body.
  void OnPersistenceReply(std::string_view body, TimePoint now);

  /// Takes the bodies of CLUSTER INFO and CLUSTER NODES, asked of a node of Redis Cluster one behind the other.
  /// Error kMalformedReply: one of them is none; there is no view then.
  Result<void> OnClusterReplies(std::string_view info, std::string_view nodes);
  /// Takes the refusal of one of them: there is no view then, but for a connection that ended.
  void OnClusterError(const Error& error);

  /// Takes a failed connection or command. kRefused, kBusy, kAuthentication, kPermission and kProtocol are judged at
  /// once; the others (a closed connection, a timeout, an unreachable or unresolvable host) only let silence count on.
  void OnError(const Error& error, TimePoint now);

  void OnTimer(TimePoint now);
  TimePoint deadline() const;  ///< TimePoint::max() when only an event can change the state.

  void set_hang_after(std::chrono::milliseconds hang_after) { options_.hang_after = hang_after; }
  const InstanceState& state() const { return state_; }

 private:
  void SetHealth(Health health, std::string detail, TimePoint now);

  Options options_;
  InstanceState state_;
  TimePoint last_heard_;    ///< Of a reply that proves life and sense; the start counts as one.
  std::string soft_error_;  ///< What went wrong since, without being judged; the reason of a silence.
};

}  // namespace rcb::redis
