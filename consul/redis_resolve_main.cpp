// redis-resolve: prints the address of a Redis service that is published in Consul DNS.

#include <cstdio>
#include <random>
#include <string>

#include "consul/dns_client.h"
#include "consul/dns_name.h"
#include "consul/resolve_format.h"
#include "consul/resolve_options.h"
#include "consul/service_lookup.h"

namespace rcb::consul {
namespace {

enum ExitCode { kFound = 0, kNone = 1, kUsage = 2, kDnsFailed = 3, kAmbiguous = 4 };

int Complain(ExitCode code, const std::string& message) {
  std::fprintf(stderr, "redis-resolve: %s\n", message.c_str());
  return code;
}

std::uint32_t Draw(std::uint32_t max) {
  static std::random_device source;
  return std::uniform_int_distribution<std::uint32_t>(0, max)(source);
}

/// "no master of redis", "no instance of redis", "no instance of a.full.name".
std::string Nobody(const ServiceName& name) {
  const bool has_role = name.role != Role::kAny && !name.is_full_name();
  return "no " + (has_role ? std::string(ToString(name.role)) : "instance") + " of " + name.service;
}

int FailureOf(const Error& error, const ServiceName& name) {
  switch (error.kind) {
    case ErrorKind::kNotFound:
      return Complain(kNone, Nobody(name) + " is published (" + error.message +
                                 "): is redis-consul-agent running beside its servers?");
    case ErrorKind::kConfiguration: return Complain(kUsage, error.message);
    default: return Complain(kDnsFailed, error.message);
  }
}

/// A master that is asked for alone has to be the only one: to choose would be to guess who is right.
int Refuse(const std::vector<ServiceAddress>& masters, const std::string& dns_name) {
  std::string list;
  for (const ServiceAddress& master : masters) list += (list.empty() ? "" : " and ") + HostPort(master);
  return Complain(kAmbiguous, dns_name + " has " + std::to_string(masters.size()) +
                                  " addresses where a master has one: " + list +
                                  " (--all prints each, --role any picks one)");
}

int Run(const ResolveOptions& options) {
  const auto dns_name = DnsName(options.name);
  if (!dns_name) return FailureOf(dns_name.error(), options.name);
  DnsClient::Options dns_options = options.dns;
  dns_options.tcp = options.all;
  const auto dns = DnsClient::Create(dns_options);
  if (!dns) return FailureOf(dns.error(), options.name);

  const bool must_be_alone = options.name.role == Role::kMaster && !options.all;
  const auto found = LookUpService(
      **dns, *dns_name, {.first_only = !options.all && !must_be_alone, .timeout = options.timeout, .draw = Draw});
  if (!found) return FailureOf(found.error(), options.name);
  if (must_be_alone && found->size() > 1) return Refuse(*found, *dns_name);

  const std::string text = FormatAddresses(*found, options.format, options.all);
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
    return Complain(kDnsFailed, "the answer cannot be written to the standard output");
  }
  return kFound;
}

}  // namespace
}  // namespace rcb::consul

int main(int argc, char** argv) {
  using rcb::consul::EarlyExit;
  const auto parsed = rcb::consul::ParseResolveOptions(argc, argv);
  if (const auto* exit = std::get_if<EarlyExit>(&parsed)) {
    std::fputs(exit->text.c_str(), exit->exit_code == 0 ? stdout : stderr);
    return exit->exit_code;
  }
  return rcb::consul::Run(std::get<rcb::consul::ResolveOptions>(parsed));
}
