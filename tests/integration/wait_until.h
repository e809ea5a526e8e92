#pragma once

#include <chrono>
#include <thread>

namespace rcb::integration {

/// Waits until `condition()` holds; false when it did not within `deadline`. Asks every `interval`: what is measured is
/// read from the observer's history, not from when a wait ended.
template <typename Condition>
bool WaitUntil(Condition condition, std::chrono::milliseconds deadline,
               std::chrono::milliseconds interval = std::chrono::milliseconds(5)) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(interval);
  }
  return true;
}

/// True when `condition()` held at every look for the whole of `duration`; ends at once when it does not.
template <typename Condition>
bool HoldsFor(Condition condition, std::chrono::milliseconds duration,
              std::chrono::milliseconds interval = std::chrono::milliseconds(5)) {
  return !WaitUntil([&] { return !condition(); }, duration, interval);
}

}  // namespace rcb::integration
