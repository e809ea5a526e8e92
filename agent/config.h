#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "agent/claim.h"
#include "agent/secret.h"
#include "consul/http_transport.h"
#include "redis/connection.h"
#include "redis/endpoint.h"
#include "redis/replica_lag.h"

namespace rcb::agent {

/// TLS to one kind of server.
struct TlsSettings {
  bool enabled = false;
  redis::TlsOptions options;
  std::shared_ptr<redis::TlsClient> client;  ///< Made by LoadConfig(); absent unless enabled.
};

/// The settings the agent runs with: defaults, overlaid by the file, the environment and the flags, in this order.
struct Config {
  /// The settings of each group, when the file names several: complete, none with groups of its own. Empty: there is
  /// one group, that of the other members.
  std::vector<Config> groups;
  /// Sentinels whose groups are watched as far as they have servers on this host; empty: none are.
  std::vector<redis::Endpoint> discover;

  std::vector<redis::Endpoint> redis{{.host = "127.0.0.1", .port = 6379, .unix_path = {}}};
  std::string redis_user;
  Secret redis_password;
  TlsSettings redis_tls;
  std::vector<redis::Endpoint> sentinels;  ///< Optional: they are found through the hello channel as well.
  std::string sentinel_user;
  Secret sentinel_password;
  TlsSettings sentinel_tls;
  std::string master_name;             ///< Empty: learned from Sentinel.
  std::optional<Authority> authority;  ///< Absent: "auto".
  std::string service = "redis";
  std::string master_service;     ///< Name under which the master stands; empty: `service`.
  std::string replica_service;    ///< Name under which everybody else stands; empty: `service`.
  std::vector<std::string> tags;  ///< Besides master or replica.
  /// Absent: the Consul node's address. Port 0: the one that Redis listens on.
  std::optional<redis::Endpoint> advertise;
  consul::HttpTransport::Options consul;  ///< Its token is that of consul_token.
  Secret consul_token;
  std::chrono::milliseconds poll_interval{200};         ///< One INFO on a loopback costs 0.1 ms.
  std::optional<std::chrono::milliseconds> hang_after;  ///< Absent: Sentinel's down-after, else 5 s.
  redis::ReplicaLag::Options replica_lag;               ///< Beyond it a replica is a warning.
  std::optional<std::chrono::milliseconds> lease;       ///< Absent: from Sentinel's down-after, see Arbiter.
  bool withhold_on_dataset_loss = false;                ///< on_dataset_loss.
  bool demote_superseded = false;                       ///< on_superseded.
  std::chrono::milliseconds ttl{10000};                 ///< Long enough for a restart of the agent.
  std::chrono::seconds deregister_critical_service_after{std::chrono::hours(24)};
  /// Of the status server; absent: there is none. Loopback: what it shows is for this host's operators.
  std::optional<redis::Endpoint> listen = redis::Endpoint{.host = "127.0.0.1", .port = 8579, .unix_path = {}};
  std::string log_level = "info";
  bool log_json = false;

  /// Where systemd puts the credentials of its unit ($CREDENTIALS_DIRECTORY): a file that is named without a slash is
  /// there. Empty: such a file is in the working directory.
  std::string credentials_directory;

  redis::Access RedisAccess() const;
  redis::Access SentinelAccess() const;
};

/// Where settings come from. All optional.
struct ConfigSources {
  std::optional<std::string> file;                 ///< Path of a JSON file with comments.
  std::map<std::string, std::string> environment;  ///< The variables that are set.
  /// Key and values, as the file has them: a flag `--redis A --redis B` is {"redis", {"A", "B"}}.
  std::vector<std::pair<std::string, std::vector<std::string>>> flags;
};

/// Reads, parses and validates everything, the files that hold secrets, certificates and keys included. Where the file
/// has groups, the flag `service` chooses the one that it names.
/// The error is one line that names the key or file, where it was set, what is wrong and what is accepted; never a
/// secret.
tl::expected<Config, std::string> LoadConfig(const ConfigSources& sources);

/// The settings of each group that is set; none where groups are only discovered.
std::vector<Config> GroupsOf(const Config& config);

/// The effective settings as JSON, secrets masked.
std::string DescribeConfig(const Config& config);

/// True when whoever watches the group `a` may go on as it is under `b`: what differs concerns the process alone (where
/// it listens, what it logs).
bool IsSameGroup(const Config& a, const Config& b);

}  // namespace rcb::agent
