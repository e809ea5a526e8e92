// Consul dies and comes back, with its data and without.

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("Consul killed and restarted, empty and with its data: the master is back within a second of its leader") {
  ReplicationGroup group({});
  const std::string master = group.redises()[0].address();
  group.StartAgents();
  REQUIRE(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));

  Figures figures("Consul killed and restarted");
  const int rounds = NumberFromEnvironment("RCB_ROUNDS", 2);
  for (int i = 0; i < rounds; ++i) {
    for (const bool empty : {true, false}) {
      CAPTURE(empty);
      group.consul().Kill();
      REQUIRE(WaitUntil([&] { return group.observer().Look().LastAnswer(group.dns()) == "!refused"; }, 5s));
      if (empty) group.consul().Wipe();
      const Micros start = MonotonicMicros();
      group.consul().Start();
      const Micros leader = group.consul().WaitForLeader();
      REQUIRE(WaitUntil([&] { return group.PublishedMaster() == master; }, 20s));
      const Micros listed = group.observer().Look().FirstListed(group.dns(), master, start).value();
      const std::string kind = empty ? "empty: " : "with its data: ";
      figures.Add(kind + "start to leader", leader - start);
      figures.Add(kind + "leader to master in DNS", listed - leader);
      CHECK(listed - leader < 1'000'000);
      REQUIRE(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));
    }
  }
  figures.Print();
  group.FinishAndCheck();
}
