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

std::string Url(const ServiceAddress& address, bool tls) {
  return (tls ? "rediss://" : "redis://") + HostPort(address);
}

std::vector<std::string> Words(const ServiceAddress& address, Format format, bool tls) {
  const std::string port = std::to_string(address.port);
  switch (format) {
    case Format::kHostPort: return {HostPort(address)};
    case Format::kUrl: return {Url(address, tls)};
    case Format::kJson: return {Json(address).dump()};
    case Format::kEnv: return {"REDIS_HOST=" + address.host, "REDIS_PORT=" + port, "REDIS_URL=" + Url(address, tls)};
    case Format::kArgs: return {"-h", address.host, "-p", port};
    case Format::kHost: return {address.host};
    case Format::kPort: return {port};
  }
  return {};
}

std::string FormatAddresses(const std::vector<ServiceAddress>& addresses, Format format, const Layout& layout) {
  if (format == Format::kJson && layout.as_list) {
    auto list = nlohmann::ordered_json::array();
    for (const ServiceAddress& address : addresses) list.push_back(Json(address));
    return list.dump() + "\n";
  }
  const char between_addresses = layout.one_line ? ' ' : '\n';
  const char between_words = format == Format::kEnv ? between_addresses : ' ';
  std::string text;
  for (const ServiceAddress& address : addresses) {
    if (!text.empty()) text.back() = between_addresses;
    for (const std::string& word : Words(address, format, layout.tls)) text += word + between_words;
  }
  text.back() = '\n';
  return text;
}

}  // namespace rcb::consul
