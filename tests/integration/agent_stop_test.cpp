// The agent is stopped, upgraded, killed: DESIGN section 7.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <vector>

#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_agent.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("an agent stopped and started within the TTL leaves no gap; one that died is outlived by its TTL alone") {
  TestFolder folder;
  ConsulAgent consul(folder);
  consul.Start();
  RedisServer redis(folder);
  redis.Start();
  consul.WaitForLeader();
  Observer observer(folder, {consul.dns()}, {redis.address()});
  BridgeAgent agent(folder, {.redis = redis.address(), .consul = consul.url()});
  agent.Start();
  const auto is_listed = [&] { return observer.Look().LastAnswer(consul.dns()) == redis.address(); };
  const auto is_passing = [&] {
    const std::vector<HealthEntry> entries = consul.Health("redis");
    return entries.size() == 1 && entries[0].status == "passing" && entries[0].HasTag("master");
  };
  REQUIRE(WaitUntil(is_listed, 20s));
  REQUIRE(WaitUntil([&] { return HoldsFor(is_passing, 500ms, 50ms); }, 20s));

  agent.process().Signal(SIGTERM);
  CHECK(agent.process().WaitForExit(5s) == 0);
  CHECK(HoldsFor(is_listed, 4s));
  agent.Start();
  // The TTL (10 s) of the first agent's last beat passes within this.
  CHECK(HoldsFor(is_listed, 9s));
  CHECK(observer.Look().ListedIntervals(consul.dns(), redis.address()).size() == 1);

  const Micros killed = MonotonicMicros();
  agent.Kill();
  REQUIRE(WaitUntil([&] { return observer.Look().LastAnswer(consul.dns()) == "-"; }, 20s));
  const Micros lasted = observer.Look().FirstNotListed(consul.dns(), redis.address(), killed).value() - killed;
  CHECK(lasted <= 13'000'000);
  Figures figures("An agent killed and not restarted");
  figures.Add("death of the agent to gone from DNS (TTL 10 s)", lasted);
  figures.Print();

  agent.Start();
  CHECK(WaitUntil(is_listed, 20s));
}

TEST_CASE("an agent killed and restarted within the TTL: nothing is seen") {
  ReplicationGroup group({.down_after = kNoFailover});
  const std::string master = group.redises()[0].address();
  group.StartAgentsAndWait();
  for (BridgeAgent& agent : group.agents()) {
    agent.Kill();
    CHECK(HoldsFor([&] { return group.PublishedMaster() == master; }, 2s));
    agent.Start();
  }
  // The TTL (10 s) of each killed one's last beat passes within this.
  CHECK(HoldsFor([&] { return group.IsPublished(master); }, 12s, 50ms));
  CHECK(group.FinishAndCheck().ListedIntervals(group.dns(), master).size() == 1);
}

TEST_CASE("settings reloaded: good ones without a gap, bad ones refused") {
  ReplicationGroup group({.down_after = kNoFailover, .agent_settings = R"({"tags": ["green"]})"});
  const std::string master = group.redises()[0].address();
  BridgeAgent& agent = group.agents()[0];
  group.StartAgentsAndWait();
  const auto is_tagged = [&](const std::string& tag) {
    const std::vector<HealthEntry> entries = group.consul().Health("redis");
    return std::any_of(entries.begin(), entries.end(), [&](const HealthEntry& entry) {
      return entry.address == master && entry.HasTag(tag) && entry.HasTag("master") && entry.status == "passing";
    });
  };
  REQUIRE(WaitUntil([&] { return is_tagged("green"); }, 20s));
  agent.Reload(R"({"tags": ["blue"]})");
  CHECK(WaitUntil([&] { return is_tagged("blue"); }, 20s));
  CHECK_FALSE(is_tagged("green"));

  const std::size_t complaints = agent.Complaints().size();
  agent.Reload(R"({"tgas": ["red"]})");
  CHECK(WaitUntil([&] { return agent.Complaints().size() > complaints; }, 20s));
  CHECK(agent.Complaints().back().find("\"tags\"") != std::string::npos);  // The nearest known key is named.
  CHECK(HoldsFor([&] { return is_tagged("blue"); }, 12s, 50ms));
  CHECK(agent.Complaints().size() == complaints + 1);
  CHECK(group.FinishAndCheck().ListedIntervals(group.dns(), master).size() == 1);
}
