// REPLICAOF NO ONE on a replica while the master is well.

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("a wrong operator, with Sentinel: never named, and a replica again when Sentinel makes it one") {
  ReplicationGroup group({.down_after = kNoFailover});
  const std::string master = group.redises()[0].address();
  RedisServer& promoted = group.redises()[1];
  group.StartAgentsAndWait();
  const Micros start = MonotonicMicros();
  promoted.Promote();
  REQUIRE(
      WaitUntil([&] { return group.observer().Look().FirstPromotion(promoted.address(), start).has_value(); }, 20s));
  CHECK(group.WaitForReplica(promoted.address(), start) == master);
  const History& history = group.FinishAndCheck();
  CHECK(history.ListedIntervals(group.dns(), promoted.address()).empty());
  CHECK(history.ListedIntervals(group.dns(), master).size() == 1);
}

TEST_CASE("a wrong operator, without Sentinel: never named while the master is well") {
  ReplicationGroup group({.sentinels = false, .agents_know_sentinels = false});
  const std::string master = group.redises()[0].address();
  RedisServer& promoted = group.redises()[1];
  group.StartAgentsAndWait();
  const Micros start = MonotonicMicros();
  promoted.Promote();
  REQUIRE(
      WaitUntil([&] { return group.observer().Look().FirstPromotion(promoted.address(), start).has_value(); }, 20s));
  CHECK(HoldsFor([&] { return group.PublishedMaster() == master; }, 8s));
  promoted.Follow(group.redises()[0]);
  CHECK(group.WaitForReplica(promoted.address(), start) == master);
  const History& history = group.FinishAndCheck();
  CHECK(history.ListedIntervals(group.dns(), promoted.address()).empty());
  CHECK(history.ListedIntervals(group.dns(), master).size() == 1);
}
