#include "consul/types.h"

#include <algorithm>

namespace rcb::consul {

std::string_view ToString(CheckStatus status) {
  switch (status) {
    case CheckStatus::kPassing: return "passing";
    case CheckStatus::kWarning: return "warning";
    case CheckStatus::kCritical: break;
  }
  return "critical";
}

bool ServiceEntry::IsServed() const {
  return std::none_of(checks.begin(), checks.end(), [](const CatalogCheck& check) {
    return check.status == "critical" || check.status == "maintenance";
  });
}

bool ServiceEntry::HasTag(std::string_view tag) const { return std::find(tags.begin(), tags.end(), tag) != tags.end(); }

}  // namespace rcb::consul
