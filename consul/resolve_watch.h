#pragma once

#include <chrono>

#include "consul/resolver.h"

namespace rcb::consul {

/// True when `found` leaves nothing to say to whoever was told `told`: the same addresses in any order or, unless `all`
/// are wanted, the address that was told is still among them.
bool IsKnown(const Addresses& told, const Addresses& found, bool all);

/// Pauses between two looks at DNS. Pure.
class PollPause {
 public:
  /// A change is to be seen within 50 ms; 40 questions a second are nothing to a local Consul agent (0.1 ms each).
  static constexpr std::chrono::milliseconds kUsual{20};
  /// So that many who wait for the same service do not ask in step.
  static constexpr std::chrono::milliseconds kJitter{10};
  /// A server that fails is asked less and less often, and seen within a quarter of a second when it is back.
  static constexpr std::chrono::milliseconds kLongest{250};

  /// The next pause, after a look that failed (DNS or a check did, not: there is none) or did not.
  std::chrono::milliseconds Next(bool failed, const UniformDraw& draw);

 private:
  std::chrono::milliseconds step_{kUsual};
};

}  // namespace rcb::consul
