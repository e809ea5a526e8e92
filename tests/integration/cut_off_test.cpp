// A master whose host sees neither Consul nor Sentinel: here the host's Consul agent is stopped and the Sentinels are
// dead. Partitions proper need several hosts.

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <string>

#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("a master cut off from Consul and from the Sentinels fences itself within the lease, and is back after it") {
  ReplicationGroup group({.separate_hosts = true, .down_after = 3s});
  const std::string master = group.redises()[0].address();
  BridgeAgent& agent = group.agents()[0];
  group.StartAgentsAndWait();
  Figures figures("Host cut off from Consul and the Sentinels");

  const Micros cut = MonotonicMicros();
  for (RedisSentinel& sentinel : group.sentinels()) sentinel.Kill();
  group.host_consuls()[0].process().Signal(SIGSTOP);
  REQUIRE(WaitUntil([&] { return agent.Log().find(": fenced") != std::string::npos; }, 20s));
  figures.Add("cut off to fenced (lease 3 s)", MonotonicMicros() - cut);
  CHECK(MonotonicMicros() - cut < 8'000'000);

  const Micros healed = MonotonicMicros();
  group.host_consuls()[0].process().Signal(SIGCONT);
  REQUIRE(WaitUntil([&] { return group.IsPublished(master) && group.PublishedMaster() == master; }, 30s, 50ms));
  figures.Add("healed to published again", MonotonicMicros() - healed);
  CHECK(group.FinishAndCheck().LastAnswer(group.dns()) == master);
  figures.Print();
}

TEST_CASE("a master that has Sentinels, but no Consul agent for longer than the lease, is not fenced") {
  ReplicationGroup group({.separate_hosts = true, .down_after = 3s});
  const std::string master = group.redises()[0].address();
  BridgeAgent& agent = group.agents()[0];
  group.StartAgentsAndWait();
  group.host_consuls()[0].process().Signal(SIGSTOP);
  CHECK(HoldsFor([&] { return agent.Log().find(": fenced") == std::string::npos; }, 6s, 50ms));
  group.host_consuls()[0].process().Signal(SIGCONT);
  CHECK(WaitUntil([&] { return group.IsPublished(master) && group.PublishedMaster() == master; }, 30s, 50ms));
  CHECK(group.FinishAndCheck().LastAnswer(group.dns()) == master);
}
