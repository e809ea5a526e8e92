#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "redis/endpoint.h"
#include "redis/result.h"

namespace rcb::redis {

/// A Sentinel pub/sub event, as far as somebody acts on it (Redis src/sentinel.c sentinelEvent; the channel is its
/// name).
struct SentinelEvent {
  enum class Kind {
    kNewEpoch,            ///< +new-epoch N: this Sentinel's current epoch.
    kVoteForLeader,       ///< +vote-for-leader runid N.
    kTryFailover,         ///< +try-failover: this Sentinel starts an election; its epoch is the last one told.
    kSelectedReplica,     ///< +selected-slave
    kSendReplicaofNoOne,  ///< +failover-state-send-slaveof-noone: named is the chosen replica
    kPromotedReplica,     ///< +promoted-slave
    kFailoverAborted,     ///< -failover-abort-*: what was selected no longer is
    kFailoverEnd,         ///< +failover-end, +failover-end-for-timeout
    kSwitchMaster,        ///< +switch-master name oldip oldport newip newport
    kTilt,                ///< +tilt
    kNotTilt,             ///< -tilt
    kOther,  ///< About a group, of no meaning to us (sdown, reboot, slave, sentinel, …): a reason to look.
  };
  Kind kind = Kind::kOther;
  std::string name;         ///< The channel, for the log.
  std::string master_name;  ///< Empty where the event names no group (epochs, votes, tilt).
  Endpoint master;          ///< The group's master as the event names it; for kSwitchMaster the old one.
  Endpoint instance;        ///< Whom the event is about; for kSwitchMaster the new master.
  std::uint64_t epoch = 0;  ///< kNewEpoch and kVoteForLeader.
};

/// Takes a channel and its payload. `%@` is `<type> <name> <ip> <port>` and, unless a master, ` @ <master> <ip>
/// <port>`. Error kMalformedReply: a known event whose payload does not have its form. Unknown events are kOther.
Result<SentinelEvent> ParseSentinelEvent(std::string_view channel, std::string_view payload);

}  // namespace rcb::redis
