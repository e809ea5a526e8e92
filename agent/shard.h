#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "consul/types.h"
#include "redis/cluster_info.h"
#include "redis/slot_set.h"

namespace rcb::agent {

/// The shard of Redis Cluster that an instance belongs to, as its registration tells it.
struct Shard {
  /// "shard-5461", by its lowest slot: tag and Meta. Every node derives the same name from its own view, and a failover
  /// does not change it, as the successor gets the very slots of its predecessor. Redis names shards itself since 7.2
  /// only. What changes it is the lowest slot going to another shard.
  std::string name;
  std::string slots;        ///< "0-5460,5462": Meta. Shortened to what a value may hold.
  std::uint64_t epoch = 0;  ///< Config epoch of its master: Meta of that one.

  bool operator==(const Shard&) const = default;
};

/// nullopt: the node knows of no slots.
std::optional<Shard> ShardOf(const redis::ClusterNodes& nodes);

/// What a master of Redis Cluster claims: of two that claim one slot, the one with the higher epoch owns it
/// (src/cluster.c clusterUpdateSlotsConfigWith).
struct SlotClaim {
  std::uint64_t epoch = 0;
  redis::SlotSet slots;

  bool operator==(const SlotClaim&) const = default;
};

/// By the Meta of an entry that stands as a master in the catalog; nullopt: it is of no cluster.
std::optional<SlotClaim> SlotClaimOf(const consul::ServiceEntry& entry);
/// The same of a shard's master.
SlotClaim SlotClaimOf(const Shard& shard);

/// True when the claim has slots and others own all of them. Whoever lost only some is not superseded: those were
/// moved.
bool IsSuperseded(const SlotClaim& claim, const std::vector<SlotClaim>& others);

}  // namespace rcb::agent
