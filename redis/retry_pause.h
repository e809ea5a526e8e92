#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace rcb::redis {

/// How long to wait before the next attempt: doubled after each failure up to a cap, and jittered down to half of it,
/// so that agents which lost the same server do not return in step.
class RetryPause {
 public:
  RetryPause(std::chrono::milliseconds first, std::chrono::milliseconds cap) : first_(first), cap_(cap), next_(first) {}

  std::chrono::milliseconds Next() {
    const auto pause = next_;
    next_ = std::min(next_ * 2, cap_);
    std::uniform_int_distribution<std::chrono::milliseconds::rep> jitter(pause.count() / 2, pause.count());
    return std::chrono::milliseconds(jitter(random_));
  }

  void Reset() { next_ = first_; }

 private:
  std::chrono::milliseconds first_;
  std::chrono::milliseconds cap_;
  std::chrono::milliseconds next_;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace rcb::redis
