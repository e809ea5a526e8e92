#include "tests/integration/dns_answer.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <set>
#include <vector>

namespace rcb::integration {
namespace {

constexpr std::size_t kHeaderBytes = 12;
constexpr std::uint16_t kTypeA = 1;
constexpr std::uint16_t kTypeSrv = 33;
constexpr std::uint16_t kTypeOpt = 41;
constexpr std::uint16_t kClassIn = 1;
constexpr int kMaxPointers = 32;
constexpr std::size_t kMaxNameBytes = 255;

void Append16(std::string& packet, std::uint16_t value) {
  packet.push_back(static_cast<char>(value >> 8));
  packet.push_back(static_cast<char>(value & 0xff));
}

/// Reads forward through a packet; after the first read past its end `ok` stays false and every value is zero.
struct Reader {
  std::string_view packet;
  std::size_t at = 0;
  bool ok = true;

  std::uint8_t Byte() {
    if (at >= packet.size()) {
      ok = false;
      return 0;
    }
    return static_cast<std::uint8_t>(packet[at++]);
  }

  std::uint16_t Word() {
    const std::uint16_t high = Byte();
    return static_cast<std::uint16_t>(high << 8 | Byte());
  }

  void Skip(std::size_t bytes) {
    if (bytes > packet.size() - std::min(at, packet.size())) {
      ok = false;
      return;
    }
    at += bytes;
  }

  /// A name in lower case without the last dot; follows compression pointers, a bounded number of them.
  std::string Name() {
    std::string name;
    std::size_t resume = 0;
    for (int pointers = 0; ok;) {
      const std::uint8_t length = Byte();
      if (!ok || length == 0) break;
      if ((length & 0xc0) == 0xc0) {
        const std::size_t target = static_cast<std::size_t>(length & 0x3f) << 8 | Byte();
        if (!ok || ++pointers > kMaxPointers) {
          ok = false;
          break;
        }
        if (resume == 0) resume = at;
        at = target;
        continue;
      }
      if ((length & 0xc0) != 0 || name.size() + length > kMaxNameBytes) {
        ok = false;
        break;
      }
      if (!name.empty()) name.push_back('.');
      for (int i = 0; i < length; ++i) name.push_back(static_cast<char>(std::tolower(Byte())));
    }
    if (resume != 0) at = resume;
    return name;
  }
};

std::string DottedQuad(std::uint32_t address) {
  return std::to_string(address >> 24) + "." + std::to_string(address >> 16 & 0xff) + "." +
         std::to_string(address >> 8 & 0xff) + "." + std::to_string(address & 0xff);
}

/// Consul names a service's own address `7f000001.addr.<dc>.consul` (agent/dns.go).
std::optional<std::string> DecodeAddrTarget(const std::string& target) {
  constexpr std::size_t kHexDigits = 8;
  if (target.size() < kHexDigits || !std::string_view(target).substr(kHexDigits).starts_with(".addr.")) {
    return std::nullopt;
  }
  std::uint32_t address = 0;
  const char* end = target.data() + kHexDigits;
  const auto [parsed, error] = std::from_chars(target.data(), end, address, 16);
  if (error != std::errc() || parsed != end) return std::nullopt;
  return DottedQuad(address);
}

struct Service {
  std::string target;
  std::uint16_t port;
};

}  // namespace

std::string BuildSrvQuestion(std::string_view name, std::uint16_t id) {
  std::string packet;
  Append16(packet, id);
  Append16(packet, 0x0100);  // Recursion desired, as every stub resolver asks.
  Append16(packet, 1);       // One question,
  Append16(packet, 0);
  Append16(packet, 0);
  Append16(packet, 1);  // and the OPT record.
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    packet.push_back(static_cast<char>(label.size()));
    packet.append(label);
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  packet.push_back('\0');
  Append16(packet, kTypeSrv);
  Append16(packet, kClassIn);
  packet.push_back('\0');  // OPT: root name,
  Append16(packet, kTypeOpt);
  Append16(packet, 4096);  // UDP size in place of the class,
  Append16(packet, 0);     // no extended flags,
  Append16(packet, 0);
  Append16(packet, 0);  // no options.
  return packet;
}

std::optional<std::string> ReadSrvAnswer(std::string_view packet, std::uint16_t id) {
  Reader reader{packet};
  if (packet.size() < kHeaderBytes || reader.Word() != id) return std::nullopt;
  const std::uint16_t flags = reader.Word();
  if ((flags & 0x8000) == 0) return std::nullopt;  // A question.
  const int rcode = flags & 0x0f;
  if ((flags & 0x0200) != 0) return "!truncated";
  constexpr int kNameError = 3;
  if (rcode == kNameError) return "-";
  if (rcode != 0) return "!rcode" + std::to_string(rcode);

  const int questions = reader.Word();
  int records = reader.Word();
  records += reader.Word();
  records += reader.Word();
  for (int i = 0; i < questions && reader.ok; ++i) {
    reader.Name();
    reader.Skip(4);
  }
  std::vector<Service> services;
  std::map<std::string, std::string> addresses;
  for (int i = 0; i < records && reader.ok; ++i) {
    const std::string owner = reader.Name();
    const std::uint16_t type = reader.Word();
    reader.Skip(2 + 4);  // Class, TTL.
    const std::size_t length = reader.Word();
    const std::size_t data = reader.at;
    reader.Skip(length);
    if (!reader.ok) break;
    Reader inner{packet, data};
    if (type == kTypeSrv) {
      inner.Skip(2 + 2);  // Priority, weight.
      const std::uint16_t port = inner.Word();
      services.push_back({inner.Name(), port});
    } else if (type == kTypeA && length == 4) {
      const std::uint32_t high = inner.Word();
      addresses[owner] = DottedQuad(high << 16 | inner.Word());
    }
    if (!inner.ok) return "!malformed";
  }
  if (!reader.ok) return "!malformed";

  std::set<std::string> endpoints;
  for (const Service& service : services) {
    std::string host = service.target;
    if (const auto decoded = DecodeAddrTarget(host)) {
      host = *decoded;
    } else if (const auto found = addresses.find(host); found != addresses.end()) {
      host = found->second;
    }
    endpoints.insert(host + ":" + std::to_string(service.port));
  }
  std::string text;
  for (const std::string& endpoint : endpoints) text += (text.empty() ? "" : ",") + endpoint;
  return text.empty() ? "-" : text;
}

}  // namespace rcb::integration
