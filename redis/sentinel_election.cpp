#include "redis/sentinel_election.h"

#include <utility>

namespace rcb::redis {

SentinelElection::SentinelElection(std::string sentinel_id, std::string master_name)
    : sentinel_id_(std::move(sentinel_id)), master_name_(std::move(master_name)) {}

void SentinelElection::OnEvent(const SentinelEvent& event) {
  using Kind = SentinelEvent::Kind;
  // Epochs belong to the Sentinel, not to a group.
  if (event.kind == Kind::kNewEpoch) {
    last_epoch_ = event.epoch;
    return;
  }
  if (event.master_name != master_name_) return;
  switch (event.kind) {
    case Kind::kTryFailover:
      failover_epoch_ = last_epoch_;
      current_.reset();
      break;
    case Kind::kSelectedReplica:
    case Kind::kSendReplicaofNoOne:
    case Kind::kPromotedReplica:
      if (failover_epoch_) current_ = Election{sentinel_id_, master_name_, event.instance, *failover_epoch_};
      break;
    case Kind::kFailoverAborted:
    case Kind::kFailoverEnd:
    case Kind::kSwitchMaster:
      failover_epoch_.reset();
      current_.reset();
      break;
    case Kind::kOther:
      // The group was configured anew: its failover is forgotten without an event of its own (src/sentinel.c
      // sentinelResetMaster, SENTINEL REMOVE and MONITOR).
      if (event.name == "+monitor" || event.name == "-monitor" || event.name == "+reset-master") {
        failover_epoch_.reset();
        current_.reset();
      }
      break;
    case Kind::kNewEpoch:
    case Kind::kVoteForLeader:
    case Kind::kTilt:
    case Kind::kNotTilt: break;
  }
}

void SentinelElection::OnDisconnected() {
  last_epoch_.reset();
  failover_epoch_.reset();
  current_.reset();
}

}  // namespace rcb::redis
