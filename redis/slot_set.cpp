#include "redis/slot_set.h"

#include "redis/wire_text.h"

namespace rcb::redis {
namespace {

constexpr std::string_view kMore = ",...";

}  // namespace

std::optional<std::uint16_t> SlotSet::lowest() const {
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    if (slots_[slot]) return static_cast<std::uint16_t>(slot);
  }
  return std::nullopt;
}

bool SlotSet::AddRange(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = ParseNumber<std::uint16_t>(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : ParseNumber<std::uint16_t>(text.substr(dash + 1));
  if (!first || !last || *first > *last || *last >= kSlots) return false;
  for (std::size_t slot = *first; slot <= *last; ++slot) {
    if (slots_[slot]) return false;
  }
  for (std::size_t slot = *first; slot <= *last; ++slot) slots_.set(slot);
  return true;
}

std::string SlotSet::ToString(std::size_t max_bytes) const {
  std::string text;
  for (std::size_t first = 0; first < kSlots; ++first) {
    if (!slots_[first]) continue;
    std::size_t last = first;
    while (last + 1 < kSlots && slots_[last + 1]) ++last;
    std::string range = text.empty() ? "" : ",";
    range += std::to_string(first);
    if (last > first) range += "-" + std::to_string(last);
    if (text.size() + range.size() + kMore.size() > max_bytes) return text.append(kMore);
    text += range;
    first = last;
  }
  return text;
}

SlotSet SlotSet::FromString(std::string_view text) {
  SlotSet slots;
  for (const std::string_view range : SplitFields(text, ',', kSlots)) slots.AddRange(range);
  return slots;
}

}  // namespace rcb::redis
