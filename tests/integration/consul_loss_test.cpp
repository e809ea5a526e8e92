// Consul dies and comes back, with its data and without.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// The figures are milliseconds; the promise is a second, on a machine that has one to spare.
constexpr Micros kSanityLimit = 5'000'000;

}  // namespace

TEST_CASE("Consul killed and restarted, empty and with its data: the master is back soon after the leader") {
  ReplicationGroup group({.down_after = kNoFailover});
  const std::string master = group.redises()[0].address();
  group.StartAgents();
  REQUIRE(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));

  Figures figures("Consul killed and restarted");
  const int rounds = NumberFromEnvironment("RCB_ROUNDS", 2);
  for (int i = 0; i < rounds; ++i) {
    for (const bool empty : {true, false}) {
      CAPTURE(empty);
      group.consul().Kill();
      REQUIRE(WaitUntil([&] { return group.observer().Look().LastAnswer(group.dns()) == "!refused"; }, 20s));
      if (empty) group.consul().Wipe();
      const Micros start = MonotonicMicros();
      group.consul().Start();
      const Micros leader = group.consul().WaitForLeader();
      if (empty) group.IssueToken();
      REQUIRE(WaitUntil([&] { return group.PublishedMaster() == master; }, 20s));
      const Micros listed = group.observer().Look().FirstListed(group.dns(), master, start).value();
      const std::string kind = empty ? "empty: " : "with its data: ";
      figures.Add(kind + "start to leader", leader - start);
      figures.Add(kind + "leader to master in DNS", listed - leader);
      CHECK(listed - leader < kSanityLimit);
      REQUIRE(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));
    }
  }
  figures.Print();
  group.FinishAndCheck();
}

TEST_CASE("the Consul agent of a host restarted, empty and with its data, and gone for longer") {
  ReplicationGroup group({.separate_hosts = true, .down_after = kNoFailover});
  const std::string master = group.redises()[0].address();
  group.StartAgentsAndWait();

  Figures figures("The Consul agent of one host killed and restarted, server and other hosts well");
  const auto restart = [&](std::size_t host, const std::string& kind) {
    ConsulAgent& consul = group.host_consuls()[host];
    consul.Start();
    // Its own word is what anti-entropy repeats: told again, the master's registration is whole.
    const std::string tag = host == 0 ? "master" : "replica";
    const Micros back = consul.WaitForLeader();
    REQUIRE(WaitUntil([&] { return consul.HoldsLocally("redis", group.redises()[host].port(), tag); }, 20s));
    figures.Add(kind + ": back to registered at it", MonotonicMicros() - back);
    REQUIRE(WaitUntil([&] { return group.IsPublished(master); }, 20s, 5ms));
    figures.Add(kind + ": back to all in the catalog", MonotonicMicros() - back);
    if (host == 0) {
      const Micros listed = group.observer().Look().ListedIntervals(group.dns(), master).back().begin;
      figures.Add(kind + ": back to master in DNS", std::max<Micros>(0, listed - back));
      CHECK(listed - back < kSanityLimit);
    }
    REQUIRE(WaitUntil([&] { return group.PublishedMaster() == master; }, 20s));
  };
  for (const std::size_t host : {std::size_t{0}, std::size_t{1}}) {
    CAPTURE(host);
    const std::string whose = host == 0 ? "master's host" : "replica's host";
    group.host_consuls()[host].Kill();
    restart(host, whose + ", with its data");
    group.host_consuls()[host].Kill();
    group.host_consuls()[host].Wipe();
    restart(host, whose + ", empty");
  }
  group.host_consuls()[0].Kill();
  // Consul's own health check of the node (gossip) takes the master out of DNS.
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastAnswer(group.dns()) == "-"; }, 60s));
  restart(0, "master's host, after its node was given up");
  group.FinishAndCheck();
  figures.Print();
}
