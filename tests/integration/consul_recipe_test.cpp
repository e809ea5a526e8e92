// consul-recipe: the bridge beside what people do without one (a script check every 5 s on every node, all tagged
// master), through the same events in one run.

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

/// Kills the master, brings it back, and fails over by plan; adds what DNS said meanwhile.
void RunEvents(ReplicationGroup& group, const std::string& kind, Figures& figures) {
  const std::string first = group.redises()[0].address();
  const std::string dns = group.dns();
  const auto is_at_rest = [&](const std::string& replica, const std::string& master) {
    return group.observer().Look().LastRole(replica) == "slave" && group.PublishedMaster() == master;
  };

  const Micros killed = MonotonicMicros();
  group.redises()[0].Kill();
  const std::string second = group.WaitForSuccessor(first, killed, 60s);
  const History& history = group.observer().Look();
  figures.Add(kind + ": kill -9, promotion to DNS",
              history.FirstListed(dns, second, killed).value() - history.FirstPromotion(second, killed).value());
  figures.Add(kind + ": kill -9, dead master in DNS for",
              history.FirstNotListed(dns, first, killed).value() - history.FirstRole(first, "down", killed).value());

  REQUIRE(WaitUntil([&] { return group.SentinelsName(second); }, kSentinelDeadline, 50ms));
  Micros wrong_before = history.TimeWrong(dns);
  group.redises()[0].Start();
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastRole(first) == "master"; }, 10s));
  REQUIRE(WaitUntil([&] { return is_at_rest(first, second); }, kSentinelDeadline));
  figures.Add(kind + ": return, two masters in DNS for", history.TimeWrong(dns) - wrong_before);

  REQUIRE(WaitUntil([&] { return group.SentinelsAgree(second); }, kSentinelDeadline, 50ms));
  wrong_before = history.TimeWrong(dns);
  const Micros planned = MonotonicMicros();
  REQUIRE(group.sentinels()[0].Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK");
  const std::string third = group.WaitForSuccessor(second, planned, 60s);
  REQUIRE(WaitUntil([&] { return is_at_rest(second, third); }, kSentinelDeadline));
  figures.Add(kind + ": SENTINEL FAILOVER, two masters in DNS for", history.TimeWrong(dns) - wrong_before);
}

}  // namespace

TEST_CASE("consul-recipe: script checks beside the bridge") {
  Figures figures("consul-recipe: a script check every 5 s on every node, beside the bridge");
  {
    ReplicationGroup::Options options;
    options.script_checks = true;
    ReplicationGroup group(options);
    group.RegisterScripts();
    RunEvents(group, "recipe", figures);
  }
  {
    ReplicationGroup group({});
    group.StartAgentsAndWait();
    RunEvents(group, "bridge", figures);
    group.FinishAndCheck();
  }
  figures.Print();
}
