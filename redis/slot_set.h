#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rcb::redis {

/// Hash slots of a Redis Cluster: any of 0 to 16383.
class SlotSet {
 public:
  static constexpr std::size_t kSlots = 16384;

  bool empty() const { return slots_.none(); }
  std::size_t size() const { return slots_.count(); }
  std::optional<std::uint16_t> lowest() const;

  /// Takes "12" or "0-5460" (both ends included). False, and nothing is added, for any other text and where one of them
  /// is in here already.
  bool AddRange(std::string_view text);
  void Add(const SlotSet& other) { slots_ |= other.slots_; }
  /// True when each of `other` is in here.
  bool Covers(const SlotSet& other) const { return (other.slots_ & ~slots_).none(); }

  /// "0-5460,5462". What would make it longer than `max_bytes` is left out from the end, whole ranges at a time, and
  /// "..." stands for it.
  std::string ToString(std::size_t max_bytes) const;
  /// Takes what ToString() makes; "..." is nothing. Parts that are no ranges are skipped.
  static SlotSet FromString(std::string_view text);

  bool operator==(const SlotSet&) const = default;

 private:
  std::bitset<kSlots> slots_;
};

}  // namespace rcb::redis
