#pragma once

#include <string>
#include <string_view>

#include "consul/result.h"

namespace rcb::consul {

/// Which of a service's instances are asked for. The first two are the tags that redis-consul-agent publishes.
enum class Role { kMaster, kReplica, kAny };

/// "master", "replica", "any".
std::string_view ToString(Role role);

/// A service as Consul's DNS knows it.
struct ServiceName {
  std::string service = "redis";  ///< With a dot in it: a full DNS name, which is asked for as it is.
  Role role = Role::kMaster;
  std::string datacenter{};       ///< Empty: the one of the Consul agent that is asked.
  std::string domain = "consul";  ///< Consul's `domain` setting.

  bool is_full_name() const { return service.find('.') != std::string::npos; }
};

/// The name to ask for: `<role>.<service>.service[.<datacenter>].<domain>`, without the role for kAny, in lower case
/// and without a final dot. Error kConfiguration: a part cannot stand in a DNS name, or a full name comes with a
/// datacenter.
Result<std::string> DnsName(const ServiceName& name);

/// The address within a name like `7f000001.addr.dc1.consul` (8 hexadecimal digits: IPv4, 32: IPv6), which Consul gives
/// to services that were registered with an address of their own; "" for any other name. Seen on Consul 1.8.7.
std::string AddressInName(std::string_view name);

}  // namespace rcb::consul
