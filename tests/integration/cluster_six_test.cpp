// cluster-six: three masters with a replica each. A master killed, brought back, failed over by hand, hung; a slot
// moved; most masters lost.

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_agent.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_cluster.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// cluster-node-timeout, the election and a replica's full synchronisation take 5 s together; a busy machine more.
constexpr auto kDeadline = 60s;

struct Shard {
  std::string master;
  std::string replica;
  std::string name;
  std::string slots;
};

constexpr char kPassword[] = "secret-of-the-agent";
constexpr char kAgentSettings[] = R"({"redis_user": "redis-consul-agent"})";

/// The ACL user that the README lists for nodes of Redis Cluster, as words of ACL SETUSER.
std::vector<std::string> ShippedUser() {
  std::istringstream readme(ReadFile(RCB_PROJECT_DIR "/README.md"));
  for (std::string line; std::getline(readme, line);) {
    if (!line.starts_with("user redis-consul-agent ") || line.find("+cluster|nodes") == std::string::npos) continue;
    std::istringstream words(line.substr(std::string("user ").size()));
    std::vector<std::string> command{"ACL", "SETUSER"};
    for (std::string word; words >> word;) command.push_back(word == ">PASSWORD" ? ">" + std::string(kPassword) : word);
    return command;
  }
  throw std::runtime_error("the README names no ACL user for Redis Cluster");
}

/// The cluster, an agent beside each node, Consul, and the observer watching all of it.
class Bridged {
 public:
  Bridged() : consul_(folder_), cluster_(folder_) {
    consul_.Start();
    consul_.WaitForLeader();
    const char* slots[] = {"0-5460", "5461-10922", "10923-16383"};
    for (std::size_t i = 0; i < cluster_.shards().size(); ++i) {
      const std::string range = slots[i];
      shards_.push_back({.master = cluster_.shards()[i][0],
                         .replica = cluster_.shards()[i][1],
                         .name = "shard-" + range.substr(0, range.find('-')),
                         .slots = range});
    }
    std::vector<std::string> addresses;
    for (const RedisServer& node : cluster_.nodes()) addresses.push_back(node.address());
    observer_.emplace(folder_, std::vector{consul_.dns()}, addresses);
    for (const std::string& address : addresses) {
      LetIn(address);
      agents_
          .emplace_back(folder_, BridgeAgent::Options{.redis = address,
                                                      .consul = consul_.url(),
                                                      .arguments = {"--listen", Loopback(FreePort())},
                                                      .settings = kAgentSettings,
                                                      .environment = {{"REDISCLI_AUTH", kPassword}}})
          .Start();
    }
  }

  /// Gives the agent's user its least permissions on a node that was started, and forgets what was denied before.
  void LetIn(const std::string& address) {
    REQUIRE(cluster_.at(address).Command(ShippedUser()) == "OK");
    cluster_.at(address).Command({"ACL", "LOG", "RESET"});
  }

  const TestFolder& folder() const { return folder_; }
  ConsulAgent& consul() { return consul_; }
  RedisCluster& cluster() { return cluster_; }
  std::vector<Shard>& shards() { return shards_; }
  std::deque<BridgeAgent>& agents() { return agents_; }
  Observer& observer() { return *observer_; }

  std::optional<HealthEntry> EntryOf(const std::string& address) const {
    for (const HealthEntry& entry : consul_.Health("redis")) {
      if (entry.address == address) return entry;
    }
    return std::nullopt;
  }
  /// Every node passing, with the tags and the Meta of its place in its shard.
  bool IsPublished() const {
    return std::all_of(shards_.begin(), shards_.end(), [this](const Shard& shard) {
      return Stands(shard, shard.master, "master") && Stands(shard, shard.replica, "replica");
    });
  }

  /// What DNS told of one shard.
  History Look(const Shard& shard) { return observer_->Look().Among({shard.master, shard.replica}); }

  /// Waits until DNS names the replica of `shard` alone, and swaps the two. Adds to `figures` what it took after
  /// `start`.
  void WaitForSuccessor(Shard& shard, Micros start, Figures& figures, const std::string& kind) {
    REQUIRE(WaitUntil([&] { return Look(shard).FirstAlone(consul_.dns(), shard.replica, start).has_value(); },
                      kDeadline, 20ms));
    std::swap(shard.master, shard.replica);
    const History history = Look(shard);
    const Micros listed = history.FirstListed(consul_.dns(), shard.master, start).value();
    figures.Add(kind + ": promotion to DNS", listed - history.FirstPromotion(shard.master, start).value());
    figures.Add(kind + ": nobody in DNS", history.TimeWithoutMaster(consul_.dns(), {start, listed}));
  }

 private:
  bool Stands(const Shard& shard, const std::string& address, const std::string& role) const {
    const auto entry = EntryOf(address);
    return entry && entry->status == "passing" && entry->tags == std::vector{role, shard.name} &&
           entry->Meta("shard") == shard.name && entry->Meta("slots") == shard.slots && entry->Meta("role") == role &&
           entry->Meta("epoch").empty() == (role == "replica");
  }

  TestFolder folder_;
  ConsulAgent consul_;
  RedisCluster cluster_;
  std::vector<Shard> shards_;
  std::optional<Observer> observer_;
  std::deque<BridgeAgent> agents_;
};

/// Runs redis-resolve to its end.
int Resolve(Bridged& bridged, std::vector<std::string> arguments, const std::string& output) {
  arguments.insert(arguments.begin(), {RCB_RESOLVE_BINARY, "--dns", bridged.consul().dns()});
  Process process({.command = arguments, .output = bridged.folder().path() / output});
  return process.WaitForExit(20s).value_or(-1);
}

/// CLUSTER FAILOVER, once more where Redis gave it up after 5 s, since the other masters had voted a moment ago.
void FailOverByHand(Bridged& bridged, const Shard& shard, Micros start) {
  const auto promoted = [&] { return bridged.Look(shard).FirstPromotion(shard.replica, start).has_value(); };
  const auto asked = [&] {
    CHECK(bridged.cluster().at(shard.replica).Command({"CLUSTER", "FAILOVER"}) == "OK");
    return WaitUntil(promoted, 6s, 20ms);
  };
  REQUIRE(WaitUntil(asked, kDeadline));
}

}  // namespace

TEST_CASE("cluster-six: one master for each shard, whatever happens") {
  Bridged bridged;
  std::vector<Shard>& shards = bridged.shards();
  const std::string dns = bridged.consul().dns();
  Figures figures("cluster-six");
  REQUIRE(WaitUntil([&] { return bridged.IsPublished(); }, kDeadline, 50ms));

  MESSAGE("redis-resolve: start nodes for a client, and what to ask for them");
  CHECK(Resolve(bridged, {"--all"}, "all") == 0);
  const std::string all = ReadFile(bridged.folder().path() / "all");
  for (const Shard& shard : shards) CHECK(all.find(shard.master + "\n") != std::string::npos);
  CHECK(std::count(all.begin(), all.end(), '\n') == 3);
  CHECK(Resolve(bridged, {}, "one") == 4);
  CHECK(ReadFile(bridged.folder().path() / "one").find("--all") != std::string::npos);

  MESSAGE("redis-consul-agent doctor finds no fault in several masters");
  const std::string settings = bridged.folder().path() / "doctor.json";
  WriteFile(settings, kAgentSettings);
  Process doctor({.command = {RCB_AGENT_BINARY, "doctor", "--redis", shards[0].master, "--consul",
                              bridged.consul().url(), "--config", settings},
                  .output = bridged.folder().path() / "doctor",
                  .environment = {{"REDISCLI_AUTH", kPassword}}});
  CHECK(doctor.WaitForExit(30s));
  const std::string findings = ReadFile(bridged.folder().path() / "doctor");
  CAPTURE(findings);
  CHECK(findings.find("node of Redis Cluster, cluster_state ok, shard-0 with slots 0-5460") != std::string::npos);
  CHECK(findings.find("has 3 answers") != std::string::npos);
  CHECK(findings.find("fault") == std::string::npos);

  MESSAGE("a master is killed");
  Shard& first = shards[0];
  const std::string killed = first.master;
  const Micros killed_at = MonotonicMicros();
  bridged.cluster().at(killed).Kill();
  bridged.WaitForSuccessor(first, killed_at, figures, "kill -9");
  figures.Add("kill -9: death to gone", *bridged.Look(first).FirstNotListed(dns, killed, killed_at) - killed_at);

  MESSAGE("it is brought back");
  bridged.cluster().at(killed).Start();
  bridged.LetIn(killed);  // Users that a command made do not survive.
  REQUIRE(WaitUntil([&] { return bridged.IsPublished(); }, kDeadline, 50ms));

  MESSAGE("CLUSTER FAILOVER");
  // One of each shard: a second one of the same master gets no votes for twice the node timeout.
  for (Shard& shard : shards) {
    CAPTURE(shard.name);
    const Micros asked_at = MonotonicMicros();
    FailOverByHand(bridged, shard, asked_at);
    bridged.WaitForSuccessor(shard, asked_at, figures, "CLUSTER FAILOVER");
    REQUIRE(WaitUntil([&] { return bridged.IsPublished(); }, kDeadline, 50ms));
  }

  MESSAGE("a master hangs, and wakes as the old master that it was");
  Shard& last = shards[2];
  const std::string hung = last.master;
  const Micros hung_at = MonotonicMicros();
  bridged.cluster().at(hung).process().Signal(SIGSTOP);
  bridged.WaitForSuccessor(last, hung_at, figures, "SIGSTOP");
  bridged.cluster().at(hung).process().Signal(SIGCONT);
  REQUIRE(WaitUntil([&] { return bridged.IsPublished(); }, kDeadline, 50ms));

  MESSAGE("a slot is moved");
  const Micros moved_at = MonotonicMicros();
  bridged.cluster().MoveSlot(5461, shards[1].master, first.master);
  first.slots = "0-5461";
  shards[1].slots = "5462-10922";
  shards[1].name = "shard-5462";
  REQUIRE(WaitUntil([&] { return bridged.IsPublished(); }, kDeadline, 50ms));
  CHECK(HoldsFor([&] { return bridged.IsPublished(); }, 2s, 50ms));
  for (const Shard& shard : shards) {
    CAPTURE(shard.name);
    const auto gone = bridged.Look(shard).FirstNotListed(dns, shard.master, moved_at);
    CHECK_FALSE(gone);
  }

  MESSAGE("most masters are lost, with their replicas: the last one is in a minority and takes no writes");
  const std::string lonely = shards[1].master;
  const auto signal_others = [&](int signal) {
    for (const Shard* shard : {&shards[0], &shards[2]}) {
      for (const std::string& node : {shard->master, shard->replica}) {
        bridged.cluster().at(node).process().Signal(signal);
      }
    }
  };
  signal_others(SIGSTOP);
  const auto is_told = [&] {
    const auto entry = bridged.EntryOf(lonely);
    return entry && entry->status == "critical" && !entry->HasTag("master") &&
           entry->output.find("cluster_state is fail: most masters cannot be reached") != std::string::npos;
  };
  CHECK(WaitUntil(is_told, kDeadline, 50ms));
  signal_others(SIGCONT);
  CHECK(WaitUntil(
      [&] {
        return std::all_of(shards.begin(), shards.end(),
                           [&](const Shard& shard) { return bridged.cluster().IsOk(shard.master); });
      },
      kDeadline, 50ms));
  const auto is_whole = [&] {
    return std::all_of(shards.begin(), shards.end(), [&](const Shard& shard) {
      const std::vector<HealthEntry> entries = bridged.consul().Health("redis");
      const auto masters = std::count_if(entries.begin(), entries.end(), [&](const HealthEntry& entry) {
        return entry.status == "passing" && entry.HasTag("master") && entry.HasTag(shard.name);
      });
      return masters == 1;
    });
  };
  CHECK(WaitUntil(is_whole, kDeadline, 50ms));

  const History& history = bridged.observer().Finish();
  CHECK(history.UnreadableAnswers(dns).empty());
  for (const Shard& shard : shards) {
    CAPTURE(shard.name);
    const History of_shard = history.Among({shard.master, shard.replica});
    CHECK(of_shard.MostMasters(dns) == 1);
    for (const History::Violation& violation : of_shard.SupersededAnswers(dns)) FAIL_CHECK(violation.text);
  }
  for (BridgeAgent& agent : bridged.agents()) CHECK(agent.process().IsRunning());
  for (const RedisServer& node : bridged.cluster().nodes()) CHECK(node.Command({"ACL", "LOG"}).empty());
  figures.Print();
}
