#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "consul/result.h"

namespace rcb::consul {

/// What one SRV record says (RFC 2782): a server of the service and how much of the load it should get.
struct SrvRecord {
  std::uint16_t priority = 0;  ///< Lowest first. Consul always says 1.
  std::uint16_t weight = 0;    ///< Share among equal priorities. Consul: the service's Weights, 1 by default.
  std::uint16_t port = 0;      ///< Consul says 0 for a service that was registered without a port.
  std::string target;          ///< Name of the host, in the form of DnsMessage's names.

  bool operator==(const SrvRecord&) const = default;
};

/// A DNS answer as far as finding a service needs it: SRV, A, AAAA and CNAME records of class IN.
///
/// Names are lower case, without the final dot; the root is "". A byte that is no printable character, a dot or a
/// backslash within a label becomes `\DDD` (RFC 1035 section 5.1), so that no name holds a control character.
struct DnsMessage {
  struct Srv {
    std::string name;
    SrvRecord record;
  };
  struct Address {
    std::string name;
    std::string ip;  ///< As inet_ntop() writes it.
    bool is_ipv6 = false;
  };
  struct Alias {
    std::string name;
    std::string target;
  };

  int response_code = 0;           ///< RCODE: 0 NOERROR, 3 NXDOMAIN, 5 REFUSED.
  std::vector<Srv> services;       ///< Of the answer section.
  std::vector<Address> addresses;  ///< Of the answer and additional sections.
  std::vector<Alias> aliases;      ///< Of the answer and additional sections.

  /// What `name` is called in the end, aliases followed (eight at most); `name` itself when it has none.
  std::string CanonicalName(std::string_view name) const;

  /// The SRV records of `name`, aliases followed. Empty when there are none.
  std::vector<SrvRecord> SrvRecordsOf(std::string_view name) const;

  /// An address of `name`, aliases followed: the first IPv4 one, else the first IPv6 one, else "".
  std::string AddressOf(std::string_view name) const;
};

/// Reads a DNS response (RFC 1035 section 4) as it came over UDP, or over TCP without its length prefix.
///
/// Safe on hostile bytes: every read is bounded, a name has at most 255 octets, and compression pointers may only
/// point backwards, 126 times at most. Records of other types and classes are skipped; bytes after the last record are
/// ignored. Error kMalformedReply says what is wrong with it.
Result<DnsMessage> ParseDnsMessage(std::span<const std::uint8_t> bytes);

}  // namespace rcb::consul
