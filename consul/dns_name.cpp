#include "consul/dns_name.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace rcb::consul {
namespace {

constexpr std::size_t kMaxLabel = 63;  // RFC 1035 section 2.3.4.
constexpr std::size_t kMaxName = 253;  // 255 octets on the wire.

bool IsLabelCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool IsLabel(std::string_view text) {
  return !text.empty() && text.front() != '-' && text.size() <= kMaxLabel &&
         std::all_of(text.begin(), text.end(), IsLabelCharacter);
}

bool IsName(std::string_view text) {
  if (text.size() > kMaxName) return false;
  for (;;) {
    const std::size_t dot = text.find('.');
    if (!IsLabel(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

/// Lower case and without a final dot, as in DnsMessage.
std::string Normalized(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string text(name);
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

tl::unexpected<Error> NotAName(const char* what, const std::string& text) {
  return Fail(ErrorKind::kConfiguration,
              std::string(what) + " '" + text +
                  "' cannot stand in a DNS name: letters, digits, '-' (not first) and '_', at most 63 "
                  "between two dots");
}

}  // namespace

std::string_view ToString(Role role) {
  switch (role) {
    case Role::kMaster: return "master";
    case Role::kReplica: return "replica";
    case Role::kAny: return "any";
  }
  return "";
}

Result<std::string> DnsName(const ServiceName& name) {
  if (name.is_full_name()) {
    if (!name.datacenter.empty()) {
      return Fail(ErrorKind::kConfiguration, "'" + name.service +
                                                 "' is a full name (it has a dot) and is asked for as " +
                                                 "it is: write the datacenter into it, or leave --dc away");
    }
    std::string full = Normalized(name.service);
    if (!IsName(full)) return NotAName("the name", name.service);
    return full;
  }
  const std::string domain = Normalized(name.domain);
  if (!IsLabel(name.service)) return NotAName("the service", name.service);
  if (!name.datacenter.empty() && !IsLabel(name.datacenter)) return NotAName("the datacenter", name.datacenter);
  if (!IsName(domain)) return NotAName("the domain", name.domain);

  std::string full;
  if (name.role != Role::kAny) full.append(ToString(name.role)).append(".");
  full.append(name.service).append(".service.");
  if (!name.datacenter.empty()) full.append(name.datacenter).append(".");
  full.append(domain);
  if (full.size() > kMaxName) return NotAName("the name", full);
  return Normalized(full);
}

std::string AddressInName(std::string_view name) {
  constexpr std::string_view kMark = ".addr.";
  const std::size_t digits = name.find('.');
  if ((digits != 8 && digits != 32) || !name.substr(digits).starts_with(kMark)) return "";
  std::array<std::uint8_t, 16> octets{};
  for (std::size_t i = 0; i < digits; i += 2) {
    const char* const from = name.data() + i;
    const auto [end, error] = std::from_chars(from, from + 2, octets[i / 2], 16);
    if (error != std::errc() || end != from + 2) return "";
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (inet_ntop(digits == 8 ? AF_INET : AF_INET6, octets.data(), text.data(), text.size()) == nullptr) return "";
  return text.data();
}

}  // namespace rcb::consul
