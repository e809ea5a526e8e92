#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rcb::integration {

/// One command to the Redis or Sentinel at a loopback port, on a connection of its own, blocking for 2 s at most.
/// Returns the reply as text, an array one element a line, an error with its "-" in front; empty when there is no
/// answer.
std::string RedisCommand(std::uint16_t port, const std::vector<std::string>& command, const std::string& password = "");

}  // namespace rcb::integration
