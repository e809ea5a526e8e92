#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/redis_command.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// A redis-sentinel on a port of its own, which watches one group under the name `mymaster`.
class RedisSentinel {
 public:
  struct Options {
    std::string master;  ///< "address:port".
    int quorum = 2;
    std::chrono::milliseconds down_after{1000};
    std::chrono::milliseconds failover_timeout{6000};
    std::string password{};      ///< Of the Redis servers.
    std::string own_password{};  ///< Of the Sentinel itself.
    std::string settings{};      ///< Further lines of sentinel.conf.
    std::string host = "127.0.0.1";
    /// Of a host of its own, where `host` is an address and the port is the usual one. Empty: this process's.
    std::string network_namespace{};
    std::uint16_t tls_port = 0;  ///< As of RedisServer.
  };

  RedisSentinel(const TestFolder& folder, const Options& options);

  /// Returns when it answers. Throws std::runtime_error when it does not within 10 s.
  void Start();
  void Kill() { process_.reset(); }

  std::uint16_t port() const { return tls_port_ != 0 ? tls_port_ : port_; }
  std::string address() const { return host_ + ":" + std::to_string(port()); }
  Process& process() { return *process_; }
  std::string Command(const std::vector<std::string>& command) const {
    return RedisCommand(host_ + ":" + std::to_string(port_), command, own_password_);
  }

  /// True when it names `master` ("address:port") as the group's master.
  bool Names(const std::string& master) const { return MasterField("ip") + ":" + MasterField("port") == master; }

  /// True when it names `master`, knows so many other Sentinels and two healthy replicas that it has heard say slave,
  /// and neither a failover nor a conversion is due from it.
  bool SeesGroupAtRest(const std::string& master, std::size_t other_sentinels = 2) const;

 private:
  /// A field of SENTINEL MASTER mymaster ("num-slaves", "flags", "port"); empty when there is none.
  std::string MasterField(const std::string& field) const;

  const std::uint16_t port_;
  const std::uint16_t tls_port_;
  const std::string host_;
  const std::string own_password_;
  const std::string network_namespace_;
  const std::filesystem::path folder_;
  std::unique_ptr<Process> process_;
};

}  // namespace rcb::integration
