#include "tests/integration/socket_address.h"

#include <arpa/inet.h>

#include <charconv>
#include <stdexcept>

namespace rcb::integration {

ProbeTarget ParseProbeTarget(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  ProbeTarget target;
  if (colon != std::string::npos) {
    target.address = text.substr(0, colon);
    const char* end = text.data() + text.size();
    const auto [parsed, error] = std::from_chars(text.data() + colon + 1, end, target.port);
    if (error != std::errc() || parsed != end) target.port = 0;
  }
  if (target.port == 0) throw std::invalid_argument("\"" + text + "\" is not ADDRESS:PORT");
  ToSocketAddress(target);
  return target;
}

sockaddr_in ToSocketAddress(const ProbeTarget& target) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(target.port);
  if (inet_pton(AF_INET, target.address.c_str(), &address.sin_addr) != 1) {
    throw std::invalid_argument("\"" + target.address + "\" is not an IPv4 address");
  }
  return address;
}

}  // namespace rcb::integration
