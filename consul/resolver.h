#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "consul/dns_client.h"
#include "consul/dns_name.h"
#include "consul/service_lookup.h"

namespace rcb::consul {

/// redis-resolve's exit status.
enum ExitCode { kFound = 0, kNone = 1, kUsage = 2, kDnsFailed = 3, kAmbiguous = 4, kUnverified = 5 };

/// Why there is no address to hand out: the exit status, and one sentence with the remedy.
struct Refusal {
  ExitCode code;
  std::string message;
};

using Addresses = std::vector<ServiceAddress>;

/// Finds a service through one or several DNS servers and refuses what cannot be right. Blocks; for short-lived tools.
class Resolver {
 public:
  struct Options {
    ServiceName name{};
    /// Every instance is wanted: asked over TCP, several masters are no error, and one that cannot be dialled is.
    bool all = false;
    /// Several candidates are wanted to choose from, in the order of use; one that cannot be dialled is left out.
    bool candidates = false;
    std::vector<DnsClient::Options> dns{};  ///< One at least.
    std::chrono::milliseconds timeout{2000};
    UniformDraw draw{};
  };
  /// Says what is wrong with an address, if anything is.
  using Check = std::function<std::optional<std::string>(const ServiceAddress&)>;

  /// Error kUsage: the service has no name in DNS. Nothing is asked yet.
  static tl::expected<Resolver, Refusal> Create(Options options);

  /// Asks the DNS servers in their order, each for `timeout` at most, until one answers, and begins with that one the
  /// next time. An answer without addresses is an answer (kNone), and so is one with two masters (kAmbiguous).
  tl::expected<Addresses, Refusal> LookUp(std::chrono::milliseconds timeout);

  /// Asks the server that answered last whether it heeds tags at all. Consul 1.19.0 did not: every instance of the
  /// service was the master (hashicorp/consul issues 21325 and 21336; 1.19.1 heeds them again). Whoever answers for a
  /// tag that nobody has answers for nobody (kAmbiguous). Only names that begin with a role can be judged.
  tl::expected<void, Refusal> CheckTagsAreHeeded();

  /// The addresses of `found` that are to be handed out: those that pass `check` (all, without one), and only the
  /// first of them unless `all` is set. Error kUnverified, with one of the complaints: there is none.
  tl::expected<Addresses, Refusal> Choose(const Addresses& found, const Check& check) const;

 private:
  struct Server {
    DnsClient::Options options;
    std::unique_ptr<DnsClient> client;  ///< Made when it is first asked.
  };

  Resolver(Options options, std::string dns_name);

  Result<Addresses> Ask(Server& server, std::chrono::milliseconds timeout);
  bool must_be_alone() const { return options_.name.role == Role::kMaster && !options_.all; }

  Options options_;
  std::string dns_name_;
  std::vector<Server> servers_;
  std::size_t answered_ = 0;  ///< Which of them did last.
};

}  // namespace rcb::consul
