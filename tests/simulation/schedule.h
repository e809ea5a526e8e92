#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/random.h"

namespace rcb::simulation {

/// What came of one schedule.
struct Outcome {
  std::optional<std::string> broken;  ///< The invariant that did not hold.
  std::vector<std::string> history;   ///< Only when recording.
  std::map<std::string, std::uint64_t> counts;
  std::uint64_t events = 0;
  std::vector<Duration> without_master;
  std::vector<Duration> promotion_to_published;
  std::vector<Duration> repushed;
  std::vector<Duration> repushed_unwatched;
  std::vector<Duration> foreign;
  Duration converged{};  ///< From the end of the faults to the right master.
};

/// Everything in it follows from the seed: the group's size and settings, the faults, every latency.
Outcome RunSchedule(std::uint64_t seed, bool recording);

}  // namespace rcb::simulation
