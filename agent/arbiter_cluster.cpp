// Authority `cluster`: the rows of the table for nodes of Redis Cluster. The other half of agent/arbiter.cpp.

#include <algorithm>
#include <utility>

#include "agent/arbiter.h"

namespace rcb::agent {
namespace {

using consul::CheckStatus;
using redis::Role;
using std::chrono::milliseconds;

/// What reached a node while it was hung or away is read by then: it listens before it is published again. (Redis has a
/// pause of its own after a restart and after a partition, src/cluster.c clusterUpdateState, but none for a process
/// that was stopped.)
constexpr milliseconds kCatchUp{1000};
/// So long a dead master of a higher epoch has the last word over one that has come back: by then a node that is in
/// touch with its cluster has heard who owns its slots. Later it is a leftover, say of a cluster that was made anew,
/// where epochs start at 1 again.
constexpr milliseconds kLeftover{10000};
/// A resharding moves slots one by one, several a second: they are followed at this pace, not each of them.
constexpr milliseconds kSlotPace{2000};

std::string WhyNotOk(const redis::ClusterView& cluster) {
  if (cluster.nodes.minority) return "most masters cannot be reached from here";
  if (!cluster.info.all_slots_assigned) return "not every slot has an owner";
  return "not every slot has a working owner, or the node has just come back";
}

}  // namespace

/// Rows that nodes of Redis Cluster have to themselves; nullopt: as any other server.
std::optional<Verdict> Arbiter::JudgeClusterNode(std::size_t instance, TimePoint now) const {
  const redis::InstanceState& state = states_[instance];
  const bool is_node = state.server.mode == "cluster";
  if (authority_ != Authority::kCluster) {
    if (!is_node) return std::nullopt;
    return Withhold("a Redis Cluster node, but authority is set to " +
                    std::string(authority_ ? ToString(*authority_) : "another one"));
  }
  if (!is_node) return Withhold("no Redis Cluster node, but authority is cluster");
  const bool replica = state.info->role == Role::kReplica;
  if (!state.cluster) {
    if (state.cluster_trouble.empty()) return Verdict{};  // Not asked yet: what stands in Consul stays.
    return Withhold("a Redis Cluster node that does not tell its view: " + state.cluster_trouble);
  }
  if (!state.cluster->info.state_ok) {
    return Say(replica ? Tag::kReplica : Tag::kNone, CheckStatus::kCritical,
               std::string(replica ? "replica" : "says master") +
                   ", but its cluster_state is fail: " + WhyNotOk(*state.cluster));
  }
  if (replica) return std::nullopt;
  if (state.loading) return Down(instance, now, "loading its data set");
  return JudgeClusterMaster(instance, now);
}

Verdict Arbiter::JudgeClusterMaster(std::size_t instance, TimePoint now) const {
  const redis::InstanceState& state = states_[instance];
  const redis::ClusterNodes& nodes = state.cluster->nodes;
  if (nodes.role != Role::kMaster) return Withhold("says master, but a replica in CLUSTER NODES");
  const auto shard = ShardOf(nodes);
  if (!shard) return Withhold("a master without slots");
  if (const CatalogFact* other = Superseding(instance, SlotClaimOf(*shard), now)) {
    return Withhold("says master, but " + other->address + " owns its slots at epoch " +
                    std::to_string(other->slots->epoch));
  }
  // Neither without having seen the others' epochs, nor right after it came back as a master, unless it is published
  // all the time.
  const bool came_back = state.role_since <= state.health_since && now - state.health_since < kCatchUp;
  if (!catalog_ || (came_back && !IsServedAsMaster(instance))) return Unchanged(instance, now);
  return Say(Tag::kMaster, CheckStatus::kPassing,
             "master of " + shards_[instance]->shard.name + " at epoch " + std::to_string(nodes.epoch) +
                 ", confirmed by its cluster");
}

/// The entry of the highest epoch among those that own all slots of `claim`, of this instance; null: there are none.
const CatalogFact* Arbiter::Superseding(std::size_t instance, const SlotClaim& claim, TimePoint now) const {
  if (!catalog_) return nullptr;
  const redis::InstanceState& state = states_[instance];
  const bool news = now - std::max(state.health_since, state.role_since) < kLeftover;
  std::vector<SlotClaim> others;
  const CatalogFact* highest = nullptr;
  for (const CatalogFact& fact : *catalog_) {
    const bool own = fact.service_id == instances_[instance].service_id && fact.node == instances_[instance].node;
    if (own || !fact.slots || !(fact.served_as_master || news)) continue;
    others.push_back(*fact.slots);
    if (highest == nullptr || fact.slots->epoch > highest->slots->epoch) highest = &fact;
  }
  return IsSuperseded(claim, others) ? highest : nullptr;
}

/// A master that does not answer stays tagged, and critical, until another one owns its slots.
bool Arbiter::KeepsMasterTag(std::size_t instance, TimePoint now) const {
  if (authority_ != Authority::kCluster || !shards_[instance]) return false;
  const auto& before = published_[instance];
  return before && before->tag == Tag::kMaster &&
         Superseding(instance, SlotClaimOf(shards_[instance]->shard), now) == nullptr;
}

void Arbiter::FollowShard(std::size_t instance, TimePoint now) {
  const redis::InstanceState& state = states_[instance];
  if (!state.cluster || state.health != redis::Health::kAnswering) return;
  const redis::ClusterNodes& nodes = state.cluster->nodes;
  auto& seen = shards_[instance];
  auto shard = ShardOf(nodes);
  if (!shard) {
    // A replica's master may have lost its slots to a successor that the replica has not been told to follow yet.
    if (nodes.role == Role::kMaster) seen.reset();
    return;
  }
  const bool same = seen && seen->role == nodes.role && seen->shard.epoch == shard->epoch;
  if (same && (seen->shard == *shard || now - seen->at < kSlotPace)) return;
  seen = ShardSeen{nodes.role, *std::move(shard), now};
}

}  // namespace rcb::agent
