// chain-five: a master, two replicas of it, two replicas of the first of these, and Sentinel.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

const std::vector<int> kChainOfFive{ReplicationGroup::kNobody, 0, 0, 1, 1};

}  // namespace

TEST_CASE("chain-five: kill -9 of the head, the middle is promoted, the head returns") {
  ReplicationGroup group({.upstreams = kChainOfFive});
  RedisServer& head = group.redises()[0];
  RedisServer& middle = group.redises()[1];
  middle.Command({"CONFIG", "SET", "replica-priority", "10"});  // The lowest is preferred; 100 by default.
  const auto all_know = [&] {
    for (const RedisSentinel& sentinel : group.sentinels()) {
      if (sentinel.Command({"SENTINEL", "REPLICAS", "mymaster"}).find("slave-priority\n10\n") == std::string::npos) {
        return false;
      }
    }
    return true;
  };
  REQUIRE(WaitUntil(all_know, 20s, 50ms));
  group.StartAgentsAndWait();
  Figures figures("chain-five: kill -9 of the head");

  const Micros killed = MonotonicMicros();
  head.Kill();
  REQUIRE(group.WaitForSuccessor(head.address(), killed) == middle.address());
  group.AddMove(figures, "kill -9", middle.address(), killed);
  REQUIRE(WaitUntil([&] { return group.SentinelsNamePublished(); }, kSentinelDeadline, 50ms));
  const Micros returned = MonotonicMicros();
  head.Start();
  const std::string master = group.WaitForReplica(head.address(), returned);
  const auto all_follow = [&] {
    return std::all_of(group.redises().begin(), group.redises().end(), [&](const RedisServer& redis) {
      return redis.address() == master || redis.InfoField("master_port") == std::to_string(group.at(master).port());
    });
  };
  CHECK(WaitUntil(all_follow, kSentinelDeadline, 50ms));
  group.FinishAndCheck();
  figures.Print();
}

TEST_CASE("chain-five: the middle is lost first") {
  ReplicationGroup group({.upstreams = kChainOfFive, .down_after = kNoFailover});
  const std::string head = group.redises()[0].address();
  RedisServer& middle = group.redises()[1];
  group.StartAgentsAndWait();
  middle.Kill();
  // Its replicas say that their link is down; nobody touches the master.
  const auto is_told = [&] {
    int warned = 0;
    for (const HealthEntry& entry : group.consul().Health("redis")) {
      if (entry.HasTag("replica") && entry.status == "warning") ++warned;
    }
    return warned == 2;
  };
  CHECK(WaitUntil(is_told, 20s, 50ms));
  const Micros returned = MonotonicMicros();
  middle.Start();  // Empty and as a master: whom it followed was told by command, not by its file.
  middle.Follow(group.redises()[0]);
  CHECK(group.WaitForReplica(middle.address(), returned) == head);
  const History& history = group.FinishAndCheck();
  CHECK(history.ListedIntervals(group.dns(), head).size() == 1);
}
