// The agent is stopped, upgraded, killed: DESIGN section 7.

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <vector>

#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_server.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("an agent stopped and started within the TTL leaves no gap; one that died is outlived by its TTL alone") {
  TestFolder folder;
  ConsulServer consul(folder);
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
  REQUIRE(WaitUntil([&] { return HoldsFor(is_passing, 500ms, 50ms); }, 10s));

  const std::size_t answers = observer.Look().Answers(consul.dns()).size();
  agent.process().Signal(SIGTERM);
  CHECK(agent.process().WaitForExit(5s) == 0);
  CHECK(HoldsFor(is_listed, 4s));
  agent.Start();
  // The TTL (10 s) of the first agent's last beat passes within this.
  CHECK(HoldsFor(is_listed, 9s));
  CHECK(observer.Look().Answers(consul.dns()).size() == answers);

  const Micros killed = MonotonicMicros();
  agent.Kill();
  REQUIRE(WaitUntil([&] { return observer.Look().LastAnswer(consul.dns()) == "-"; }, 15s));
  const Micros lasted = observer.Look().FirstNotListed(consul.dns(), redis.address(), killed).value() - killed;
  CHECK(lasted <= 10'500'000);
  Figures figures("An agent killed and not restarted");
  figures.Add("death of the agent to gone from DNS (TTL 10 s)", lasted);
  figures.Print();

  agent.Start();
  CHECK(WaitUntil(is_listed, 20s));
}
