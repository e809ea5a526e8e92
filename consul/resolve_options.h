#pragma once

#include <chrono>
#include <string>
#include <variant>

#include "consul/dns_client.h"
#include "consul/dns_name.h"
#include "consul/resolve_format.h"

namespace rcb::consul {

/// What redis-resolve was asked to do.
struct ResolveOptions {
  ServiceName name;
  bool all = false;
  Format format = Format::kHostPort;
  DnsClient::Options dns{.host = "127.0.0.1", .port = 8600, .tcp = false};
  std::chrono::milliseconds timeout{2000};  ///< Longer than a local agent needs to ask another datacenter.
};

/// The command line asks for no address: print `text` and leave with `exit_code` (0: help or version, to stdout;
/// 2: wrong usage, one line to stderr).
struct EarlyExit {
  int exit_code;
  std::string text;
};

/// Takes the command line and REDIS_RESOLVE_DNS.
std::variant<ResolveOptions, EarlyExit> ParseResolveOptions(int argc, const char* const* argv);

}  // namespace rcb::consul
