#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/integration/certificates.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// TLS with certificates on both sides and the least permissions on everything: what the servers of a group are told,
/// and what its agents are told so that they are let in. What is permitted is what README and packaging ship.
///
/// The servers keep a clear port beside: with the operator's password it is the test's own back door. Nobody else is
/// told of it, and what is published are the TLS ports.
class SecuredAccess {
 public:
  /// `demotes`: with what `on_superseded: "demote"` needs at Redis. Throws std::runtime_error when openssl fails.
  SecuredAccess(const TestFolder& folder, bool demotes);

  /// Password of the servers' default user and between them.
  static std::string operator_password() { return "secret-of-the-operator"; }
  /// Of the Sentinels at Redis.
  static std::string sentinel_password() { return "secret-of-the-sentinels"; }

  /// Lines of redis.conf and of sentinel.conf for a server that listens with TLS at `port`. Throw std::runtime_error
  /// when the README names no ACL user.
  std::string RedisLines(std::uint16_t port) const;
  std::string SentinelLines(std::uint16_t port) const;
  /// Consul's configuration with an https port, as JSON.
  std::string ConsulSettings(std::uint16_t https_port) const;

  /// The Consul token of the agents, which is to exist by then. Throws std::system_error when it cannot be written.
  void SetToken(const std::string& token);
  /// Settings of an agent, as JSON.
  std::string AgentSettings() const;
  /// What an agent's other commands need to be let in by Consul, and where the credentials of its unit are.
  std::map<std::string, std::string> Environment() const;
  /// The rules of the shipped Consul policy.
  static std::string ConsulPolicy();

  /// What may not be found in a log.
  std::vector<std::string> Secrets() const;

 private:
  std::string TlsLines(std::uint16_t port) const;

  const std::string folder_;
  const CertificateAuthority ca_;
  const Certificate server_;
  const Certificate agent_;
  const bool demotes_;
  std::string token_;
};

/// RCB_ACCESS=tls in the environment: every ReplicationGroup is secured. Throws std::runtime_error for another value.
bool IsSecuredByEnvironment();

}  // namespace rcb::integration
