// Redis Cluster on four hosts: a master alone on the wrong side of a partition, with Consul in reach on both sides.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/hosts/network.h"
#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_agent.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/test_folder.h"
#include "tests/integration/wait_until.h"

using namespace rcb::hosts;
using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

constexpr auto kDeadline = 60s;
constexpr std::size_t kHosts = 4;
constexpr std::size_t kCutOff = 0;   ///< A master.
constexpr std::size_t kReplica = 3;  ///< Its replica, beside the Consul server.

/// Three masters, and a replica of the first one.
class Cluster {
 public:
  Cluster() : network_(folder_, kHosts) {
    for (std::size_t i = 0; i < kHosts; ++i) {
      const std::string host = Network::redis(i);
      redises_
          .emplace_back(folder_, RedisServer::Options{.settings = "cluster-enabled yes\ncluster-node-timeout 2000\n"
                                                                  "cluster-require-full-coverage no\n"
                                                                  "cluster-announce-ip " +
                                                                  host + "\n",
                                                      .host = host,
                                                      .network_namespace = network_.namespace_of(i)})
          .Start();
    }
    Join();
    StartConsul();
    std::vector<std::string> addresses;
    for (const RedisServer& redis : redises_) addresses.push_back(redis.address());
    observer_.emplace(folder_, std::vector{dns(kCutOff), dns(kReplica)}, addresses, Observer::Options{.every = 2ms});
    for (std::size_t i = 0; i < kHosts; ++i) {
      agents_
          .emplace_back(folder_, BridgeAgent::Options{.redis = redises_[i].address(),
                                                      .consul = consul(i).url(),
                                                      .arguments = {"--advertise", Network::redis(i)},
                                                      .network_namespace = network_.namespace_of(i)})
          .Start();
    }
  }

  Network& network() { return network_; }
  RedisServer& redis(std::size_t host) { return redises_[host]; }
  std::string dns(std::size_t host) { return consul(host).dns(); }
  Observer& observer() { return *observer_; }
  std::deque<BridgeAgent>& agents() { return agents_; }

  std::optional<HealthEntry> EntryOf(std::size_t host) {
    for (const HealthEntry& entry : consul(kReplica).Health("redis")) {
      if (entry.address == redises_[host].address()) return entry;
    }
    return std::nullopt;
  }
  bool Stands(std::size_t host, const std::string& role) {
    const auto entry = EntryOf(host);
    return entry && entry->status == "passing" && entry->HasTag(role) && entry->HasTag("shard-0");
  }

 private:
  ConsulAgent& consul(std::size_t host) { return consuls_[host == kReplica ? 0 : host + 1]; }

  void Join() {
    const char* slots[][2] = {{"0", "5460"}, {"5461", "10922"}, {"10923", "16383"}};
    for (std::size_t i = 0; i < kReplica; ++i) {
      redises_[i].Command({"CLUSTER", "ADDSLOTSRANGE", slots[i][0], slots[i][1]});
      redises_[i].Command({"CLUSTER", "SET-CONFIG-EPOCH", std::to_string(i + 1)});
    }
    for (std::size_t i = 1; i < kHosts; ++i) {
      redises_[i].Command({"CLUSTER", "MEET", redises_[0].host(), std::to_string(redises_[0].port())});
    }
    const std::string master = redises_[kCutOff].Command({"CLUSTER", "MYID"});
    // Refused until it has heard of the master.
    const auto replicates = [&] { return redises_[kReplica].Command({"CLUSTER", "REPLICATE", master}) == "OK"; };
    const auto is_settled = [this] {
      return std::all_of(redises_.begin(), redises_.end(), [](const RedisServer& redis) {
        const std::string info = redis.Command({"CLUSTER", "INFO"});
        return info.find("cluster_state:ok") != std::string::npos &&
               info.find("cluster_known_nodes:4") != std::string::npos;
      });
    };
    const auto in_sync = [this] { return redises_[kReplica].InfoField("master_link_status") == "up"; };
    if (!WaitUntil(replicates, kDeadline, 50ms) || !WaitUntil(is_settled, kDeadline, 50ms) ||
        !WaitUntil(in_sync, kDeadline, 50ms)) {
      throw std::runtime_error("the test's set-up failed: the nodes do not become a cluster");
    }
  }

  /// One server, and a client agent on each other host.
  void StartConsul() {
    consuls_
        .emplace_back(folder_, ConsulAgent::Options{.host = Network::consul(kReplica),
                                                    .node = "host-4",
                                                    .network_namespace = network_.namespace_of(kReplica)})
        .Start();
    consuls_.front().WaitForLeader();
    for (std::size_t i = 0; i < kReplica; ++i) {
      consuls_
          .emplace_back(folder_, ConsulAgent::Options{.host = Network::consul(i),
                                                      .node = "host-" + std::to_string(i + 1),
                                                      .join = consuls_.front().serf_address(),
                                                      .network_namespace = network_.namespace_of(i)})
          .Start();
      consuls_.back().WaitForLeader();
    }
  }

  TestFolder folder_;
  Network network_;
  std::deque<RedisServer> redises_;
  std::deque<ConsulAgent> consuls_;  ///< The server first.
  std::optional<Observer> observer_;
  std::deque<BridgeAgent> agents_;
};

}  // namespace

TEST_CASE("cluster: a master in the minority, Consul in reach: its replica follows it in one step, and it says why") {
  Cluster cluster;
  Figures figures("Redis Cluster: a master cut off from all other nodes, but not from Consul");
  REQUIRE(WaitUntil([&] { return cluster.Stands(kCutOff, "master") && cluster.Stands(kReplica, "replica"); }, kDeadline,
                    50ms));
  const std::string old_master = cluster.redis(kCutOff).address();
  const std::string successor = cluster.redis(kReplica).address();
  const auto look = [&] { return cluster.observer().Look().Among({old_master, successor}); };

  const Micros cut = MonotonicMicros();
  for (std::size_t other = 1; other < kHosts; ++other) {
    cluster.network().DropBothWays(Network::redis(kCutOff), Network::redis(other));
  }
  const auto promoted = [&] { return look().FirstAlone(cluster.dns(kReplica), successor, cut).has_value(); };
  REQUIRE(WaitUntil(promoted, kDeadline, 20ms));
  const auto told = [&] {
    const auto entry = cluster.EntryOf(kCutOff);
    return entry && entry->status == "critical" && !entry->HasTag("master");
  };
  CHECK(WaitUntil(told, kDeadline, 50ms));
  CHECK(look().LastRole(old_master) == "master");  // It cannot know.
  CHECK(HoldsFor([&] { return cluster.Stands(kReplica, "master") && told(); }, 3s, 50ms));
  const History history = look();
  const Micros listed = history.FirstListed(cluster.dns(kReplica), successor, cut).value();
  figures.Add("cut to promotion (cluster-node-timeout 2 s)", history.FirstPromotion(successor, cut).value() - cut);
  figures.Add("promotion to DNS", listed - history.FirstPromotion(successor, cut).value());
  figures.Add("nobody in DNS", history.TimeWithoutMaster(cluster.dns(kReplica), {cut, listed}));

  cluster.network().Heal();
  CHECK(WaitUntil([&] { return cluster.Stands(kCutOff, "replica") && cluster.Stands(kReplica, "master"); }, kDeadline,
                  50ms));
  const History of_shard = cluster.observer().Finish().Among({old_master, successor});
  for (const std::size_t host : {kCutOff, kReplica}) {
    CAPTURE(host);
    CHECK(of_shard.MostMasters(cluster.dns(host)) == 1);
    for (const History::Violation& violation : of_shard.SupersededAnswers(cluster.dns(host))) {
      FAIL_CHECK(violation.text);
    }
  }
  for (BridgeAgent& agent : cluster.agents()) CHECK(agent.process().IsRunning());
  figures.Print();
}
