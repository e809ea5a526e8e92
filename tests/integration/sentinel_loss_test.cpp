// Sentinels die, all of them or one, or sleep through a failover.

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <string>

#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("all Sentinels lost: the master stays, and nobody that is promoted by hand is believed") {
  ReplicationGroup group({.down_after = kNoFailover});
  const std::string master = group.redises()[0].address();
  RedisServer& promoted = group.redises()[1];
  group.StartAgentsAndWait();
  for (RedisSentinel& sentinel : group.sentinels()) sentinel.Kill();
  CHECK(HoldsFor([&] { return group.PublishedMaster() == master; }, 10s));
  const Micros start = MonotonicMicros();
  promoted.Promote();
  CHECK(HoldsFor([&] { return group.PublishedMaster() == master; }, 20s));
  CHECK(group.observer().Look().LastRole(promoted.address()) == "master");
  for (RedisSentinel& sentinel : group.sentinels()) sentinel.Start();
  CHECK(group.WaitForReplica(promoted.address(), start) == master);
  const History& history = group.FinishAndCheck();
  CHECK(history.ListedIntervals(group.dns(), promoted.address()).empty());
  CHECK(history.ListedIntervals(group.dns(), master).size() == 1);
}

TEST_CASE("one Sentinel lost: nothing") {
  ReplicationGroup group({.down_after = kNoFailover});
  const std::string master = group.redises()[0].address();
  group.StartAgentsAndWait();
  group.sentinels()[0].Kill();
  CHECK(HoldsFor([&] { return group.IsPublished(master); }, 8s, 50ms));
  CHECK(group.FinishAndCheck().ListedIntervals(group.dns(), master).size() == 1);
}

TEST_CASE("a Sentinel that slept through a failover changes nothing when it wakes") {
  // A second failover by itself would look like the sleeper's doing.
  ReplicationGroup group({.down_after = kNoFailover});
  RedisServer& first = group.redises()[0];
  RedisSentinel& asleep = group.sentinels()[2];
  group.StartAgentsAndWait();
  asleep.process().Signal(SIGSTOP);
  const Micros killed = MonotonicMicros();
  first.Kill();
  const std::string successor = group.WaitForSuccessor(first.address(), killed);
  const auto others_name = [&] {
    return group.sentinels()[0].Names(successor) && group.sentinels()[1].Names(successor);
  };
  REQUIRE(WaitUntil(others_name, kSentinelDeadline, 50ms));
  const Micros returned = MonotonicMicros();
  first.Start();
  REQUIRE(group.WaitForReplica(first.address(), returned) == successor);
  asleep.process().Signal(SIGCONT);
  CHECK(HoldsFor([&] { return group.PublishedMaster() == successor; }, 5s));
  CHECK(WaitUntil([&] { return asleep.Names(successor); }, kSentinelDeadline, 50ms));
  CHECK(WaitUntil([&] { return group.IsPublished(successor); }, kSentinelDeadline, 50ms));
  CHECK(group.FinishAndCheck().ListedIntervals(group.dns(), successor).size() == 1);
}
