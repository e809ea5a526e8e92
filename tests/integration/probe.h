#pragma once

#include <poll.h>

#include <cstdint>
#include <string>

namespace rcb::integration {

/// An IPv4 address and port of somebody to be asked.
struct ProbeTarget {
  std::string address;
  std::uint16_t port = 0;
};

/// What a probe learnt since its last report.
struct SampleCount {
  std::int64_t samples = 0;             ///< Answers, of whatever content; a refusal is one.
  std::int64_t largest_gap_micros = 0;  ///< Between two answers in a row, the one still awaited included.
};

/// Counts answers and the time between them.
class SampleMeter {
 public:
  void OnSample(std::int64_t now) {
    CountGap(now);
    ++count_.samples;
    last_ = now;
  }

  /// The count so far; starts the next one. The gap since the last answer goes into both.
  SampleCount Take(std::int64_t now) {
    CountGap(now);
    const SampleCount taken = count_;
    count_ = {};
    return taken;
  }

 private:
  void CountGap(std::int64_t now) {
    if (last_ != 0 && now - last_ > count_.largest_gap_micros) count_.largest_gap_micros = now - last_;
  }

  SampleCount count_;
  std::int64_t last_ = 0;
};

/// Somebody who is asked again and again over a socket that never blocks. One question is on its way at a time, so that
/// answers cannot overtake one another and the history is in the order of events.
class Probe {
 public:
  virtual ~Probe() = default;

  /// About every millisecond, or as the observer was told: asks, unless an answer is still awaited.
  virtual void OnTick(std::int64_t now) = 0;
  /// The socket is ready in one of the ways that poll_entry() asked for.
  virtual void OnReady(std::int64_t now, short events) = 0;
  /// What to wait for; fd -1 for nothing.
  virtual pollfd poll_entry() const = 0;
  /// "dns" or "redis", and who is asked: the history's second and third field.
  virtual const std::string& kind() const = 0;
  virtual const std::string& subject() const = 0;
  virtual SampleCount TakeSampleCount(std::int64_t now) = 0;
};

}  // namespace rcb::integration
