// No Sentinel: the authority is the replication itself.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

constexpr int kNobody = ReplicationGroup::kNobody;

}  // namespace

TEST_CASE("docker-three: of three fresh servers one is master, and stays it when the others become its replicas") {
  ReplicationGroup group(
      {.upstreams = {kNobody, kNobody, kNobody}, .sentinels = false, .agents_know_sentinels = false});
  group.StartAgents();
  std::string master;
  const auto one_published = [&] {
    master = group.PublishedMaster();
    return !master.empty();
  };
  REQUIRE(WaitUntil(one_published, 20s));

  const auto others_critical = [&] {
    const std::vector<HealthEntry> entries = group.consul().Health("redis");
    return entries.size() == 3 && std::all_of(entries.begin(), entries.end(), [&](const HealthEntry& entry) {
             return entry.address == master ? entry.status == "passing" && entry.HasTag("master")
                                            : entry.status == "critical" && !entry.HasTag("master");
           });
  };
  // One that lost the race for the claim had its check readied, without the tag, and takes that back.
  CHECK(WaitUntil([&] { return HoldsFor(others_critical, 3s, 50ms); }, 20s));

  for (RedisServer& redis : group.redises()) {
    if (redis.address() == master) continue;
    CHECK(redis.Command({"REPLICAOF", "127.0.0.1", master.substr(master.rfind(':') + 1)}) == "OK");
  }
  CHECK(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));
  const History& history = group.FinishAndCheck();
  CHECK(history.LastAnswer(group.dns()) == master);
  CHECK(history.ListedIntervals(group.dns(), master).size() == 1);
}

TEST_CASE("a master alone that dies is gone from DNS at once, and back when it returns") {
  ReplicationGroup group({.sentinels = false, .agents_know_sentinels = false});
  const std::string master = group.redises()[0].address();
  group.StartAgents();
  REQUIRE(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));
  const Micros killed = MonotonicMicros();
  group.redises()[0].Kill();
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastAnswer(group.dns()) == "-"; }, 20s));
  // Refused is proof of death: hang_after (5 s) is not waited for.
  CHECK(group.observer().Look().FirstNotListed(group.dns(), master, killed).value() - killed < 2'000'000);
  group.redises()[0].Start();
  CHECK(WaitUntil([&] { return group.PublishedMaster() == master; }, 20s));
  group.FinishAndCheck();
}
