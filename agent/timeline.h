#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "agent/status.h"

namespace rcb::agent {

/// The last changes, for people. Bounded: the oldest is forgotten.
class Timeline {
 public:
  static constexpr std::size_t kMost = 50;

  void Add(Change change) {
    if (changes_.size() == kMost) changes_.pop_front();
    changes_.push_back(std::move(change));
  }
  std::vector<Change> Changes() const { return {changes_.begin(), changes_.end()}; }  ///< Oldest first.

 private:
  std::deque<Change> changes_;
};

}  // namespace rcb::agent
