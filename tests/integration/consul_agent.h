#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// One instance of a service as /v1/health/service tells it.
struct HealthEntry {
  std::string address;  ///< "host:port" as published, the node's host unless the service has its own.
  std::vector<std::string> tags;
  std::string status;  ///< The worst of its checks: passing, warning or critical.
  std::string output;  ///< Of the service's checks, one a line.
  std::map<std::string, std::string> meta;

  bool HasTag(const std::string& tag) const;
  /// Empty when there is no such key.
  std::string Meta(const std::string& key) const;
};

/// A Consul agent, as a rule a server alone (no development mode: data on disk, real elections), on ports of its own.
class ConsulAgent {
 public:
  struct Options {
    /// Default policy deny, and management_token() the token of the agent itself, so that DNS sees everything.
    bool acl = false;
    std::string host = "127.0.0.1";  ///< Any of 127.0.0.0/8.
    std::string node = "consul-under-test";
    std::string join{};  ///< serf_address() of a server: then this is a client agent of that one.
    /// Hosts of all servers of a cluster, this one included. Empty: it is the only one, or a client agent.
    std::vector<std::string> servers{};
    std::string dns_max_stale{};  ///< dns_config.max_stale ("1s"); empty: Consul's default, which is ten years.
    /// Of a host of its own, where `host` is an address and the ports are the usual ones. Empty: this process's.
    std::string network_namespace{};
    bool script_checks = false;  ///< Allows registrations to run commands.
    std::string settings{};      ///< A JSON object, merged into its configuration.
    /// Where it speaks https by its `settings`. 0: nowhere.
    std::uint16_t https_port = 0;
  };

  ConsulAgent(const TestFolder& folder, const Options& options);
  explicit ConsulAgent(const TestFolder& folder) : ConsulAgent(folder, Options()) {}

  void Start();                      ///< Returns at once: WaitForLeader() tells when it is of use.
  void Kill() { process_.reset(); }  ///< SIGKILL. Start() brings it back with its data.
  void Wipe() const;                 ///< Removes the data of a server that is not running.
  /// What it remembers of the services that were registered with it, their tokens included (agent/agent.go
  /// persistService, 1.8.7): the files one after the other.
  std::string RememberedServices() const;

  /// "host:port" of the Raft leader that this agent knows; empty when there is none.
  std::string Leader() const;

  /// MonotonicMicros() when the leader was first told. Throws std::runtime_error when none is within 20 s.
  std::int64_t WaitForLeader() const;

  std::string url() const { return "http://" + host_ + ":" + std::to_string(http_port_); }
  /// What its agents are told: url(), or https where it has that.
  std::string agents_url() const {
    return https_port_ == 0 ? url() : "https://" + host_ + ":" + std::to_string(https_port_);
  }
  std::string dns() const { return host_ + ":" + std::to_string(dns_port_); }
  std::string serf_address() const { return host_ + ":" + std::to_string(serf_port_); }
  const std::string& host() const { return host_; }
  std::uint16_t http_port() const { return http_port_; }
  Process& process() { return *process_; }
  static std::string management_token() { return "7b8c5f0e-3f5a-4a0e-9d3f-0d8f1c5a2b11"; }

  /// With `acl`: a new token that may do what `rules` (HCL) say, else throws std::runtime_error.
  std::string CreateToken(const std::string& rules) const;
  /// Consul forgets it. False when it does not know it.
  bool RevokeToken(const std::string& token) const;

  std::vector<HealthEntry> Health(const std::string& service) const;

  /// All that it printed, in this life and the ones before.
  std::string Log() const { return ReadFile(folder_ / "log"); }

  /// True when this agent itself (not the catalog) holds the instance at `port`, passing and with `tag`: what its
  /// anti-entropy will repeat.
  bool HoldsLocally(const std::string& service, std::uint16_t port, const std::string& tag) const;

  /// The last entry of the Raft log: moves with every write, those of anti-entropy included, and once a minute with a
  /// barrier of Consul's own leader (agent/consul/leader.go leaderLoop; seen on an idle 1.8.7). 0: no answer.
  std::uint64_t RaftIndex() const;
  /// Writes to catalog and KV (Raft commands, which a barrier is not) in the last 10 s that Consul's telemetry has
  /// finished counting. Absent: no answer.
  std::optional<std::uint64_t> RecentWrites() const;

  /// Registers by hand at this agent, with a passing check. False when Consul refuses.
  bool Register(const std::string& service, std::uint16_t port, const std::string& tag) const;
  /// Registers with a command for a check, run every 5 s: what people do without a bridge. Needs `script_checks`.
  bool RegisterScript(const std::string& service, std::uint16_t port, const std::string& tag,
                      const std::vector<std::string>& command) const;
  bool Deregister(const std::string& service, std::uint16_t port) const;

 private:
  const std::string host_;
  const std::string network_namespace_;
  const std::uint16_t http_port_;
  const std::uint16_t https_port_;
  const std::uint16_t dns_port_;
  const std::uint16_t serf_port_;
  const std::filesystem::path folder_;
  const std::string token_;
  std::unique_ptr<Process> process_;
};

}  // namespace rcb::integration
