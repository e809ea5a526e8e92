#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "agent/claim.h"
#include "consul/http_transport.h"
#include "redis/connection.h"
#include "redis/endpoint.h"

namespace rcb::agent {

/// The settings the agent runs with: defaults, overlaid by the file, the environment and the flags, in this order.
struct Config {
  std::vector<redis::Endpoint> redis{{.host = "127.0.0.1", .port = 6379, .unix_path = {}}};
  redis::Credentials redis_credentials;
  std::vector<redis::Endpoint> sentinels;  ///< Optional: they are found through the hello channel as well.
  redis::Credentials sentinel_credentials;
  std::string master_name;             ///< Empty: learned from Sentinel.
  std::optional<Authority> authority;  ///< Absent: "auto".
  std::string service = "redis";
  std::string master_service;     ///< Name under which the master stands; empty: `service`.
  std::string replica_service;    ///< Name under which everybody else stands; empty: `service`.
  std::vector<std::string> tags;  ///< Besides master or replica.
  /// Absent: the Consul node's address. Port 0: the one that Redis listens on.
  std::optional<redis::Endpoint> advertise;
  consul::HttpTransport::Options consul;
  std::chrono::milliseconds poll_interval{200};         ///< One INFO on a loopback costs 0.1 ms.
  std::optional<std::chrono::milliseconds> hang_after;  ///< Absent: Sentinel's down-after, else 5 s.
  std::optional<std::chrono::milliseconds> lease;       ///< Absent: from Sentinel's down-after, see Arbiter.
  bool withhold_on_dataset_loss = false;                ///< on_dataset_loss.
  bool demote_superseded = false;                       ///< on_superseded.
  std::chrono::milliseconds ttl{10000};                 ///< Long enough for a restart of the agent.
  std::chrono::seconds deregister_critical_service_after{std::chrono::hours(24)};
  std::string log_level = "info";
  bool log_json = false;
};

/// Where settings come from. All optional.
struct ConfigSources {
  std::optional<std::string> file;                 ///< Path of a JSON file with comments.
  std::map<std::string, std::string> environment;  ///< The variables that are set.
  /// Key and values, as the file has them: a flag `--redis A --redis B` is {"redis", {"A", "B"}}.
  std::vector<std::pair<std::string, std::vector<std::string>>> flags;
};

/// Reads, parses and validates everything, the files that hold secrets included.
/// The error is one line that names the key or file, where it was set, what is wrong and what is accepted; never a
/// secret.
tl::expected<Config, std::string> LoadConfig(const ConfigSources& sources);

/// The effective settings as JSON, secrets masked.
std::string DescribeConfig(const Config& config);

/// Takes "200ms", "10s", "5m" or "24h". The error is a sentence.
tl::expected<std::chrono::milliseconds, std::string> ParseDuration(std::string_view text);

}  // namespace rcb::agent
