#include "tests/integration/ports.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>

namespace rcb::integration {
namespace {

struct Range {
  unsigned first = 25000;
  unsigned last = 28999;  ///< Below Linux's ephemeral ports (32768 on), which outgoing connections take.
};

Range PortRange() {
  Range range;
  const char* text = std::getenv("RCB_PORTS");
  if (text != nullptr && (std::sscanf(text, "%u-%u", &range.first, &range.last) != 2 || range.first < 1024 ||
                          range.last > 65535 || range.first > range.last)) {
    throw std::runtime_error(std::string("RCB_PORTS is \"") + text + "\", not FIRST-LAST");
  }
  return range;
}

bool CanBind(int type, std::uint16_t port) {
  const int probe = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  if (probe < 0) return false;
  // As the servers do: connections of an earlier test that linger in TIME_WAIT are no obstacle.
  const int reuse = 1;
  if (type == SOCK_STREAM) setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_ANY);  // Servers listen on any of 127.0.0.0/8.
  const bool bound = bind(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(probe);
  return bound;
}

}  // namespace

std::uint16_t FreePort() {
  static const Range range = PortRange();
  static const unsigned size = range.last - range.first + 1;
  static unsigned next = std::random_device{}() % size;
  static unsigned given = 0;
  while (given < size) {
    const auto port = static_cast<std::uint16_t>(range.first + next);
    next = (next + 1) % size;
    ++given;
    if (CanBind(SOCK_STREAM, port) && CanBind(SOCK_DGRAM, port)) return port;
  }
  throw std::runtime_error("no free port is left between " + std::to_string(range.first) + " and " +
                           std::to_string(range.last));
}

std::string Loopback(std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

}  // namespace rcb::integration
