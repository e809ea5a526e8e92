#pragma once

#include <chrono>
#include <functional>
#include <memory>

struct uv_loop_s;
struct uv_timer_s;

namespace rcb::redis {

/// A timer on the event loop that fires once per Start(). Destroying it stops it.
class LoopTimer {
 public:
  /// `on_fire` may start, stop or destroy the timer.
  LoopTimer(uv_loop_s* loop, std::function<void()> on_fire);
  ~LoopTimer();
  LoopTimer(const LoopTimer&) = delete;
  LoopTimer& operator=(const LoopTimer&) = delete;

  /// Fires in `delay` from now, never before this returns; an earlier start is forgotten.
  void Start(std::chrono::milliseconds delay);
  void Stop();
  bool is_active() const;

 private:
  std::shared_ptr<const std::function<void()>> on_fire_;  ///< Shared with a call under way.
  uv_timer_s* timer_;                                     ///< Deleted by the loop once it is closed.
};

}  // namespace rcb::redis
