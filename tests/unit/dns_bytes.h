#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rcb::consul {

/// Writes DNS messages, right and wrong ones alike, for the tests.
class DnsBytes {
 public:
  using Bytes = std::vector<std::uint8_t>;

  /// A header: id 0x1234, `flags` (0x8400: an authoritative answer) and how many records each section claims to have.
  explicit DnsBytes(std::uint16_t flags = 0x8400, std::uint16_t questions = 0, std::uint16_t answers = 0,
                    std::uint16_t authorities = 0, std::uint16_t additionals = 0) {
    Number(0x1234).Number(flags).Number(questions).Number(answers).Number(authorities).Number(additionals);
  }

  DnsBytes& Number(unsigned value) {
    return Raw({static_cast<std::uint8_t>(value >> 8 & 0xff), static_cast<std::uint8_t>(value & 0xff)});
  }
  DnsBytes& Raw(const Bytes& more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
    return *this;
  }
  DnsBytes& Name(std::string_view name) {
    while (!name.empty()) {
      const std::string_view label = name.substr(0, name.find('.'));
      bytes_.push_back(static_cast<std::uint8_t>(label.size()));
      bytes_.insert(bytes_.end(), label.begin(), label.end());
      name.remove_prefix(label.size() < name.size() ? label.size() + 1 : label.size());
    }
    bytes_.push_back(0);
    return *this;
  }
  DnsBytes& Pointer(unsigned offset) { return Number(0xc000 | offset); }
  DnsBytes& Question(std::string_view name, unsigned type) { return Name(name).Number(type).Number(1); }
  DnsBytes& Record(std::string_view name, unsigned type, const Bytes& data, unsigned record_class = 1) {
    return Name(name)
        .Number(type)
        .Number(record_class)
        .Number(0)
        .Number(0)
        .Number(static_cast<unsigned>(data.size()))
        .Raw(data);
  }
  DnsBytes& Srv(std::string_view name, unsigned priority, unsigned weight, unsigned port, std::string_view target) {
    DnsBytes data(Empty{});
    data.Number(priority).Number(weight).Number(port).Name(target);
    return Record(name, 33, data.bytes());
  }
  DnsBytes& Cname(std::string_view name, std::string_view target) {
    return Record(name, 5, DnsBytes(Empty{}).Name(target).bytes());
  }

  const Bytes& bytes() const { return bytes_; }

 private:
  struct Empty {};
  explicit DnsBytes(Empty /*no header*/) {}

  Bytes bytes_;
};

}  // namespace rcb::consul
