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
  const auto is_over = [&](const std::string& replica) {
    const std::string master = group.PublishedMaster();
    return group.observer().Look().LastRole(replica) == "slave" && !master.empty() && master != replica;
  };

  const Micros killed = MonotonicMicros();
  group.redises()[0].Kill();
  const std::string second = group.WaitForSuccessor(first, killed, 60s);
  const History& history = group.observer().Look();
  figures.Add(kind + ": kill -9, promotion to DNS",
              history.FirstListed(dns, second, killed).value() - history.FirstPromotion(second, killed).value());
  figures.Add(kind + ": kill -9, dead master in DNS for",
              history.FirstNotListed(dns, first, killed).value() - history.FirstRole(first, "down", killed).value());

  REQUIRE(WaitUntil([&] { return group.SentinelsNamePublished(); }, kSentinelDeadline, 50ms));
  Micros wrong_before = history.TimeWrong(dns);
  group.redises()[0].Start();
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastRole(first) == "master"; }, 20s));
  REQUIRE(WaitUntil([&] { return is_over(first); }, kSentinelDeadline));
  figures.Add(kind + ": return, two masters in DNS for", history.TimeWrong(dns) - wrong_before);

  const std::string third = group.WaitForRest();
  wrong_before = history.TimeWrong(dns);
  const Micros planned = MonotonicMicros();
  REQUIRE(group.sentinels()[0].Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK");
  group.WaitForSuccessor(third, planned, 60s);
  REQUIRE(WaitUntil([&] { return is_over(third); }, kSentinelDeadline));
  figures.Add(kind + ": SENTINEL FAILOVER, two masters in DNS for", history.TimeWrong(dns) - wrong_before);
}

}  // namespace

TEST_CASE("consul-recipe: script checks beside the bridge") {
  Figures figures("consul-recipe: a script check every 5 s on every node, beside the bridge");
  {
    ReplicationGroup::Options options;
    options.script_checks = true;
    options.down_after = kQuotedDownAfter;
    ReplicationGroup group(options);
    group.RegisterScripts();
    RunEvents(group, "recipe", figures);
  }
  {
    ReplicationGroup group({.down_after = kQuotedDownAfter});
    group.StartAgentsAndWait();
    RunEvents(group, "bridge", figures);
    group.FinishAndCheck();
  }
  figures.Print();
}
