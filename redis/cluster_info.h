#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "redis/replication_info.h"
#include "redis/result.h"
#include "redis/slot_set.h"

namespace rcb::redis {

/// CLUSTER INFO as values: what a node says of the whole cluster.
struct ClusterInfo {
  bool state_ok = false;            ///< cluster_state:ok. Else the node refuses commands (-CLUSTERDOWN).
  bool all_slots_assigned = false;  ///< cluster_slots_assigned is all of them.

  bool operator==(const ClusterInfo&) const = default;
};

/// Takes the body of CLUSTER INFO (src/cluster.c clusterCommand; the same from 3.0 to 8). Error kMalformedReply: no
/// cluster_state.
Result<ClusterInfo> ParseClusterInfo(std::string_view body);

/// CLUSTER NODES as far as it concerns the node that was asked: where it belongs, in its own view.
struct ClusterNodes {
  std::string node_id;  ///< Its name in the cluster. It survives a restart, a run id does not.
  Role role = Role::kReplica;
  std::string master_id;  ///< Of a replica: the node that it follows; else empty.
  /// Config epoch of the shard's master: of two nodes that claim the same slots the higher one owns them.
  std::uint64_t epoch = 0;
  SlotSet slots;                ///< Of the shard: its own, or its master's; empty when that one is not known.
  bool master_failing = false;  ///< Of a replica: its master is flagged fail? (this node's opinion) or fail.
  /// At most half of the masters with slots can be reached: the node sits in a minority (src/cluster.c
  /// clusterUpdateState).
  bool minority = false;

  bool operator==(const ClusterNodes&) const = default;
};

/// Takes the body of CLUSTER NODES (src/cluster.c clusterGenNodeDescription), a line each:
/// `id ip:port@bus-port[,hostname] flags master ping-sent pong-received epoch link-state slot…`; before 4.0 without
/// bus port, before 7.0 without host name, in 7.2 and later with further fields behind it. Slots on their way
/// ("[0->-id]", "[0-<-id]") belong to whom they belonged before. Error kMalformedReply: no line is `myself`, or one has
/// too few fields or something that is no number or no slot.
Result<ClusterNodes> ParseClusterNodes(std::string_view body);

}  // namespace rcb::redis
