// Masters of Redis Cluster: one for each shard, and no claim. The other half of agent/publisher.cpp.

#include <algorithm>
#include <utility>

#include "agent/publisher.h"

namespace rcb::agent {
namespace {

using consul::ServiceEntry;

/// How long everybody leaves a stale master to its successor's agent.
constexpr std::chrono::milliseconds kLeftToSuccessor{1000};

bool IsOfShard(const ServiceEntry& entry, const Shard& shard) {
  const auto name = entry.meta.find("shard");
  return name != entry.meta.end() && name->second == shard.name;
}

}  // namespace

bool Publisher::IsCluster() const {
  return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.facts.shard.has_value(); });
}

/// What an entry claims that stands as a master.
std::optional<SlotClaim> Publisher::MasterOfShard(const ServiceEntry& entry) const {
  return StandsAsMaster(entry) ? SlotClaimOf(entry) : std::nullopt;
}

/// Publishes it and strips whom it supersedes. Everybody else of the shard is written as it was read, on the condition
/// that it still is: of two nodes of one shard that rest on the same catalog, the second one then fails and is thought
/// over with what the first one did. (Of what is written unchanged Consul drops the TaggedAddresses, which the
/// agent of the node brings back at leisure; seen on 1.8.7.)
Publisher::Call Publisher::PublishShardMaster(std::size_t instance, const ServiceEntry& own) const {
  const Lane& lane = lanes_[instance];
  const Shard& shard = *lane.facts.shard;
  Transaction transaction;
  AppendPublication(lane, own, transaction.operations);
  const std::string superseded = SupersededBy(lane.facts, own, lane.wanted->reason);
  for (const ServiceEntry& other : *catalog_) {
    if (transaction.operations.size() + 2 > consul::kMaxTxnOperations) break;  // The rest is withdrawn afterwards.
    if (other.id == own.id && other.node == own.node) continue;
    const auto claim = MasterOfShard(other);
    if (claim && IsSuperseded(*claim, {SlotClaimOf(shard)})) {
      AppendStrip(other, superseded, transaction.operations);
    } else if (IsOfShard(other, shard)) {
      transaction.operations.emplace_back(consul::TxnServiceSet{other, other.tags, other.meta, other.modify_index});
    }
  }
  return Call{instance, std::move(transaction), lane.wanted->reason};
}

/// Stale masters that anti-entropy of a lost host, or somebody else, brings back: the successor withdraws them at once,
/// and everybody else where its agent is lost as well.
std::optional<Publisher::Call> Publisher::WithdrawFromShards(TimePoint now) {
  if (!catalog_ || now < group_.transaction_at || !IsSettled(group_, now)) return std::nullopt;
  std::vector<SlotClaim> served;
  std::vector<SlotClaim> own;
  for (const ServiceEntry& entry : *catalog_) {
    const auto claim = MasterOfShard(entry);
    if (!claim || !entry.IsServed()) continue;
    served.push_back(*claim);
    if (IsOwn(entry)) own.push_back(*claim);
  }
  Transaction transaction;
  std::string names;
  bool mine = true;
  for (const ServiceEntry& entry : *catalog_) {
    const auto claim = MasterOfShard(entry);
    if (!claim || !entry.IsServed() || IsOwn(entry) || !IsSuperseded(*claim, served)) continue;
    if (transaction.operations.size() + 2 > consul::kMaxTxnOperations) break;
    AppendStrip(entry, "withdrawn: others own its slots at a higher epoch", transaction.operations);
    names += (names.empty() ? "" : ", ") + entry.id;
    mine &= IsSuperseded(*claim, own);
  }
  if (names.empty()) {
    surplus_since_.reset();
    return std::nullopt;
  }
  if (!surplus_since_) surplus_since_ = now;
  if (!mine && now - *surplus_since_ < kLeftToSuccessor) return std::nullopt;
  return Call{kGroupLane, std::move(transaction), "withdrawing the master tag of " + names};
}

}  // namespace rcb::agent
