#pragma once

#include <chrono>
#include <string>
#include <variant>
#include <vector>

#include "consul/dns_client.h"
#include "consul/dns_name.h"
#include "consul/resolve_format.h"

namespace rcb::agent {

/// What redis-resolve was asked to do.
struct ResolveOptions {
  consul::ServiceName name;
  bool all = false;
  bool watch = false;
  bool verify = false;
  consul::Format format = consul::Format::kHostPort;  ///< kArgs when there is a command.
  std::vector<consul::DnsClient::Options> dns{};      ///< In the order in which they are tried; one at least.
  std::chrono::milliseconds timeout{2000};            ///< Longer than a local agent needs to ask another datacenter.
  std::chrono::milliseconds wait{0};                  ///< 0: one attempt.
  std::string user{};
  std::string password_file{};
  bool tls = false;
  std::string ca_file{};               ///< Empty: the system's certificates.
  std::string cert_file{};             ///< Empty: none is shown.
  std::string key_file{};              ///< Of cert_file.
  std::string server_name{};           ///< The name that a server's certificate must have; empty: the address dialled.
  bool insecure = false;               ///< Any certificate will do.
  std::vector<std::string> command{};  ///< Empty: the address is printed.
};

/// The command line asks for no address: print `text` and leave with `exit_code` (0: help or version, to stdout;
/// 2: wrong usage, one line to stderr).
struct EarlyExit {
  int exit_code;
  std::string text;
};

/// Takes the command line and the REDIS_RESOLVE_ variables of the environment.
std::variant<ResolveOptions, EarlyExit> ParseResolveOptions(int argc, const char* const* argv);

}  // namespace rcb::agent
