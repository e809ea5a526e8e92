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

/// A redis-server on a loopback port of its own, without persistence, with a configuration file that Sentinel can
/// rewrite. Not started by the constructor.
class RedisServer {
 public:
  /// `settings` are further lines of redis.conf.
  explicit RedisServer(const TestFolder& folder, const std::string& settings = "", std::string password = "");

  /// Returns when it answers. Throws std::runtime_error when it does not within 10 s.
  void Start();
  void Kill() { process_.reset(); }  ///< SIGKILL. Start() brings it back with the configuration that it had.

  std::uint16_t port() const { return port_; }
  std::string address() const { return Loopback(port_); }
  Process& process() { return *process_; }
  std::string Command(const std::vector<std::string>& command) const { return RedisCommand(port_, command, password_); }

 private:
  const std::uint16_t port_;
  const std::string password_;
  const std::filesystem::path folder_;
  std::unique_ptr<Process> process_;
};

}  // namespace rcb::integration
