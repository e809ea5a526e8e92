#include "consul/dns_message.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <optional>

namespace rcb::consul {
namespace {

constexpr std::size_t kMaxLabelOctets = 63;  // RFC 1035 section 2.3.4.
constexpr std::size_t kMaxNameOctets = 255;
constexpr int kMaxPointers = 126;  // One for each label that a name of 255 octets can have.
constexpr int kMaxAliases = 8;     // Longer CNAME chains are loops or mischief.

constexpr std::uint16_t kClassIn = 1;
constexpr std::uint16_t kTypeA = 1;
constexpr std::uint16_t kTypeCname = 5;
constexpr std::uint16_t kTypeAaaa = 28;
constexpr std::uint16_t kTypeSrv = 33;

/// Reads a message from front to back. What would pass the end yields nothing.
class Reader {
 public:
  Reader(std::span<const std::uint8_t> message, std::size_t position) : message_(message), position_(position) {}

  std::size_t position() const { return position_; }

  bool Skip(std::size_t count) {
    if (count > message_.size() - position_) return false;
    position_ += count;
    return true;
  }

  std::optional<std::uint16_t> Number() {
    const std::size_t at = position_;
    if (!Skip(2)) return std::nullopt;
    return static_cast<std::uint16_t>(message_[at] << 8 | message_[at + 1]);
  }

  /// A name, or what is wrong with it, to follow "the name of ...".
  tl::expected<std::string, const char*> Name();

 private:
  std::span<const std::uint8_t> message_;
  std::size_t position_;  // Never beyond the message's end.
};

void AppendEscaped(std::string& text, std::uint8_t octet) {
  if (octet >= 'A' && octet <= 'Z') octet = static_cast<std::uint8_t>(octet - 'A' + 'a');
  if (octet > ' ' && octet < 0x7f && octet != '.' && octet != '\\') {
    text += static_cast<char>(octet);
    return;
  }
  text += '\\';
  text += static_cast<char>('0' + octet / 100);
  text += static_cast<char>('0' + octet / 10 % 10);
  text += static_cast<char>('0' + octet % 10);
}

tl::expected<std::string, const char*> Reader::Name() {
  const auto wrong = [](const char* what) { return tl::unexpected<const char*>(what); };
  std::string name;
  std::size_t octets = 1;  // The root's.
  std::size_t at = position_;
  std::size_t earliest = position_;  // Where the part now read begins: a pointer has to lead before it.
  int pointers = 0;
  while (at < message_.size()) {
    const std::size_t length = message_[at];
    if (length == 0) {
      if (pointers == 0) position_ = at + 1;
      return name;
    }
    if ((length & 0xc0) == 0xc0) {
      if (at + 1 >= message_.size()) return wrong("is cut off");
      if (++pointers > kMaxPointers) return wrong("has too many pointers");
      if (pointers == 1) position_ = at + 2;
      const std::size_t target = (length & 0x3f) << 8 | message_[at + 1];
      if (target >= earliest) return wrong("has a pointer that leads forward or in a circle");
      earliest = at = target;
      continue;
    }
    octets += 1 + length;
    if (length > kMaxLabelOctets || octets > kMaxNameOctets) return wrong("is too long");
    if (length >= message_.size() - at) return wrong("is cut off");
    if (!name.empty()) name += '.';
    for (const std::uint8_t octet : message_.subspan(at + 1, length)) AppendEscaped(name, octet);
    at += 1 + length;
  }
  return wrong("is cut off");
}

template <int kFamily, std::size_t kOctets>
std::optional<std::string> IpText(std::span<const std::uint8_t> data) {
  if (data.size() != kOctets) return std::nullopt;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (inet_ntop(kFamily, data.data(), text.data(), text.size()) == nullptr) return std::nullopt;
  return text.data();
}

/// Takes one record whose data begins at `data_at`. False: its data is not what its type promises.
bool TakeRecord(DnsMessage& result, bool is_answer, std::string name, std::uint16_t type,
                std::span<const std::uint8_t> message, std::size_t data_at, std::size_t data_size) {
  const auto data = message.subspan(data_at, data_size);
  // A name in the data may point anywhere before it, but its own bytes end with the data.
  Reader reader(message.first(data_at + data_size), data_at);
  switch (type) {
    case kTypeA:
    case kTypeAaaa: {
      auto ip = type == kTypeA ? IpText<AF_INET, 4>(data) : IpText<AF_INET6, 16>(data);
      if (!ip) return false;
      result.addresses.push_back({std::move(name), std::move(*ip), type == kTypeAaaa});
      return true;
    }
    case kTypeCname: {
      auto target = reader.Name();
      if (!target) return false;
      result.aliases.push_back({std::move(name), std::move(*target)});
      return true;
    }
    case kTypeSrv: {
      const auto priority = reader.Number();
      const auto weight = reader.Number();
      const auto port = reader.Number();
      auto target = reader.Name();
      if (!priority || !weight || !port || !target) return false;
      if (is_answer) {
        result.services.push_back({std::move(name), {*priority, *weight, *port, std::move(*target)}});
      }
      return true;
    }
    default: return true;
  }
}

}  // namespace

std::string DnsMessage::CanonicalName(std::string_view name) const {
  for (int hop = 0; hop < kMaxAliases; ++hop) {
    const auto alias = std::find_if(aliases.begin(), aliases.end(), [&](const Alias& a) { return a.name == name; });
    if (alias == aliases.end()) break;
    name = alias->target;
  }
  return std::string(name);
}

std::vector<SrvRecord> DnsMessage::SrvRecordsOf(std::string_view name) const {
  const std::string canonical = CanonicalName(name);
  std::vector<SrvRecord> records;
  for (const Srv& service : services) {
    if (service.name == canonical) records.push_back(service.record);
  }
  return records;
}

std::string DnsMessage::AddressOf(std::string_view name) const {
  const std::string canonical = CanonicalName(name);
  const Address* found = nullptr;
  for (const Address& address : addresses) {
    if (address.name != canonical) continue;
    if (!address.is_ipv6) return address.ip;
    if (found == nullptr) found = &address;
  }
  return found == nullptr ? std::string() : found->ip;
}

Result<DnsMessage> ParseDnsMessage(std::span<const std::uint8_t> bytes) {
  const auto malformed = [](const std::string& what) {
    return Fail(ErrorKind::kMalformedReply, "malformed DNS answer: " + what);
  };
  Reader reader(bytes, 0);
  std::array<std::uint16_t, 6> header{};  // Id, flags, then how many questions, answers, authorities, additionals.
  for (std::uint16_t& field : header) {
    const auto number = reader.Number();
    if (!number) return malformed("shorter than a header");
    field = *number;
  }
  const auto [id, flags, questions, answers, authorities, additionals] = header;
  if ((flags & 0x8000) == 0) return malformed("it is a question");

  DnsMessage result;
  result.response_code = flags & 0x0f;
  for (int i = 0; i < questions; ++i) {
    const auto name = reader.Name();
    if (!name) return malformed(std::string("the name in its question ") + name.error());
    if (!reader.Skip(4)) return malformed("its question is cut off");
  }
  const int records = answers + authorities + additionals;
  for (int i = 0; i < records; ++i) {
    const std::string which = "record " + std::to_string(i + 1) + " of " + std::to_string(records);
    auto name = reader.Name();
    if (!name) return malformed("the name of " + which + " " + name.error());
    const auto type = reader.Number();
    const auto record_class = reader.Number();
    const bool has_ttl = reader.Skip(4);
    const auto size = reader.Number();
    const std::size_t data_at = reader.position();
    if (!type || !record_class || !has_ttl || !size || !reader.Skip(*size)) return malformed(which + " is cut off");
    const bool is_answer = i < answers;
    const bool is_authority = !is_answer && i < answers + authorities;
    if (*record_class != kClassIn || is_authority) continue;
    if (!TakeRecord(result, is_answer, std::move(*name), *type, bytes, data_at, *size)) {
      return malformed("the data of " + which + " is wrong");
    }
  }
  return result;
}

}  // namespace rcb::consul
