#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "consul/dns_client.h"
#include "consul/result.h"
#include "consul/srv_select.h"

namespace rcb::consul {

/// Where one instance of a service can be dialled.
struct ServiceAddress {
  std::string host;  ///< IPv4 or IPv6 address without brackets; a host name only where LookUpService() says so.
  std::uint16_t port = 0;
  SrvRecord record;  ///< What DNS said of it.
};

struct LookupOptions {
  bool first_only = false;        ///< One address is enough; else all of them.
  bool pass_over_faulty = false;  ///< An instance without port or address is left out while there are others.
  std::chrono::milliseconds timeout{2000};
  UniformDraw draw;  ///< For the choice among equals.
};

/// Asks for the SRV records of `name` and for what addresses their targets have, within `timeout` altogether. The
/// addresses come in the order of use (RFC 2782), each host and port once.
///
/// A target's address is taken from the answer itself, else from the target's name (`7f000001.addr.dc1.consul`), else
/// asked for at the same server. When that server refuses, it does not know names outside its own domain (Consul
/// without recursors, given a service whose address is a host name): the name itself is handed out, for the host's
/// resolver to find.
///
/// A name that the server only calls an alias of another is asked for under that one.
///
/// Errors: kNotFound (no such record), those of DnsClient::Ask(), and kMalformedReply for a service that was published
/// without a port or whose target has no address, unless `pass_over_faulty` finds another.
Result<std::vector<ServiceAddress>> LookUpService(DnsClient& dns, const std::string& name,
                                                  const LookupOptions& options);

}  // namespace rcb::consul
