#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/redis_command.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// A redis-server on a port of its own, without persistence, with a configuration file that Sentinel can
/// rewrite. Not started by the constructor.
class RedisServer {
 public:
  struct Options {
    std::string settings{};  ///< Further lines of redis.conf.
    std::string password{};
    std::string host = "127.0.0.1";  ///< Any of 127.0.0.0/8; others than the first are announced to the master.
    /// Of a host of its own, where `host` is an address and the port is the usual one. Empty: this process's.
    std::string network_namespace{};
    /// Where it listens with TLS by its `settings`: its published port. The other one, in the clear, is for Command()
    /// alone. 0: that one is published.
    std::uint16_t tls_port = 0;
  };

  RedisServer(const TestFolder& folder, const Options& options);
  explicit RedisServer(const TestFolder& folder) : RedisServer(folder, Options()) {}

  void Launch();  ///< Returns at once, while it still reads its data set.
  /// Launches it and returns when it answers. Throws std::runtime_error when it does not within 10 s.
  void Start();
  void Kill() { process_.reset(); }  ///< SIGKILL. Start() brings it back with the configuration that it had.

  std::uint16_t port() const { return tls_port_ != 0 ? tls_port_ : port_; }
  const std::string& host() const { return host_; }
  std::string address() const { return host_ + ":" + std::to_string(port()); }
  /// Where Command() asks, in the clear.
  std::string clear_address() const { return host_ + ":" + std::to_string(port_); }
  const std::string& password() const { return password_; }
  Process& process() { return *process_; }
  /// REPLICAOF.
  void Follow(const RedisServer& master) const { Command({"REPLICAOF", master.host(), std::to_string(master.port())}); }
  void Promote() const { Command({"REPLICAOF", "NO", "ONE"}); }
  /// A field of INFO replication; empty when there is none.
  std::string InfoField(const std::string& name) const;
  std::string Command(const std::vector<std::string>& command) const {
    return RedisCommand(clear_address(), command, password_);
  }

 private:
  const std::uint16_t port_;
  const std::uint16_t tls_port_;
  const std::string host_;
  const std::string password_;
  const std::string network_namespace_;
  const std::filesystem::path folder_;
  std::unique_ptr<Process> process_;
};

}  // namespace rcb::integration
