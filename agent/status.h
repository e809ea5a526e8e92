#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "agent/claim.h"

namespace rcb::agent {

/// Wall-clock time, for people: no decision rests on it.
using UtcTime = std::chrono::sys_time<std::chrono::milliseconds>;

/// "2026-11-22T03:58:04.120Z".
std::string FormatUtc(UtcTime time);
/// Takes what FormatUtc() makes. Nothing for any other text.
std::optional<UtcTime> ParseUtc(std::string_view text);

/// A replica as a local master sees it.
struct ReplicaStatus {
  std::string address;  ///< host:port.
  std::string state;    ///< online, send_bulk, wait_bgsave.
  std::optional<std::int64_t> lag_bytes;
  std::optional<std::int64_t> lag_seconds;  ///< Since its last acknowledgement, which comes every second.

  bool operator==(const ReplicaStatus&) const = default;
};

/// A Redis server of this host: what it says, and what is said of it.
struct InstanceStatus {
  std::string endpoint;    ///< As configured.
  std::string address;     ///< host:port for clients; empty until the Consul node is known.
  std::string service_id;  ///< Of its registration.
  std::string health;      ///< answering, refused, silent, busy, denied, not redis or unknown.
  std::string health_detail;
  std::optional<UtcTime> health_since;
  std::string role;  ///< master or replica; empty: not told yet.
  std::optional<UtcTime> role_since;
  bool loading = false;
  std::string run_id;
  std::string version;
  std::string upstream;                          ///< host:port that a replica follows; else empty.
  std::string link;                              ///< To the upstream: up, down or syncing; else empty.
  std::optional<std::int64_t> lag_bytes;         ///< That a replica has not applied, where its master could be asked.
  std::optional<std::int64_t> lag_milliseconds;  ///< How old the first of them is.
  std::vector<ReplicaStatus> replicas;
  // Of a node of Redis Cluster; else empty:
  std::string cluster_state;                   ///< ok or fail.
  std::string shard;                           ///< shard-5461; empty also while it knows of no slots.
  std::string slots;                           ///< Of the shard: 0-5460,5462.
  std::optional<std::uint64_t> cluster_epoch;  ///< Config epoch of its shard's master, as it knows.

  std::string tag;     ///< Published: master, replica or none; empty: nothing was said yet.
  std::string check;   ///< passing, warning or critical; empty as `tag`.
  std::string reason;  ///< The sentence that goes with them.
  std::optional<UtcTime> published_since;
  bool taking = false;  ///< It is about to take the claim.
  bool holds_claim = false;

  bool operator==(const InstanceStatus&) const = default;
};

/// A Sentinel and what it says of the group.
struct SentinelStatus {
  std::string endpoint;
  bool configured = false;  ///< Else it was found.
  bool connected = false;
  std::string trouble;        ///< Why it is not connected, if it is not.
  std::string master;         ///< host:port that it names; empty: it has not said.
  std::string master_run_id;  ///< Of that, where told.
  std::uint64_t config_epoch = 0;
  std::uint64_t quorum = 0;
  std::uint64_t other_sentinels = 0;  ///< That it knows.
  bool master_down = false;           ///< It holds the master for down.
  bool failing_over = false;
  std::string chosen;            ///< host:port of the successor that it has chosen in an election under way.
  std::optional<UtcTime> heard;  ///< When it last said so.

  bool operator==(const SentinelStatus&) const = default;
};

/// An instance of the service as Consul's catalog has it: what DNS answers from.
struct CatalogStatus {
  std::string service_id;
  std::string service;  ///< Its name.
  std::string node;
  std::string address;   ///< host:port as DNS gives it.
  std::string upstream;  ///< Of a replica: host:port that it follows; else empty.
  std::string shard{};   ///< In Redis Cluster; else empty.
  std::vector<std::string> tags;
  std::string check;    ///< The worst of its checks.
  std::string output;   ///< Of its role check.
  bool served = false;  ///< DNS answers with it.

  bool operator==(const CatalogStatus&) const = default;
};

/// Something that is wrong now.
struct TroubleStatus {
  std::string subject;
  std::string text;

  bool operator==(const TroubleStatus&) const = default;
};

/// Something that changed.
struct Change {
  UtcTime at{};
  std::string subject;
  std::string text;

  bool operator==(const Change&) const = default;
};

/// What an agent knows of one group.
struct GroupStatus {
  std::string service;
  std::string master_service;
  std::string replica_service;
  std::string master_name;  ///< Sentinel's name of the group; empty: not known.
  std::string authority;    ///< sentinel, replication or cluster; empty while it is being found out.
  std::string unready;      ///< What is still missing before the agent can judge; empty: it is ready.
  bool claim_read = false;  ///< Consul has answered about the claim.
  std::optional<Claim> claim;
  std::string claim_trouble;  ///< Why the key holds no claim that can be understood.
  std::vector<InstanceStatus> instances;
  std::vector<SentinelStatus> sentinels;
  bool catalog_read = false;  ///< The catalog could be read; else what follows is empty.
  std::vector<CatalogStatus> catalog;

  bool operator==(const GroupStatus&) const = default;
};

/// All that an agent knows at one moment: an immutable value without a secret in it. Its own group is the first one, or
/// the only one, as in the days when there was but one; `unready` is that of whichever group is not.
struct Status : GroupStatus {
  UtcTime at{};
  std::string version;  ///< Of the agent.
  UtcTime started{};
  std::string consul;  ///< URL of the local Consul agent.
  std::string consul_version;
  std::string node;  ///< Consul node; empty: not known yet.
  std::string datacenter;
  std::vector<GroupStatus> groups;  ///< All of them, the first one included; empty: there is one.
  std::vector<TroubleStatus> troubles;
  std::vector<Change> changes;  ///< Oldest first.

  bool operator==(const Status&) const = default;
};

/// One at least.
std::span<const GroupStatus> GroupsOf(const Status& status);

/// As JSON (the form of /status). Bytes that are not UTF-8 become U+FFFD.
std::string EncodeStatus(const Status& status);

/// Takes what another process's EncodeStatus() made, of this version or another: unknown fields are ignored, missing
/// ones are empty. The error is a sentence: not JSON, not a status, or a field of the wrong type, which it names.
tl::expected<Status, std::string> DecodeStatus(std::string_view text);

}  // namespace rcb::agent
