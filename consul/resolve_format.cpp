#include "consul/resolve_format.h"

#include <nlohmann/json.hpp>

namespace rcb::consul {
namespace {

nlohmann::ordered_json Json(const ServiceAddress& address) {
  return {{"host", address.host},
          {"port", address.port},
          {"priority", address.record.priority},
          {"weight", address.record.weight},
          {"target", address.record.target}};
}

}  // namespace

std::string HostPort(const ServiceAddress& address) {
  const bool is_ipv6 = address.host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

std::string FormatAddresses(const std::vector<ServiceAddress>& addresses, Format format, bool as_list) {
  if (format == Format::kJson) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const ServiceAddress& address : addresses) list.push_back(Json(address));
    return (as_list ? list : list.front()).dump() + "\n";
  }
  std::string text;
  for (const ServiceAddress& address : addresses) {
    if (format == Format::kUrl) text += "redis://";
    text += HostPort(address) + "\n";
  }
  return text;
}

}  // namespace rcb::consul
