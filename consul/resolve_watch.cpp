#include "consul/resolve_watch.h"

#include <algorithm>

namespace rcb::consul {

bool IsKnown(const Addresses& told, const Addresses& found, bool all) {
  const auto is_found = [&](const ServiceAddress& one) {
    return std::any_of(found.begin(), found.end(),
                       [&](const ServiceAddress& other) { return one.host == other.host && one.port == other.port; });
  };
  // LookUpService() names nobody twice.
  const bool same_size = !all || told.size() == found.size();
  return !told.empty() && same_size && std::all_of(told.begin(), told.end(), is_found);
}

std::chrono::milliseconds PollPause::Next(bool failed, const UniformDraw& draw) {
  step_ = failed ? std::min(2 * step_, kLongest) : kUsual;
  return step_ + std::chrono::milliseconds(draw(static_cast<std::uint32_t>(kJitter.count())));
}

}  // namespace rcb::consul
