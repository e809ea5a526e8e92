#include "consul/service_lookup.h"

#include <algorithm>
#include <optional>

#include "consul/dns_name.h"

namespace rcb::consul {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxAliasHops = 4;  // Each costs a question; real chains have one or two.

/// True for what may be handed to a shell or a resolver as a host's name; DnsMessage escapes all else with '\'.
bool IsHostName(const std::string& name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

/// One look-up: the client, and the time that is left to it.
class Lookup {
 public:
  Lookup(DnsClient& dns, milliseconds timeout) : dns_(dns), timeout_(timeout) {}

  Result<DnsMessage> Ask(const std::string& name, RecordType type) {
    // The first question gets the time that was set, to the millisecond: a time-out's message then says that number.
    if (!deadline_) {
      deadline_ = std::chrono::steady_clock::now() + timeout_;
      return dns_.Ask(name, type, timeout_);
    }
    const auto left = std::chrono::ceil<milliseconds>(*deadline_ - std::chrono::steady_clock::now());
    return dns_.Ask(name, type, std::max(left, milliseconds(1)));
  }

  /// Asks, and asks for the alias's target where the answer has an alias of the name and no more: a server that does
  /// not follow it leaves that to us. `name` becomes the name that was answered for.
  Result<DnsMessage> AskThroughAliases(std::string& name, RecordType type) {
    for (int hop = 0;; ++hop) {
      auto message = Ask(name, type);
      if (!message) return message;
      const bool is_there = type == RecordType::kSrv ? !message->SrvRecordsOf(name).empty()  //
                                                     : !message->AddressOf(name).empty();
      std::string canonical = message->CanonicalName(name);
      if (is_there || canonical == name || hop == kMaxAliasHops) return message;
      name = std::move(canonical);
    }
  }

  /// The host to dial for an SRV record of `answer`.
  Result<std::string> HostOf(const SrvRecord& record, const DnsMessage& answer) {
    const std::string& target = record.target;
    if (std::string ip = answer.AddressOf(target); !ip.empty()) return ip;
    if (std::string ip = AddressInName(target); !ip.empty()) return ip;
    if (!IsHostName(target)) {
      return Fail(ErrorKind::kMalformedReply, dns_.description() + " names the host '" + target +
                                                  "', which is no host name: register the service with an IP address");
    }
    for (const RecordType type : {RecordType::kA, RecordType::kAaaa}) {
      std::string name = target;
      const auto message = AskThroughAliases(name, type);
      if (!message && message.error().kind == ErrorKind::kDenied) return target;
      if (!message) return tl::unexpected(message.error());
      if (std::string ip = message->AddressOf(name); !ip.empty()) return ip;
    }
    return Fail(ErrorKind::kMalformedReply, dns_.description() + " names the host " + target +
                                                " but knows no address of it: register the service with an IP address");
  }

 private:
  DnsClient& dns_;
  milliseconds timeout_;
  std::optional<TimePoint> deadline_;
};

/// Whether another target of the same answer may do better.
bool ConcernsOneTarget(const Error& error) { return error.kind == ErrorKind::kMalformedReply; }

}  // namespace

Result<std::vector<ServiceAddress>> LookUpService(DnsClient& dns, const std::string& name,
                                                  const LookupOptions& options) {
  Lookup lookup(dns, options.timeout);
  std::string answered = name;
  const auto answer = lookup.AskThroughAliases(answered, RecordType::kSrv);
  if (!answer) return tl::unexpected(answer.error());
  std::vector<SrvRecord> records = answer->SrvRecordsOf(answered);
  // The root as target: the service is decidedly not available (RFC 2782).
  std::erase_if(records, [](const SrvRecord& record) { return record.target.empty(); });
  if (records.empty()) {
    return Fail(ErrorKind::kNotFound, dns.description() + " has no SRV record of " + name);
  }

  std::vector<ServiceAddress> found;
  std::optional<Error> passed_over;
  for (SrvRecord& record : OrderForUse(std::move(records), options.draw)) {
    Result<std::string> host =
        record.port != 0 ? lookup.HostOf(record, *answer)
                         : Fail(ErrorKind::kMalformedReply, name + " is published at " + record.target +
                                                                " without a port: register the service with its port");
    if (!host) {
      if (!options.pass_over_faulty || !ConcernsOneTarget(host.error())) return tl::unexpected(host.error());
      if (!passed_over) passed_over = host.error();
      continue;
    }
    const bool is_known = std::any_of(found.begin(), found.end(), [&](const ServiceAddress& other) {
      return other.host == *host && other.port == record.port;
    });
    if (is_known) continue;
    found.push_back({std::move(*host), record.port, std::move(record)});
    if (options.first_only) break;
  }
  if (found.empty()) return tl::unexpected(*passed_over);
  return found;
}

}  // namespace rcb::consul
