// No Sentinel: an operator promotes, plans a failover, or a supervisor restarts the master empty.

#include <doctest/doctest.h>

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

ReplicationGroup::Options WithoutSentinel() { return {.sentinels = false, .agents_know_sentinels = false}; }

}  // namespace

TEST_CASE("manual: SHUTDOWN of the master, a replica promoted by hand, the old one returns empty") {
  ReplicationGroup group(WithoutSentinel());
  RedisServer& first = group.redises()[0];
  RedisServer& second = group.redises()[1];
  RedisServer& third = group.redises()[2];
  group.StartAgentsAndWait();
  Figures figures("manual: no Sentinel");

  const Micros shut_down = MonotonicMicros();
  first.Command({"SHUTDOWN", "NOSAVE"});
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastAnswer(group.dns()) == "-"; }, 20s));
  const Micros down = group.observer().Look().FirstRole(first.address(), "down", shut_down).value();
  figures.Add("SHUTDOWN: death to gone from DNS",
              group.observer().Look().FirstNotListed(group.dns(), first.address(), shut_down).value() - down);

  second.Promote();
  REQUIRE(group.WaitForSuccessor(first.address(), shut_down) == second.address());
  group.AddMove(figures, "SLAVEOF NO ONE", second.address(), shut_down);
  third.Follow(second);
  first.Start();
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastRole(first.address()) == "master"; }, 20s));
  const Micros returned = MonotonicMicros();
  CHECK(HoldsFor([&] { return group.PublishedMaster() == second.address(); }, 3s));
  const HealthEntry entry = group.EntryOf(first.address());
  CHECK(entry.status == "critical");
  CHECK(entry.output.find("claim is held by") != std::string::npos);
  CHECK(entry.output.find(std::to_string(second.port())) != std::string::npos);
  first.Follow(second);
  CHECK(group.WaitForReplica(first.address(), returned) == second.address());
  CHECK(group.FinishAndCheck().LastAnswer(group.dns()) == second.address());
  figures.Print();
}

TEST_CASE("a planned FAILOVER TO") {
  ReplicationGroup group(WithoutSentinel());
  RedisServer& first = group.redises()[0];
  RedisServer& second = group.redises()[1];
  group.StartAgentsAndWait();
  Figures figures("FAILOVER TO, no Sentinel");

  const Micros start = MonotonicMicros();
  REQUIRE(first.Command({"FAILOVER", "TO", second.host(), std::to_string(second.port())}) == "OK");
  REQUIRE(group.WaitForSuccessor(first.address(), start) == second.address());
  group.AddMove(figures, "FAILOVER TO", second.address(), start);
  group.redises()[2].Follow(second);
  CHECK(group.WaitForReplica(first.address(), start) == second.address());
  CHECK(group.FinishAndCheck().LastAnswer(group.dns()) == second.address());
  figures.Print();
}

TEST_CASE("empty-return: a master restarted empty is published with a warning") {
  ReplicationGroup group(WithoutSentinel());
  RedisServer& master = group.redises()[0];
  group.StartAgentsAndWait();
  master.Command({"SET", "key", "value"});
  master.Kill();
  master.Start();
  const auto warned = [&] {
    const HealthEntry entry = group.EntryOf(master.address());
    return entry.status == "warning" && entry.HasTag("master") &&
           entry.output.find("unrelated data set") != std::string::npos;
  };
  CHECK(WaitUntil(warned, 20s, 50ms));
  CHECK(WaitUntil([&] { return group.PublishedMaster() == master.address(); }, 20s));
  CHECK(HoldsFor([&] { return group.PublishedMaster() == master.address(); }, 3s));
  group.FinishAndCheck();
}

TEST_CASE("empty-return: withheld on request, until the operator releases the claim") {
  ReplicationGroup::Options options = WithoutSentinel();
  options.agent_settings = R"({"on_dataset_loss": "withhold"})";
  ReplicationGroup group(options);
  RedisServer& master = group.redises()[0];
  group.StartAgentsAndWait();
  master.Command({"SET", "key", "value"});
  master.Kill();
  master.Start();
  const auto withheld = [&] {
    const HealthEntry entry = group.EntryOf(master.address());
    return entry.status == "critical" && !entry.HasTag("master") &&
           entry.output.find("unrelated data set") != std::string::npos;
  };
  CHECK(WaitUntil(withheld, 20s, 50ms));
  CHECK(HoldsFor([&] { return group.observer().Look().LastAnswer(group.dns()) == "-"; }, 3s));

  CHECK(group.RunCommand({"claim", "release"}) == 0);
  CHECK(WaitUntil([&] { return group.IsPublished(master.address()) && group.PublishedMaster() == master.address(); },
                  20s, 50ms));
  CHECK(group.FinishAndCheck().LastAnswer(group.dns()) == master.address());
}
