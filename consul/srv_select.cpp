#include "consul/srv_select.h"

#include <algorithm>

namespace rcb::consul {

std::vector<SrvRecord> OrderForUse(std::vector<SrvRecord> records, const UniformDraw& draw) {
  // Within a priority weight 0 comes first: it then wins only a draw of 0, as the RFC asks.
  std::stable_sort(records.begin(), records.end(), [](const SrvRecord& left, const SrvRecord& right) {
    if (left.priority != right.priority) return left.priority < right.priority;
    return left.weight == 0 && right.weight != 0;
  });
  for (auto next = records.begin(); next != records.end(); ++next) {
    const auto group_end = std::find_if(
        next, records.end(), [priority = next->priority](const SrvRecord& r) { return r.priority != priority; });
    std::uint32_t total = 0;  // At most 65535 records of weight 65535: fits.
    for (auto record = next; record != group_end; ++record) total += record->weight;
    const std::uint32_t lot = draw(total);
    std::uint32_t sum = 0;
    const auto drawn = std::find_if(next, group_end, [&](const SrvRecord& r) { return (sum += r.weight) >= lot; });
    // Moves the drawn one to the front and keeps the order of those that it passes.
    if (drawn != group_end) std::rotate(next, drawn, drawn + 1);
  }
  return records;
}

}  // namespace rcb::consul
