#pragma once

#include "tests/simulation/event_queue.h"
#include "tests/simulation/history.h"
#include "tests/simulation/network.h"
#include "tests/simulation/random.h"

namespace rcb::simulation {

/// What every model of one schedule shares.
struct Environment {
  Environment(std::uint64_t seed, std::size_t hosts, bool recording)
      : random(seed), network(hosts), history(queue, recording) {}

  TimePoint now() const { return queue.now(); }
  Duration Latency(std::size_t from, std::size_t to) { return network.Latency(from, to, random); }
  Duration Between(Duration least, Duration most) { return random.Between(least, most); }

  EventQueue queue;
  Random random;
  Network network;
  History history;
};

}  // namespace rcb::simulation
