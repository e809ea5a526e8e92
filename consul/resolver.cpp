#include "consul/resolver.h"

#include <algorithm>
#include <utility>

#include "consul/resolve_format.h"

namespace rcb::consul {
namespace {

using std::chrono::milliseconds;

/// A tag that no instance has: redis-consul-agent publishes "master" and "replica".
constexpr const char* kNobodysTag = "no-such-role";

tl::unexpected<Refusal> Refuse(ExitCode code, std::string message) {
  return tl::unexpected<Refusal>(Refusal{code, std::move(message)});
}

/// "no master of redis", "no instance of redis", "no instance of a.full.name".
std::string Nobody(const ServiceName& name) {
  const bool has_role = name.role != Role::kAny && !name.is_full_name();
  return "no " + (has_role ? std::string(ToString(name.role)) : "instance") + " of " + name.service;
}

/// `dns_name` with another tag in place of its role; empty when it does not begin with one.
std::string WithNobodysTag(const std::string& dns_name) {
  for (const Role role : {Role::kMaster, Role::kReplica}) {
    const std::string_view tag = ToString(role);
    if (dns_name.starts_with(std::string(tag) + ".")) return kNobodysTag + dns_name.substr(tag.size());
  }
  return "";
}

}  // namespace

Resolver::Resolver(Options options, std::string dns_name)
    : options_(std::move(options)), dns_name_(std::move(dns_name)) {
  for (const DnsClient::Options& server : options_.dns) {
    servers_.push_back({server, nullptr});
    // A long UDP answer of Consul is an arbitrary part of the whole.
    servers_.back().options.tcp = options_.all || (options_.candidates && !must_be_alone());
  }
}

tl::expected<Resolver, Refusal> Resolver::Create(Options options) {
  auto dns_name = DnsName(options.name);
  if (!dns_name) return Refuse(kUsage, dns_name.error().message);
  return Resolver(std::move(options), *std::move(dns_name));
}

Result<Addresses> Resolver::Ask(Server& server, milliseconds timeout) {
  if (server.client == nullptr) {
    auto client = DnsClient::Create(server.options);
    if (!client) return tl::unexpected(client.error());
    server.client = *std::move(client);
  }
  return LookUpService(*server.client, dns_name_,
                       {.first_only = !options_.all && !options_.candidates && !must_be_alone(),
                        .pass_over_faulty = !options_.all && !must_be_alone(),
                        .timeout = timeout,
                        .draw = options_.draw});
}

tl::expected<Addresses, Refusal> Resolver::LookUp(milliseconds timeout) {
  std::string failures;
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    const std::size_t next = (answered_ + i) % servers_.size();
    const auto found = Ask(servers_[next], timeout);
    if (!found && found.error().kind == ErrorKind::kConfiguration) return Refuse(kUsage, found.error().message);
    if (!found && found.error().kind != ErrorKind::kNotFound) {
      failures += (failures.empty() ? "" : "; ") + found.error().message;
      continue;
    }
    answered_ = next;
    if (!found) {
      return Refuse(kNone, Nobody(options_.name) + " is published (" + found.error().message +
                               "): is redis-consul-agent running beside its servers?");
    }
    if (!must_be_alone() || found->size() == 1) return *found;
    // To choose would be to guess who is right.
    if (auto heeded = CheckTagsAreHeeded(); !heeded) return tl::unexpected(heeded.error());
    std::vector<std::string> masters;
    for (const ServiceAddress& master : *found) masters.push_back(HostPort(master));
    std::sort(masters.begin(), masters.end());  // So that the same finding reads the same every time.
    std::string list;
    for (const std::string& master : masters) list += (list.empty() ? "" : " and ") + master;
    return Refuse(kAmbiguous, dns_name_ + " has " + std::to_string(found->size()) +
                                  " addresses where a master has one: " + list +
                                  " (--all prints each, --role any picks one)");
  }
  return Refuse(kDnsFailed, failures);
}

tl::expected<void, Refusal> Resolver::CheckTagsAreHeeded() {
  const std::string name = WithNobodysTag(dns_name_);
  if (name.empty()) return {};
  DnsClient& dns = *servers_[answered_].client;
  const auto answer = dns.Ask(name, RecordType::kSrv, options_.timeout);
  // Silence proves nothing: what was asked for has been answered.
  if (!answer || answer->SrvRecordsOf(name).empty()) return {};
  return Refuse(kAmbiguous,
                dns.description() + " does not heed roles: it answers for " + name +
                    " as well, so that its master may be any instance (Consul 1.19.0 does that: upgrade it, "
                    "or set experiments = [\"v1dns\"] there)");
}

tl::expected<Addresses, Refusal> Resolver::Choose(const Addresses& found, const Check& check) const {
  Addresses chosen;
  std::optional<std::string> complaint;
  for (const ServiceAddress& address : found) {
    std::optional<std::string> wrong;
    if (check) wrong = check(address);
    if (!wrong) chosen.push_back(address);
    if (!wrong && !options_.all) break;
    // Of several the first in the alphabet, so that the same finding reads the same every time.
    if (wrong && (!complaint || *wrong < *complaint)) complaint = std::move(wrong);
  }
  if (chosen.empty()) return Refuse(kUnverified, *complaint);
  return chosen;
}

}  // namespace rcb::consul
