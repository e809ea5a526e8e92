// Consul's servers die and come back, the leader first, with Redis at rest and in a failover.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "tests/hosts/host_group.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/wait_until.h"

using namespace rcb::hosts;
using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("Consul's leader killed and restarted, the group at rest: nothing; then the server of the master's host") {
  HostGroup group({});
  const std::size_t host = group.master();
  const std::string master = group.redis(host).address();
  Figures figures("Consul's servers killed and restarted, the group at rest");

  const std::size_t leader = group.ConsulLeader(host);
  const std::size_t elsewhere = 3 - host - leader;  // The three hosts are 0, 1 and 2.
  REQUIRE(leader != host);
  Micros killed = MonotonicMicros();
  group.consul(leader).Kill();
  const auto elected = [&] {
    const std::string now = group.consul(host).Leader();
    return !now.empty() && !now.starts_with(Network::consul(leader) + ":");
  };
  REQUIRE(WaitUntil(elected, kDeadline));
  figures.Add("leader killed to the next leader", MonotonicMicros() - killed);
  group.consul(leader).Start();
  CHECK(group.WaitForRest() == host);
  CHECK(group.NamedSince(host, master, killed));
  CHECK(group.NamedSince(elsewhere, master, killed));

  for (const bool empty : {false, true}) {
    CAPTURE(empty);
    killed = MonotonicMicros();
    group.consul(host).Kill();
    if (empty) group.consul(host).Wipe();
    group.consul(host).Start();
    group.consul(host).WaitForLeader();
    const auto told = [&] { return group.consul(host).HoldsLocally("redis", group.redis(host).port(), "master"); };
    REQUIRE(WaitUntil(told, kDeadline));
    CHECK(group.WaitForRest() == host);
    const std::string kind =
        std::string("server of the master's host killed, back ") + (empty ? "empty" : "with its data");
    figures.Add(kind + ", to group at rest", MonotonicMicros() - killed);
    figures.Add(kind + ", nobody in DNS elsewhere",
                group.observer().Look().TimeWithoutMaster(group.dns(elsewhere), {killed, MonotonicMicros()}));
  }
  group.FinishAndCheck();
  figures.Print();
}

TEST_CASE("Consul's leader and the master killed at once: the takeover waits for the next leader") {
  HostGroup group({.master_beside_consul_leader = true});
  const std::size_t host = group.master();
  Figures figures("Consul's leader and the master killed at once");
  const Micros killed = MonotonicMicros();
  group.consul(host).Kill();
  group.redis(host).Kill();
  const std::size_t successor =
      group.WaitForSuccessor(host, killed, {group.others()[0], group.others()[1], HostGroup::kClient});
  const std::string address = group.redis(successor).address();
  const History& history = group.FinishAndCheck();
  const Micros promotion = history.FirstPromotion(address, killed).value();
  figures.Add("killed to promotion", promotion - killed);
  for (const std::size_t other : group.others()) {
    figures.Add("promotion to DNS", history.FirstAlone(group.dns(other), address, killed).value() - promotion);
  }
  figures.Print();
}

TEST_CASE(
    "the host of Consul's leader cut off, later the master dies: queries that hang at the lost one hold nothing up") {
  HostGroup group({.agent_settings = R"({"tags": ["green"]})"});
  const std::size_t host = group.master();
  const std::size_t leader = group.ConsulLeader(host);
  REQUIRE(leader != host);
  const std::size_t other = 3 - host - leader;  // The three hosts are 0, 1 and 2.
  Figures figures("Consul's leader cut off, later the master dies");
  group.CutOff(leader);
  const auto elected = [&] { return !group.consul(other).Leader().starts_with(Network::consul(leader) + ":"); };
  REQUIRE(WaitUntil(elected, kDeadline));
  // The catalog changes, unseen by a query that the other host's server passed on to the lost leader.
  group.agent(host).Reload(R"({"tags": ["blue"]})");
  const auto is_changed = [&] {
    const std::vector<HealthEntry> entries = group.consul(other).Health("redis");
    return std::any_of(entries.begin(), entries.end(), [](const HealthEntry& entry) { return entry.HasTag("blue"); });
  };
  REQUIRE(WaitUntil(is_changed, kDeadline, 20ms));
  const Micros killed = MonotonicMicros();
  group.redis(host).Kill();
  const std::size_t successor = group.WaitForSuccessor(host, killed, {host, other});
  CHECK(successor == other);
  const History& history = group.FinishAndCheck();
  const std::string address = group.redis(successor).address();
  const Micros promotion = history.FirstPromotion(address, killed).value();
  const Micros moved = history.FirstAlone(group.dns(other), address, killed).value() - promotion;
  figures.Add("promotion to DNS", moved);
  CHECK(moved < 10'000'000);
  figures.Print();
}
