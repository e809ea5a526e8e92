#pragma once

#include <netinet/in.h>

#include "tests/integration/probe.h"

namespace rcb::integration {

/// "address:port" as values. Throws std::invalid_argument that names the text.
ProbeTarget ParseProbeTarget(const std::string& text);

/// The target as the socket calls take it. Throws std::invalid_argument when the address is no IPv4 literal.
sockaddr_in ToSocketAddress(const ProbeTarget& target);

}  // namespace rcb::integration
