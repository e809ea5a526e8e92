#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace rcb::simulation {

using Duration = std::chrono::microseconds;

/// Numbers that follow from a seed, the same on every machine (splitmix64; public domain, Vigna).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t bits = state_;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ULL;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebULL;
    return bits ^ (bits >> 31);
  }
  /// Below `bound`; 0 where there is no choice.
  std::size_t Below(std::size_t bound) { return static_cast<std::size_t>(Next() % std::max<std::size_t>(bound, 1)); }
  bool Chance(double probability) { return static_cast<double>(Next() >> 11) * 0x1.0p-53 < probability; }
  Duration Between(Duration least, Duration most) {
    const auto span = static_cast<std::uint64_t>((most - least).count()) + 1;
    return least + Duration(static_cast<std::int64_t>(Next() % span));
  }

 private:
  std::uint64_t state_;
};

}  // namespace rcb::simulation
