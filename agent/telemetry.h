#pragma once

#include "agent/tally.h"
#include "agent/timeline.h"

namespace rcb::agent {

/// What an agent remembers for people alone. Outlives a reload.
struct Telemetry {
  UtcTime started{};
  Tally tally;
  Timeline timeline;
};

/// All that there is to see of an agent at one moment: what the status server shows.
struct Snapshot {
  Status status;
  Tally tally;
};

}  // namespace rcb::agent
