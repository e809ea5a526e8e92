#pragma once

#include <string>
#include <vector>

#include "consul/service_lookup.h"

namespace rcb::consul {

enum class Format { kHostPort, kUrl, kJson };

/// "127.0.0.1:6379", "[::1]:6379".
std::string HostPort(const ServiceAddress& address);

/// What redis-resolve prints, with the final newline: a line for each address (`redis://` in front for kUrl). kJson is
/// one line: an object, or with `as_list` an array of objects, with host, port, priority, weight and target.
std::string FormatAddresses(const std::vector<ServiceAddress>& addresses, Format format, bool as_list);

}  // namespace rcb::consul
