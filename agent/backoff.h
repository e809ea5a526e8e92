#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace rcb::agent {

/// Pauses that double up to a cap, with jitter so that many agents do not return in step. Pure: the sequence follows
/// from the seed.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds first, std::chrono::milliseconds cap, std::uint64_t seed)
      : first_(first), cap_(cap), next_(first), state_(seed) {}

  /// The next pause: 75 to 125 % of the step.
  std::chrono::milliseconds Next() {
    const auto step = next_;
    next_ = std::min(cap_, next_ * 2);
    // splitmix64 (public domain, Vigna): enough for jitter, and the same on every machine.
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t bits = (state_ ^ (state_ >> 30)) * 0xbf58476d1ce4e5b9ULL;
    bits ^= bits >> 27;
    return std::chrono::milliseconds(step.count() * 3 / 4 +
                                     static_cast<std::int64_t>(bits % 1000) * step.count() / 2000);
  }
  void Reset() { next_ = first_; }

 private:
  std::chrono::milliseconds first_;
  std::chrono::milliseconds cap_;
  std::chrono::milliseconds next_;
  std::uint64_t state_;
};

}  // namespace rcb::agent
