#include "redis/loop_timer.h"

#include <uv.h>

#include <algorithm>
#include <utility>

namespace rcb::redis {

LoopTimer::LoopTimer(uv_loop_s* loop, std::function<void()> on_fire)
    : on_fire_(std::make_shared<const std::function<void()>>(std::move(on_fire))), timer_(new uv_timer_t) {
  uv_timer_init(loop, timer_);  // Cannot fail (libuv 1.44 src/timer.c).
  timer_->data = this;
}

LoopTimer::~LoopTimer() {
  uv_close(reinterpret_cast<uv_handle_t*>(timer_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_timer_t*>(handle); });
}

void LoopTimer::Start(std::chrono::milliseconds delay) {
  uv_update_time(timer_->loop);  // libuv counts from its own clock, which a long callback leaves behind.
  uv_timer_start(
      timer_,
      [](uv_timer_t* timer) noexcept {
        const auto on_fire = static_cast<LoopTimer*>(timer->data)->on_fire_;
        (*on_fire)();
      },
      static_cast<std::uint64_t>(std::max<std::chrono::milliseconds::rep>(delay.count(), 0)), 0);
}

void LoopTimer::Stop() { uv_timer_stop(timer_); }

bool LoopTimer::is_active() const { return uv_is_active(reinterpret_cast<const uv_handle_t*>(timer_)) != 0; }

}  // namespace rcb::redis
