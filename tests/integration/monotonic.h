#pragma once

#include <chrono>
#include <cstdint>

namespace rcb::integration {

/// Microseconds of CLOCK_MONOTONIC (libstdc++'s steady_clock): the same clock in every process of the machine, so that
/// times of the observer and of a test can be compared.
inline std::int64_t MonotonicMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace rcb::integration
