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

/// True when the catalog holds exactly `status` and a part of the check's output of every one of `redises`.
bool AllSay(ReplicationGroup& group, const std::vector<std::size_t>& redises, const std::string& status,
            const std::string& output) {
  return std::all_of(redises.begin(), redises.end(), [&](std::size_t redis) {
    const HealthEntry entry = group.EntryOf(group.redises()[redis].address());
    return entry.HasTag("replica") && entry.status == status && entry.output.find(output) != std::string::npos;
  });
}

/// The `upstream` in the Meta of one Redis.
std::string UpstreamOf(ReplicationGroup& group, const RedisServer& redis) {
  return group.EntryOf(redis.address()).meta["upstream"];
}

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
  for (std::size_t i = 1; i < kChainOfFive.size(); ++i) {
    const auto upstream = static_cast<std::size_t>(kChainOfFive[i]);
    CHECK(UpstreamOf(group, group.redises()[i]) == group.redises()[upstream].address());
  }
  CHECK(UpstreamOf(group, head).empty());
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

TEST_CASE("chain-five: no Sentinel; a link is cut above, then the middle is promoted by hand") {
  ReplicationGroup group({.upstreams = kChainOfFive, .sentinels = false, .agents_know_sentinels = false});
  RedisServer& head = group.redises()[0];
  RedisServer& middle = group.redises()[1];
  group.StartAgentsAndWait();
  const Micros killed = MonotonicMicros();
  head.Kill();
  // Those below keep their own link: it is the one above that ended.
  const std::string cut = "but " + middle.address() + " above it has lost its link";
  CHECK(WaitUntil(
      [&] {
        return AllSay(group, {1, 2}, "warning", "link to " + head.address() + " is down");
      },
      20s, 50ms));
  CHECK(WaitUntil([&] { return AllSay(group, {3, 4}, "warning", cut); }, 20s, 50ms));
  CHECK(WaitUntil([&] { return AllSay(group, {1, 2}, "critical", "is down for too long"); }, 60s, 50ms));
  CHECK(WaitUntil([&] { return AllSay(group, {3, 4}, "critical", cut + " for too long"); }, 20s, 50ms));

  middle.Promote();
  CHECK(group.WaitForSuccessor(head.address(), killed) == middle.address());
  CHECK(WaitUntil([&] { return AllSay(group, {3, 4}, "passing", "replica of " + middle.address()); }, 20s, 50ms));
  group.redises()[2].Follow(middle);
  head.Start();
  const Micros returned = MonotonicMicros();
  head.Follow(middle);
  CHECK(group.WaitForReplica(head.address(), returned) == middle.address());
  for (const RedisServer& redis : group.redises()) {
    CHECK(UpstreamOf(group, redis) == (&redis == &middle ? "" : middle.address()));
  }
  group.FinishAndCheck();
}
