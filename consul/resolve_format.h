#pragma once

#include <string>
#include <vector>

#include "consul/service_lookup.h"

namespace rcb::consul {

enum class Format {
  kHostPort,  ///< 10.0.0.1:6379, [::1]:6379
  kUrl,       ///< redis://10.0.0.1:6379
  kJson,      ///< One line: an object with host, port, priority, weight and target.
  kEnv,       ///< REDIS_HOST=…, REDIS_PORT=… and REDIS_URL=…
  kArgs,      ///< -h 10.0.0.1 -p 6379: what redis-cli and redis-benchmark take.
  kHost,      ///< 10.0.0.1; IPv6 without brackets.
  kPort,      ///< 6379
};

/// An address as kHostPort has it.
std::string HostPort(const ServiceAddress& address);

/// An address as kUrl has it; with `tls` it begins with rediss://, and so do all other URLs here.
std::string Url(const ServiceAddress& address, bool tls);

/// The arguments that `format` makes of an address: three of kEnv, four of kArgs, one of any other.
std::vector<std::string> Words(const ServiceAddress& address, Format format, bool tls);

/// The set-up of what is printed.
struct Layout {
  bool as_list = false;   ///< kJson prints an array.
  bool tls = false;       ///< As for Url().
  bool one_line = false;  ///< Everything on one line; else an address has a line, of kEnv three.
};

/// What redis-resolve prints for `addresses` (one at least), with the final newline.
std::string FormatAddresses(const std::vector<ServiceAddress>& addresses, Format format, const Layout& layout);

}  // namespace rcb::consul
