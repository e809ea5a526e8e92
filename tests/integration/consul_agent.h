#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// One instance of a service as /v1/health/service tells it.
struct HealthEntry {
  std::uint16_t port = 0;
  std::vector<std::string> tags;
  std::string status;  ///< The worst of its checks: passing, warning or critical.
  std::string output;  ///< Of the service's checks, one a line.

  bool HasTag(const std::string& tag) const;
};

/// A single Consul server (no development mode: data on disk, real elections) on loopback ports of its own.
class ConsulServer {
 public:
  struct Options {
    /// Default policy deny, and management_token() the token of the agent itself, so that DNS sees everything.
    bool acl = false;
  };

  ConsulServer(const TestFolder& folder, const Options& options);
  explicit ConsulServer(const TestFolder& folder) : ConsulServer(folder, Options()) {}

  void Start();                      ///< Returns at once: WaitForLeader() tells when it is of use.
  void Kill() { process_.reset(); }  ///< SIGKILL. Start() brings it back with its data.
  void Wipe() const;                 ///< Removes the data of a server that is not running.

  /// MonotonicMicros() when the leader was first told. Throws std::runtime_error when none is within 20 s.
  std::int64_t WaitForLeader() const;

  std::string url() const { return "http://" + Loopback(http_port_); }
  std::string dns() const { return Loopback(dns_port_); }
  std::uint16_t http_port() const { return http_port_; }
  Process& process() { return *process_; }
  static std::string management_token() { return "7b8c5f0e-3f5a-4a0e-9d3f-0d8f1c5a2b11"; }

  /// With `acl`: a new token that may do what `rules` (HCL) say, else throws std::runtime_error.
  std::string CreateToken(const std::string& rules) const;

  std::vector<HealthEntry> Health(const std::string& service) const;

  /// The last entry of the Raft log: moves with every write, those of anti-entropy included. 0: no answer.
  std::uint64_t RaftIndex() const;

  /// Registers by hand at this agent, with a passing check. False when Consul refuses.
  bool Register(const std::string& service, std::uint16_t port, const std::string& tag) const;
  bool Deregister(const std::string& service, std::uint16_t port) const;

 private:
  const std::uint16_t http_port_;
  const std::uint16_t dns_port_;
  const std::filesystem::path folder_;
  const std::string token_;
  std::unique_ptr<Process> process_;
};

}  // namespace rcb::integration
