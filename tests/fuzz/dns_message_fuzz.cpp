// The parser of DNS answers, and what is asked of its result, on any bytes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "consul/dns_message.h"
#include "consul/dns_name.h"
#include "consul/srv_select.h"

namespace {

using namespace rcb::consul;

/// DnsMessage's promise about its names.
void CheckName(const std::string& name) {
  constexpr std::size_t kLongest = 1020;  // 255 octets, each as \DDD.
  const auto is_plain = [](char c) { return c > ' ' && c < 0x7f && !(c >= 'A' && c <= 'Z'); };
  if (name.size() > kLongest || !std::all_of(name.begin(), name.end(), is_plain)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto message = ParseDnsMessage(std::span(data, size));
  if (!message) {
    if (message.error().message.empty()) std::abort();
    return 0;
  }
  for (const DnsMessage::Address& address : message->addresses) CheckName(address.name);
  for (const DnsMessage::Alias& alias : message->aliases) {
    CheckName(alias.target);
    CheckName(message->CanonicalName(alias.name));
  }
  for (const DnsMessage::Srv& service : message->services) {
    CheckName(service.name);
    CheckName(service.record.target);
    message->AddressOf(service.record.target);
    AddressInName(service.record.target);
    const auto records = message->SrvRecordsOf(service.name);
    if (OrderForUse(records, [](std::uint32_t max) { return max / 2; }).size() != records.size()) std::abort();
  }
  return 0;
}
