#pragma once

#include <cstdint>
#include <string>

namespace rcb::integration {

/// A loopback port, free for TCP and UDP, that this process was not given before. From the range that RCB_PORTS names
/// ("25000-25499", so that tests which run at the same time stay apart), else from 25000-28999; where in the range is
/// random. Throws std::runtime_error when the range is used up.
std::uint16_t FreePort();

/// "127.0.0.1:port".
std::string Loopback(std::uint16_t port);

}  // namespace rcb::integration
