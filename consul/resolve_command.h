#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "consul/resolve_format.h"

namespace rcb::consul {

/// Why a command could not be started: the exit status that shells have for it, and a sentence.
struct CommandFailure {
  int status;  ///< 127: it is not there; 126: it cannot be run.
  std::string message;
};

/// Puts `address` into a command's arguments: `{host}` and `{port}` wherever they stand, and in place of `{}` what
/// `format` and `tls` make of it, several arguments where `{}` is an argument of its own. When none of the three is
/// there, the address comes at the end; for Redis's own tools (redis-..., valkey-...) right behind the program, because
/// `redis-cli PING -h HOST` would send all of that to its default server.
std::vector<std::string> FillIn(const std::vector<std::string>& command, const ServiceAddress& address, Format format,
                                bool tls);

/// Sets REDIS_HOST, REDIS_PORT and REDIS_URL (of TLS with `tls`) for the commands to come.
void SetEnvironment(const ServiceAddress& address, bool tls);

/// Turns this process into `arguments`, whose program is looked up in PATH. Returns only when that is impossible.
CommandFailure Become(const std::vector<std::string>& arguments);

/// Runs `arguments` and waits for their end: the exit status, 128 + N when signal N ended it.
tl::expected<int, CommandFailure> RunToEnd(const std::vector<std::string>& arguments);

}  // namespace rcb::consul
