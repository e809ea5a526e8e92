#pragma once

#include <doctest/doctest.h>
#include <uv.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "consul/result.h"

namespace rcb::consul {

using Clock = std::chrono::steady_clock;

/// Longest wait for anything that should happen.
constexpr std::chrono::seconds kDeadline{20};

/// An event loop that a test runs until something is true. Closing it proves that every handle was closed.
class Loop {
 public:
  Loop() {
    REQUIRE(uv_loop_init(&loop_) == 0);
    uv_timer_init(&loop_, &tick_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() {
    uv_close(reinterpret_cast<uv_handle_t*>(&tick_), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop_) == 0);
  }

  template <typename Condition>
  bool RunUntil(Condition condition, std::chrono::milliseconds longest = kDeadline) {
    uv_timer_start(
        &tick_, [](uv_timer_t*) {}, 5, 5);
    const auto end = Clock::now() + longest;
    while (!condition() && Clock::now() < end) uv_run(&loop_, UV_RUN_ONCE);
    uv_timer_stop(&tick_);
    return condition();
  }

  /// Makes a call and runs until its handler was called.
  template <typename T, typename Call>
  Result<T> Await(Call call) {
    std::optional<Result<T>> answer;
    call([&answer](Result<T> result) { answer = std::move(result); });
    CHECK_FALSE(answer);  // Never before the call returns.
    REQUIRE(RunUntil([&answer] { return answer.has_value(); }));
    return *answer;
  }

  uv_loop_t* get() { return &loop_; }

 private:
  uv_loop_t loop_{};
  uv_timer_t tick_{};
};

inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}
inline double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace rcb::consul
