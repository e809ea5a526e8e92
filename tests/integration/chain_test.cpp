// chain-five: a master, two replicas of it, two replicas of the first of these, and Sentinel.

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

ReplicationGroup::Options ChainOfFive() {
  ReplicationGroup::Options options;
  options.upstreams = {ReplicationGroup::kNobody, 0, 0, 1, 1};
  return options;
}

}  // namespace

TEST_CASE("chain-five: kill -9 of the head, the middle is promoted, the head returns") {
  ReplicationGroup group(ChainOfFive());
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
  REQUIRE(group.WaitForReplica(head.address(), returned) == middle.address());
  CHECK(group.redises()[3].InfoField("master_port") == std::to_string(middle.port()));
  CHECK(group.redises()[4].InfoField("master_port") == std::to_string(middle.port()));
  CHECK(group.FinishAndCheck().LastAnswer(group.dns()) == middle.address());
  figures.Print();
}

TEST_CASE("chain-five: the middle is lost first") {
  ReplicationGroup group(ChainOfFive());
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
  CHECK(WaitUntil(is_told, 10s, 50ms));
  const Micros returned = MonotonicMicros();
  middle.Start();  // Empty and as a master: whom it followed was told by command, not by its file.
  middle.Follow(group.redises()[0]);
  CHECK(group.WaitForReplica(middle.address(), returned) == head);
  const History& history = group.FinishAndCheck();
  CHECK(history.ListedIntervals(group.dns(), head).size() == 1);
}
