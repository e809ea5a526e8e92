#pragma once

#include <chrono>
#include <deque>
#include <string>
#include <vector>

#include "tests/integration/redis_server.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// Six nodes of Redis Cluster, made by `redis-cli --cluster create`: three masters with a replica each.
class RedisCluster {
 public:
  /// Silence after which a node is suspected. Short, so that a failover takes 3 s instead of 17.
  static constexpr std::chrono::milliseconds kNodeTimeout{2000};

  /// Returns when every node says cluster_state:ok and every replica is in sync. Throws std::runtime_error when that
  /// does not come about.
  explicit RedisCluster(const TestFolder& folder);

  std::deque<RedisServer>& nodes() { return nodes_; }
  /// By shard, in the order of the slots: the addresses of master and replica, as they were made.
  const std::vector<std::vector<std::string>>& shards() const { return shards_; }
  RedisServer& at(const std::string& address);

  /// Moves a slot without keys, step by step as redis-cli does.
  void MoveSlot(int slot, const std::string& from, const std::string& to);
  bool IsOk(const std::string& address) { return Info(address).find("cluster_state:ok") != std::string::npos; }

 private:
  std::string Info(const std::string& address) { return at(address).Command({"CLUSTER", "INFO"}); }
  bool IsSettled();

  std::deque<RedisServer> nodes_;
  std::vector<std::vector<std::string>> shards_;
};

}  // namespace rcb::integration
