#include "redis/cluster_info.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "redis/wire_text.h"

namespace rcb::redis {
namespace {

/// Id, address, flags, master, two times, epoch and link state stand in front of the slots.
constexpr std::size_t kFixedFields = 8;
/// No line has more slots than there are, one by one and once more on their way.
constexpr std::size_t kMaxFields = kFixedFields + 2 * SlotSet::kSlots;
/// Ids are 40 hexadecimal digits.
constexpr std::size_t kMaxId = 64;
constexpr std::size_t kMaxFlags = 16;

struct Node {
  std::string_view id;
  std::string_view master_id;  ///< "-": none.
  bool myself = false;
  bool master = false;
  bool failing = false;
  std::uint64_t epoch = 0;
  SlotSet slots;
};

std::optional<Node> ParseNode(std::string_view line) {
  const auto fields = SplitFields(line, ' ', kMaxFields);
  if (fields.size() < kFixedFields || fields[0].empty() || fields[0].size() > kMaxId || fields[3].size() > kMaxId) {
    return std::nullopt;
  }
  Node node;
  node.id = fields[0];
  node.master_id = fields[3];
  for (const std::string_view flag : SplitFields(fields[2], ',', kMaxFlags)) {
    if (flag == "myself") node.myself = true;
    if (flag == "master") node.master = true;
    if (flag == "fail" || flag == "fail?") node.failing = true;
  }
  const auto epoch = ParseNumber<std::uint64_t>(fields[6]);
  if (!epoch) return std::nullopt;
  node.epoch = *epoch;
  for (std::size_t i = kFixedFields; i < fields.size(); ++i) {
    if (fields[i].empty() || fields[i].starts_with('[')) continue;
    if (!node.slots.AddRange(fields[i])) return std::nullopt;
  }
  return node;
}

}  // namespace

Result<ClusterInfo> ParseClusterInfo(std::string_view body) {
  ClusterInfo info;
  bool told = false;
  ForEachLine(body, [&](std::string_view line) {
    if (line.starts_with("cluster_state:")) {
      told = true;
      info.state_ok = line == "cluster_state:ok";
    } else if (line.starts_with("cluster_slots_assigned:")) {
      info.all_slots_assigned = ParseNumber<std::size_t>(line.substr(line.find(':') + 1)) == SlotSet::kSlots;
    }
    return true;
  });
  if (!told) return Fail(ErrorKind::kMalformedReply, "CLUSTER INFO tells no cluster_state");
  return info;
}

Result<ClusterNodes> ParseClusterNodes(std::string_view body) {
  std::vector<Node> nodes;
  // No slot has two owners in one view, which bounds the work as well.
  std::size_t slots_left = SlotSet::kSlots;
  const bool understood = ForEachLine(body, [&](std::string_view line) {
    auto node = ParseNode(line);
    if (!node || node->slots.size() > slots_left) return false;
    slots_left -= node->slots.size();
    nodes.push_back(*node);
    return true;
  });
  if (!understood) return Fail(ErrorKind::kMalformedReply, "CLUSTER NODES holds a line that cannot be understood");
  const auto myself = std::find_if(nodes.begin(), nodes.end(), [](const Node& node) { return node.myself; });
  if (myself == nodes.end()) return Fail(ErrorKind::kMalformedReply, "CLUSTER NODES tells no node that is myself");

  ClusterNodes told;
  told.node_id = myself->id;
  told.role = myself->master ? Role::kMaster : Role::kReplica;
  told.epoch = myself->epoch;
  if (myself->master) {
    told.slots = myself->slots;
  } else {
    told.master_id = myself->master_id == "-" ? std::string_view() : myself->master_id;
    const auto master =
        std::find_if(nodes.begin(), nodes.end(), [&told](const Node& node) { return node.id == told.master_id; });
    if (master != nodes.end()) {
      told.slots = master->slots;
      told.master_failing = master->failing;
    }
  }
  std::size_t masters = 0;
  std::size_t reachable = 0;
  for (const Node& node : nodes) {
    if (!node.master || node.slots.empty()) continue;
    ++masters;
    if (!node.failing) ++reachable;
  }
  told.minority = masters > 0 && reachable * 2 <= masters;
  return told;
}

}  // namespace rcb::redis
