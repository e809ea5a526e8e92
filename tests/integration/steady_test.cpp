// A group at rest writes nothing to Consul. RCB_STEADY_SECONDS (default 20) is how long it is watched; only a run
// longer than two minutes includes Consul's own anti-entropy (every minute and its jitter).

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/integration/figures.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("a group at rest causes no catalog write") {
  ReplicationGroup group({.down_after = kNoFailover});
  const std::string master = group.redises()[0].address();
  group.StartAgents();
  REQUIRE(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));
  CHECK(group.observer().Look().ListedIntervals(group.dns(), master).size() == 1);  // It came, and never blinked.
  const auto quiet = [&] { return group.consul().RecentWrites() == 0U; };
  // Consul tells its last whole interval of ten seconds: the one of the start comes first.
  REQUIRE(WaitUntil([&] { return group.consul().RecentWrites().value_or(0) > 0; }, 30s, 500ms));
  REQUIRE(WaitUntil(quiet, 60s, 500ms));

  const std::chrono::seconds duration(NumberFromEnvironment("RCB_STEADY_SECONDS", 20));
  std::vector<std::chrono::milliseconds> cpu_before;
  for (BridgeAgent& agent : group.agents()) cpu_before.push_back(agent.process().CpuTime());
  const std::uint64_t index = group.consul().RaftIndex();
  CHECK(HoldsFor(quiet, duration, 2s));
  const std::uint64_t moved = group.consul().RaftIndex() - index;
  CHECK(moved <= static_cast<std::uint64_t>(duration.count()) / 60 + 1);

  Figures figures("A group at rest for " + std::to_string(duration.count()) + " s");
  figures.Note("writes to catalog and KV: none; barriers of Consul's own leader: " + std::to_string(moved));
  for (std::size_t i = 0; i < cpu_before.size(); ++i) {
    Process& agent = group.agents()[i].process();
    figures.Note("agent " + std::to_string(i + 1) + ": CPU " +
                 std::to_string((agent.CpuTime() - cpu_before[i]).count()) + " ms, resident " +
                 std::to_string(agent.ResidentKib()) + " KiB");
  }
  figures.Print();
  CHECK(group.PublishedMaster() == master);
  CHECK(group.FinishAndCheck().ListedIntervals(group.dns(), master).size() == 1);
}

TEST_CASE("redis-resolve prints the master that DNS names") {
  ReplicationGroup group({.sentinels = false, .agents_know_sentinels = false});
  const std::string master = group.redises()[0].address();
  group.StartAgents();
  REQUIRE(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));
  TestFolder folder;
  Process resolve({.command = {RCB_RESOLVE_BINARY, "redis", "--dns", group.dns()}, .output = folder.path() / "answer"});
  CHECK(resolve.WaitForExit(10s) == 0);
  CHECK(ReadFile(folder.path() / "answer") == master + "\n");
}
