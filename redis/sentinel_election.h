#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "redis/endpoint.h"
#include "redis/sentinel_event.h"

namespace rcb::redis {

/// A Sentinel leader's choice of a new master, known before the promotion itself.
struct Election {
  std::string sentinel_id;
  std::string master_name;
  Endpoint chosen;
  std::uint64_t epoch = 0;  ///< Will be the group's config-epoch when the failover succeeds.

  bool operator==(const Election&) const = default;
};

/// Follows one Sentinel's events about one group and tells whom it has chosen, and at which epoch. Pure.
///
/// The leader's failover epoch is the last +new-epoch before its +try-failover (src/sentinel.c sentinelStartFailover
/// emits both in one go); a later +new-epoch, of a vote for somebody else, does not change it. Without having heard a
/// +try-failover nothing is told: the view that follows will do.
class SentinelElection {
 public:
  SentinelElection(std::string sentinel_id, std::string master_name);

  void OnEvent(const SentinelEvent& event);
  /// Events may have been missed: forgets everything (pub/sub has no replay).
  void OnDisconnected();

  /// From +selected-slave until the failover ended, was aborted, switched, or another began, or the group was
  /// configured anew.
  const std::optional<Election>& current() const { return current_; }

 private:
  std::string sentinel_id_;
  std::string master_name_;
  std::optional<std::uint64_t> last_epoch_;
  std::optional<std::uint64_t> failover_epoch_;
  std::optional<Election> current_;
};

}  // namespace rcb::redis
