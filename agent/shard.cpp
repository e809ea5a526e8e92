#include "agent/shard.h"

#include "redis/wire_text.h"

namespace rcb::agent {
namespace {

/// A Meta value has 512 bytes (Consul agent/structs/structs.go metaValueMaxLength). Slots so scattered that they do not
/// fit are compared by those that do.
constexpr std::size_t kMaxSlotsText = 500;

}  // namespace

std::optional<Shard> ShardOf(const redis::ClusterNodes& nodes) {
  const auto lowest = nodes.slots.lowest();
  if (!lowest) return std::nullopt;
  return Shard{"shard-" + std::to_string(*lowest), nodes.slots.ToString(kMaxSlotsText), nodes.epoch};
}

std::optional<SlotClaim> SlotClaimOf(const consul::ServiceEntry& entry) {
  const auto epoch = entry.meta.find("epoch");
  const auto slots = entry.meta.find("slots");
  if (epoch == entry.meta.end() || slots == entry.meta.end()) return std::nullopt;
  const auto number = redis::ParseNumber<std::uint64_t>(epoch->second);
  if (!number) return std::nullopt;
  return SlotClaim{*number, redis::SlotSet::FromString(slots->second)};
}

SlotClaim SlotClaimOf(const Shard& shard) { return {shard.epoch, redis::SlotSet::FromString(shard.slots)}; }

bool IsSuperseded(const SlotClaim& claim, const std::vector<SlotClaim>& others) {
  redis::SlotSet owned;
  for (const SlotClaim& other : others) {
    if (other.epoch > claim.epoch) owned.Add(other.slots);
  }
  return !claim.slots.empty() && owned.Covers(claim.slots);
}

}  // namespace rcb::agent
