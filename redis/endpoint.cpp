#include "redis/endpoint.h"

#include <algorithm>

#include "redis/wire_text.h"

namespace rcb::redis {
namespace {

constexpr std::size_t kMaxHostLength = 255;      // RFC 1035, 2.3.4.
constexpr std::size_t kMaxUnixPathLength = 107;  // sockaddr_un::sun_path without its final NUL.
constexpr std::size_t kMaxQuotedLength = 80;     // Of a faulty text in a sentence.
constexpr std::string_view kUnixPrefix = "unix:";

bool IsAlphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool IsHostName(std::string_view host) {
  return !host.empty() && host.size() <= kMaxHostLength && host.front() != '-' &&
         std::all_of(host.begin(), host.end(),
                     [](char c) { return IsAlphanumeric(c) || c == '.' || c == '-' || c == '_'; });
}

/// Roughly: what is no address after all fails to resolve. A zone ("%eth0") may follow.
bool IsIpv6(std::string_view host) {
  const std::string_view digits = host.substr(0, host.find('%'));
  const std::string_view zone = host.substr(digits.size());
  return host.size() <= kMaxHostLength && std::count(digits.begin(), digits.end(), ':') >= 2 &&
         digits.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos &&
         (zone.empty() || IsHostName(zone.substr(1)));
}

tl::unexpected<Error> Malformed(std::string_view text, std::string_view fault) {
  std::string quoted;
  for (const char c : text.substr(0, kMaxQuotedLength)) quoted += c >= ' ' && c <= '~' ? c : '?';
  return Fail(ErrorKind::kUnresolvable, "\"" + quoted + "\" is no address of a server: " + std::string(fault) +
                                            "; use host:port, [ipv6]:port, host or unix:/path");
}

}  // namespace

std::string Endpoint::ToString() const {
  if (is_unix()) return std::string(kUnixPrefix) + unix_path;
  const bool bracket = host.find(':') != std::string::npos;
  return (bracket ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Endpoint> ParseEndpoint(std::string_view text, std::uint16_t default_port) {
  if (text.starts_with(kUnixPrefix)) {
    const std::string_view path = text.substr(kUnixPrefix.size());
    if (!path.starts_with('/')) return Malformed(text, "the path of a unix socket is absolute");
    if (path.size() > kMaxUnixPathLength) return Malformed(text, "the path of a unix socket has at most 107 bytes");
    if (path.find('\0') != std::string_view::npos) return Malformed(text, "a path holds no NUL");
    return Endpoint{.host = "", .port = 0, .unix_path = std::string(path)};
  }

  std::string_view host = text;
  std::optional<std::string_view> port_text;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return Malformed(text, "\"]\" is missing");
    host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') return Malformed(text, "only :port may follow \"]\"");
    if (!rest.empty()) port_text = rest.substr(1);
    if (!IsIpv6(host)) return Malformed(text, "brackets hold an IPv6 address");
  } else {
    const std::size_t colon = text.find(':');
    if (colon != std::string_view::npos) {
      if (text.find(':', colon + 1) != std::string_view::npos) return Malformed(text, "an IPv6 address needs brackets");
      host = text.substr(0, colon);
      port_text = text.substr(colon + 1);
    }
    if (!IsHostName(host)) return Malformed(text, "it holds no host name");
  }

  const std::optional<std::uint16_t> port = port_text ? ParseNumber<std::uint16_t>(*port_text) : default_port;
  if (!port || *port == 0) return Malformed(text, "a port is a number from 1 to 65535");
  return Endpoint{.host = std::string(host), .port = *port, .unix_path = ""};
}

std::optional<Endpoint> EndpointFromFields(std::string_view host, std::string_view port) {
  const auto number = ParseNumber<std::uint16_t>(port);
  if (!number || *number == 0 || !(IsHostName(host) || IsIpv6(host))) return std::nullopt;
  return Endpoint{.host = std::string(host), .port = *number, .unix_path = ""};
}

}  // namespace rcb::redis
