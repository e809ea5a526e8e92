// The parsers of CLUSTER INFO and CLUSTER NODES, and the text that slots become, on any bytes.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "redis/cluster_info.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace rcb::redis;
  constexpr std::size_t kMaxText = 500;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  if (const auto info = ParseClusterInfo(body); !info && info.error().message.empty()) std::abort();
  const auto nodes = ParseClusterNodes(body);
  if (!nodes) {
    if (nodes.error().message.empty()) std::abort();
    return 0;
  }
  if (nodes->node_id.empty()) std::abort();
  const std::string text = nodes->slots.ToString(kMaxText);
  if (text.size() > kMaxText) std::abort();
  // What was cut is not made up again.
  const SlotSet read = SlotSet::FromString(text);
  if (!nodes->slots.Covers(read)) std::abort();
  if (!text.ends_with("...") && !(read == nodes->slots)) std::abort();
  return 0;
}
