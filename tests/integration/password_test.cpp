// passwords: requirepass and masterauth on every node, auth-pass in Sentinel, and a change at run time.

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

TEST_CASE("passwords: a failover and the old master's return") {
  ReplicationGroup group({.password = "of-the-group"});
  RedisServer& first = group.redises()[0];
  group.StartAgentsAndWait();
  Figures figures("passwords: kill -9 of the master");
  const Micros killed = MonotonicMicros();
  first.Kill();
  const std::string successor = group.WaitForSuccessor(first.address(), killed);
  group.AddMove(figures, "kill -9", successor, killed);
  REQUIRE(WaitUntil([&] { return group.SentinelsNamePublished(); }, kSentinelDeadline, 50ms));
  const Micros returned = MonotonicMicros();
  first.Start();
  group.WaitForReplica(first.address(), returned);
  group.FinishAndCheck();
  for (const BridgeAgent& agent : group.agents()) CHECK(agent.Log().find("of-the-group") == std::string::npos);
  figures.Print();
}

TEST_CASE("passwords: changed at run time on every node, in the agents' file and in Sentinel") {
  const TestFolder secrets;
  const std::string file = (secrets.path() / "password").string();
  WriteFile(file, "of-the-group\n");
  ReplicationGroup group({.down_after = kNoFailover,
                          .agent_settings = R"({"redis_password_file": ")" + file + "\"}",
                          .password = "of-the-group"});
  const std::string master = group.redises()[0].address();
  group.StartAgentsAndWait();
  WriteFile(file, "the-second\n");
  for (const RedisServer& redis : group.redises()) {
    REQUIRE(redis.Command({"CONFIG", "SET", "masterauth", "the-second"}) == "OK");
    REQUIRE(redis.Command({"CONFIG", "SET", "requirepass", "the-second"}) == "OK");
  }
  for (const RedisSentinel& sentinel : group.sentinels()) {
    REQUIRE(sentinel.Command({"SENTINEL", "SET", "mymaster", "auth-pass", "the-second"}) == "OK");
  }
  // Everybody has to come in anew: agents, replicas, Sentinels.
  for (const RedisServer& redis : group.redises()) {
    for (const char* type : {"replica", "pubsub", "normal"}) {
      RedisCommand(redis.address(), {"CLIENT", "KILL", "TYPE", type}, "the-second");
    }
  }
  CHECK(WaitUntil([&] { return group.IsPublished(master) && group.SentinelsAgree(master); }, 20s, 50ms));
  CHECK(HoldsFor([&] { return group.IsPublished(master); }, 3s, 50ms));
  CHECK(group.FinishAndCheck().ListedIntervals(group.dns(), master).size() == 1);
}

TEST_CASE("passwords: changed at run time, and told to the agent by its file") {
  TestFolder folder;
  ConsulAgent consul(folder);
  consul.Start();
  RedisServer redis(folder, {.password = "the-first"});
  redis.Start();
  consul.WaitForLeader();
  Observer observer(folder, {consul.dns()}, {});
  const std::string file = (folder.path() / "password").string();
  const std::string settings = R"({"redis_password_file": ")" + file + "\"}";
  WriteFile(file, "the-first\n");
  BridgeAgent agent(folder, {.redis = redis.address(), .consul = consul.url(), .settings = settings});
  agent.Start();
  const auto is_listed = [&] { return observer.Look().LastAnswer(consul.dns()) == redis.address(); };
  REQUIRE(WaitUntil(is_listed, 20s));

  // A connection that is open stays authenticated; one that is opened later is not.
  REQUIRE(redis.Command({"CONFIG", "SET", "requirepass", "the-second"}) == "OK");
  CHECK(HoldsFor(is_listed, 2s));
  RedisCommand(redis.address(), {"CLIENT", "KILL", "TYPE", "normal"}, "the-second");
  const auto is_withheld = [&] {
    const std::vector<HealthEntry> entries = consul.Health("redis");
    return entries.size() == 1 && entries[0].status == "critical" && !entries[0].HasTag("master") &&
           entries[0].output.find("password") != std::string::npos;
  };
  CHECK(WaitUntil(is_withheld, 20s));
  WriteFile(file, "the-second\n");
  agent.Reload(settings);
  CHECK(WaitUntil(is_listed, 20s));
  CHECK(agent.Log().find("the-second") == std::string::npos);
}
