#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/event_queue.h"

namespace rcb::simulation {

/// What happened in one schedule, as lines for people and as counts for the coverage guard.
class History {
 public:
  History(const EventQueue& queue, bool recording) : queue_(queue), start_(queue.now()), recording_(recording) {}

  /// `tell` returns the line; it is not called when nobody will read it.
  template <typename Tell>
  void Note(Tell tell) {
    if (recording_) Add(tell());
  }
  bool recording() const { return recording_; }
  void Count(const std::string& what) { ++counts_[what]; }

  const std::vector<std::string>& lines() const { return lines_; }
  const std::map<std::string, std::uint64_t>& counts() const { return counts_; }

 private:
  void Add(const std::string& line);

  const EventQueue& queue_;
  TimePoint start_;
  bool recording_;
  std::vector<std::string> lines_;
  std::map<std::string, std::uint64_t> counts_;
};

}  // namespace rcb::simulation
