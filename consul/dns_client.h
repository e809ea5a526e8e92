#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "consul/dns_message.h"
#include "consul/result.h"

namespace rcb::consul {

enum class RecordType : std::uint16_t { kA = 1, kAaaa = 28, kSrv = 33 };

/// Asks one DNS server, or the host's own resolver, and waits for the answer. For short-lived tools: it blocks.
///
/// EDNS0 with 4096 bytes; a truncated UDP answer is asked for again over TCP; no search list, no /etc/hosts, no cache.
class DnsClient {
 public:
  struct Options {
    std::string host;  ///< Address or name of the server; empty: the servers of /etc/resolv.conf.
    std::uint16_t port = 8600;
    /// Ask over TCP from the start. Consul leaves answers out of a long UDP reply and says so (the TC bit) only when
    /// its dns_config.enable_truncate is set, so this is the only way to be sure of hearing all of them.
    bool tcp = false;
  };

  /// Error kUnreachable: the server's name has no address. Nothing is sent to it yet.
  static Result<std::unique_ptr<DnsClient>> Create(const Options& options);
  ~DnsClient();
  DnsClient(const DnsClient&) = delete;
  DnsClient& operator=(const DnsClient&) = delete;

  /// Asks for the records of `name` and waits `timeout` at most, in which the question is sent up to three times.
  /// A name that does not exist is an answer without records. Errors: kUnreachable (refused, no route), kTimeout,
  /// kDenied (REFUSED: Consul says so outside its own domains), kServer (any other failure that the server tells),
  /// kMalformedReply (what came is no answer to this question).
  Result<DnsMessage> Ask(const std::string& name, RecordType type, std::chrono::milliseconds timeout);

  /// "DNS at 127.0.0.1:8600", "DNS at [::1]:8600", "the host's resolver (/etc/resolv.conf)".
  const std::string& description() const;

 private:
  class Impl;
  explicit DnsClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rcb::consul
