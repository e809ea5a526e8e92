#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "tests/simulation/random.h"

namespace rcb::simulation {

using TimePoint = std::chrono::steady_clock::time_point;

/// Simulated time: actions in the order of their time, those of the same moment in the order they were asked for.
class EventQueue {
 public:
  using Action = std::function<void()>;

  TimePoint now() const { return now_; }
  std::uint64_t executed() const { return executed_; }

  void At(TimePoint at, Action action);
  void After(Duration delay, Action action) { At(now_ + delay, std::move(action)); }
  /// Runs what is due up to and including `end`; now() is `end` afterwards unless Stop() was called.
  void RunUntil(TimePoint end);
  void Stop() { stopped_ = true; }

 private:
  struct Event {
    TimePoint at;
    std::uint64_t order;
    Action action;
  };
  static bool Later(const Event& a, const Event& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }

  std::vector<Event> events_;  ///< A heap, the next one in front.
  TimePoint now_{std::chrono::hours(1)};
  std::uint64_t order_ = 0;
  std::uint64_t executed_ = 0;
  bool stopped_ = false;
};

}  // namespace rcb::simulation
