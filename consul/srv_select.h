#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "consul/dns_message.h"

namespace rcb::consul {

/// A source of randomness: each call gives a number in 0..`max`, all equally likely.
using UniformDraw = std::function<std::uint32_t(std::uint32_t max)>;

/// Puts servers in the order in which a client should try them (RFC 2782, "Usage rules"): by priority, lowest first,
/// and among equals by lot, each with a chance in proportion to its weight. Weight 0 is drawn seldom, but can be.
/// The same draws give the same order.
std::vector<SrvRecord> OrderForUse(std::vector<SrvRecord> records, const UniformDraw& draw);

}  // namespace rcb::consul
