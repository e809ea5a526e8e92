#pragma once

#include <string>

#include "agent/telemetry.h"

namespace rcb::agent {

/// Everything in Prometheus's text format (version 0.0.4).
std::string RenderMetrics(const Snapshot& snapshot);

}  // namespace rcb::agent
