#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "redis/result.h"

namespace rcb::redis {

/// Where a server listens: a host (name or address) and port, or the path of a unix socket.
struct Endpoint {
  std::string host;        ///< Name, IPv4 or IPv6 address without brackets; empty for a unix socket.
  std::uint16_t port = 0;  ///< 1..65535; 0 for a unix socket.
  std::string unix_path;   ///< Absolute path; empty for TCP.

  bool is_unix() const { return !unix_path.empty(); }

  /// "host:port", "[v6]:port" or "unix:/path": what ParseEndpoint() takes.
  std::string ToString() const;

  auto operator<=>(const Endpoint&) const = default;
};

/// Takes "host:port", "[v6]:port", "host" or "[v6]" (then `default_port`) or "unix:/path".
/// Error kMalformedReply never occurs here; every fault is kUnresolvable with a sentence that names the text and the
/// accepted forms.
Result<Endpoint> ParseEndpoint(std::string_view text, std::uint16_t default_port);

/// Takes a host and a port that Redis or Sentinel told as two texts. Nothing when one of them cannot be any.
std::optional<Endpoint> EndpointFromFields(std::string_view host, std::string_view port);

}  // namespace rcb::redis
