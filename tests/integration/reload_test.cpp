// Settings are reloaded at the worst moment: while Sentinel fails over.

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

constexpr char kSettings[] = R"({"tags": ["blue"]})";

void ReloadAll(ReplicationGroup& group) {
  for (BridgeAgent& agent : group.agents()) agent.Reload(kSettings);
}

}  // namespace

TEST_CASE("a reload while a failover runs loses nothing that was heard of it") {
  ReplicationGroup group({.agent_settings = R"({"tags": ["green"]})"});
  const std::string master = group.redises()[0].address();
  group.StartAgentsAndWait();
  Figures figures("Every agent reloaded during a failover");
  const Micros start = MonotonicMicros();
  std::string kind;
  SUBCASE("planned") {
    kind = "SENTINEL FAILOVER";
    REQUIRE(group.sentinels()[0].Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK");
    ReloadAll(group);
  }
  SUBCASE("of a killed master") {
    kind = "kill -9";
    group.redises()[0].Kill();
    // Once Sentinel has found it dead (down after 1 s) and the election runs.
    REQUIRE(WaitUntil([&] { return group.agents()[1].Log().find("+try-failover") != std::string::npos; }, 20s, 1ms));
    ReloadAll(group);
  }
  const std::string successor = group.WaitForSuccessor(master, start);
  group.AddMove(figures, kind, successor, start);
  if (kind == "kill -9") group.redises()[0].Start();
  group.WaitForReplica(master, start);
  for (const BridgeAgent& agent : group.agents()) {
    CHECK(WaitUntil([&] { return agent.Log().find("reloaded") != std::string::npos; }, 10s));
  }
  group.FinishAndCheck();
  figures.Print();
}
