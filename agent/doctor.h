#pragma once

#include <optional>
#include <vector>

#include "agent/config.h"
#include "agent/event_loop.h"
#include "agent/findings.h"

namespace rcb::agent {

/// Tries once everything that an agent with these settings needs, each from the bottom up: Redis, Sentinel, Consul, its
/// token, DNS. Takes up to 3 s for each that does not answer, and 3 s to listen for Sentinels where none is configured.
///
/// It changes nothing: the token's rights are tried by a transaction that names the claim at an index that it cannot
/// have, so that Consul checks the rights for all of it and then refuses it.
///
/// `dns`: the server to ask; absent: the Consul agent's own.
std::vector<Finding> Examine(EventLoop& loop, const Config& config, const std::optional<redis::Endpoint>& dns);

}  // namespace rcb::agent
