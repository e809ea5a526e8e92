#include "tests/integration/redis_cluster.h"

#include <algorithm>
#include <stdexcept>

#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/wait_until.h"

namespace rcb::integration {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMasters = 3;

}  // namespace

RedisCluster::RedisCluster(const TestFolder& folder) {
  std::vector<std::string> command{"redis-cli", "--cluster", "create"};
  for (std::size_t i = 0; i < 2 * kMasters; ++i) {
    // The bus would be on port + 10000, which may be anybody's.
    nodes_
        .emplace_back(folder, RedisServer::Options{.settings = "cluster-enabled yes\ncluster-require-full-coverage no\n"
                                                               "cluster-port " +
                                                               std::to_string(FreePort()) + "\ncluster-node-timeout " +
                                                               std::to_string(kNodeTimeout.count())})
        .Start();
    command.push_back(nodes_.back().address());
  }
  command.insert(command.end(), {"--cluster-replicas", "1", "--cluster-yes"});
  Process create({.command = command, .output = folder.path() / "cluster-create.log"});
  if (create.WaitForExit(60s) != 0) {
    throw std::runtime_error("redis-cli --cluster create failed; see " +
                             (folder.path() / "cluster-create.log").string());
  }
  if (!WaitUntil([this] { return IsSettled(); }, 60s, 50ms)) {
    throw std::runtime_error("the nodes do not become a cluster");
  }
  // The first ones become masters and get their slots in this order.
  for (std::size_t i = 0; i < kMasters; ++i) {
    const std::string port = std::to_string(nodes_[i].port());
    const auto replica = std::find_if(nodes_.begin(), nodes_.end(),
                                      [&](const RedisServer& node) { return node.InfoField("master_port") == port; });
    if (replica == nodes_.end()) throw std::runtime_error(nodes_[i].address() + " has no replica");
    shards_.push_back({nodes_[i].address(), replica->address()});
  }
}

bool RedisCluster::IsSettled() {
  return std::all_of(nodes_.begin(), nodes_.end(), [this](const RedisServer& node) {
    return IsOk(node.address()) && (node.InfoField("role") == "master" || node.InfoField("master_link_status") == "up");
  });
}

RedisServer& RedisCluster::at(const std::string& address) {
  const auto found =
      std::find_if(nodes_.begin(), nodes_.end(), [&](const RedisServer& node) { return node.address() == address; });
  if (found == nodes_.end()) throw std::runtime_error("\"" + address + "\" is no node of this cluster");
  return *found;
}

void RedisCluster::MoveSlot(int slot, const std::string& from, const std::string& to) {
  const std::string number = std::to_string(slot);
  const std::string source = at(from).Command({"CLUSTER", "MYID"});
  const std::string target = at(to).Command({"CLUSTER", "MYID"});
  at(to).Command({"CLUSTER", "SETSLOT", number, "IMPORTING", source});
  at(from).Command({"CLUSTER", "SETSLOT", number, "MIGRATING", target});
  at(to).Command({"CLUSTER", "SETSLOT", number, "NODE", target});
  at(from).Command({"CLUSTER", "SETSLOT", number, "NODE", target});
}

}  // namespace rcb::integration
