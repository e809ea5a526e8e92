// Hosts of their own: a Consul client agent beside each Redis and each bridge agent, the Consul server and the
// Sentinels elsewhere. Every DNS server is watched.

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

/// An agent that has died, its TTL (10 s) and some more.
constexpr auto kLongerThanTtl = 12s;

void KillHost(ReplicationGroup& group, std::size_t host) {
  group.agents()[host].Kill();  // First: it must not tell of the other deaths.
  group.redises()[host].Kill();
  group.host_consuls()[host].Kill();
}

void StartHost(ReplicationGroup& group, std::size_t host) {
  group.host_consuls()[host].Start();
  group.host_consuls()[host].WaitForLeader();
  group.redises()[host].Start();
  group.agents()[host].Start();
}

/// Adds the longest time that a DNS server named two masters or a superseded one.
void AddTimeWrong(ReplicationGroup& group, Figures& figures, const std::string& row) {
  const History& history = group.observer().Look();
  Micros most = 0;
  for (const std::string& server : group.DnsServers()) most = std::max(most, history.TimeWrong(server));
  figures.Add(row, most);
}

/// The master's host dies; returns its successor, once DNS names it everywhere else.
std::string FailOverWithHost(ReplicationGroup& group, Figures& figures) {
  const std::string master = group.redises()[0].address();
  const Micros lost = MonotonicMicros();
  KillHost(group, 0);
  std::string successor = group.WaitForSuccessor(master, lost);
  const History& history = group.observer().Look();
  figures.Add("host gone to gone from DNS (down-after 1 s)",
              history.FirstNotListed(group.dns(), master, lost).value() - lost);
  const Micros promotion = history.FirstPromotion(successor, lost).value();
  for (std::size_t i = 1; i < group.redises().size(); ++i) {
    const std::string server = group.host_consuls()[i].dns();
    REQUIRE(WaitUntil([&] { return group.observer().Look().FirstListed(server, successor, lost).has_value(); }, 20s));
    figures.Add("host gone: promotion to DNS on the other hosts",
                history.FirstListed(server, successor, lost).value() - promotion);
  }
  REQUIRE(WaitUntil([&] { return group.SentinelsNamePublished(); }, kSentinelDeadline, 50ms));
  return successor;
}

/// The master's bridge agent dies, then its Redis; returns with its successor in DNS. Nobody tells the Consul agent of
/// that host.
std::string FailOverBehindConsul(ReplicationGroup& group) {
  const std::string master = group.redises()[0].address();
  group.agents()[0].Kill();
  const Micros killed = MonotonicMicros();
  group.redises()[0].Kill();
  return group.WaitForSuccessor(master, killed);
}

/// True when the Consul agent of the lost host has told the catalog its old word: that the check passes, but of a
/// service without the tag that it remembered.
bool HasSpokenAgain(ReplicationGroup& group, const std::string& stale) {
  const std::vector<HealthEntry> entries = group.consul().Health("redis");
  return std::any_of(entries.begin(), entries.end(), [&](const HealthEntry& entry) {
    return entry.address == stale && !entry.HasTag("master") && entry.status == "passing";
  });
}

void ReturnAgent(ReplicationGroup& group) {
  REQUIRE(WaitUntil([&] { return group.SentinelsNamePublished(); }, kSentinelDeadline, 50ms));
  const Micros returned = MonotonicMicros();
  group.redises()[0].Start();
  group.agents()[0].Start();
  group.WaitForReplica(group.redises()[0].address(), returned);
}

}  // namespace

TEST_CASE("a planned failover between hosts") {
  ReplicationGroup group({.separate_hosts = true});
  const std::string master = group.redises()[0].address();
  group.StartAgentsAndWait();
  const Micros start = MonotonicMicros();
  REQUIRE(group.sentinels()[0].Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK");
  const std::string successor = group.WaitForSuccessor(master, start);
  Figures figures("A planned failover between hosts");
  group.AddMove(figures, "SENTINEL FAILOVER", successor, start);
  group.WaitForReplica(master, start);
  group.FinishAndCheck();
  figures.Print();
}

TEST_CASE("a host gone for longer than the TTL, and back") {
  ReplicationGroup group({.separate_hosts = true, .down_after = kQuotedDownAfter});
  group.StartAgentsAndWait();
  Figures figures("A host gone for longer than the TTL, and back");
  const std::string gone = group.redises()[0].address();
  FailOverWithHost(group, figures);
  CHECK(HoldsFor([&] { return group.PublishedMaster() != gone; }, kLongerThanTtl));
  const Micros returned = MonotonicMicros();
  StartHost(group, 0);
  group.WaitForReplica(group.redises()[0].address(), returned);
  AddTimeWrong(group, figures, "two masters or a superseded one in DNS");
  group.FinishAndCheck();
  figures.Print();
}

TEST_CASE("a host gone and back within the TTL: what its Consul agent remembers does not return") {
  ReplicationGroup group(
      {.separate_hosts = true, .down_after = kQuotedDownAfter, .agent_settings = R"({"ttl": "60s"})"});
  group.StartAgentsAndWait();
  Figures figures("A host gone and back within the TTL");
  FailOverWithHost(group, figures);
  const Micros returned = MonotonicMicros();
  StartHost(group, 0);
  group.WaitForReplica(group.redises()[0].address(), returned);
  AddTimeWrong(group, figures, "two masters or a superseded one in DNS");
  group.FinishAndCheck();
  figures.Print();
}

TEST_CASE("the old master's agent is dead and its Consul agent restarts: the stale master does not return") {
  ReplicationGroup group({.separate_hosts = true, .agent_settings = R"({"ttl": "60s"})"});
  group.StartAgentsAndWait();
  const std::string stale = group.redises()[0].address();
  FailOverBehindConsul(group);
  group.host_consuls()[0].Kill();
  group.host_consuls()[0].Start();
  CHECK(WaitUntil([&] { return HasSpokenAgain(group, stale); }, kSentinelDeadline, 50ms));
  ReturnAgent(group);
  Figures figures("Only the bridge agent of the lost master is dead, and its Consul agent restarts");
  AddTimeWrong(group, figures, "two masters or a superseded one in DNS");
  group.FinishAndCheck();
  figures.Print();
}

TEST_CASE("the old master's agent is dead and anti-entropy of its Consul agent does not bring the master back") {
  // A full synchronisation comes every minute and its jitter; the TTL must outlive it.
  ReplicationGroup group({.separate_hosts = true, .agent_settings = R"({"ttl": "300s"})"});
  group.StartAgentsAndWait();
  Figures figures("Only the bridge agent of the lost master is dead, and anti-entropy");
  const std::string stale = group.redises()[0].address();
  FailOverBehindConsul(group);
  const Micros moved = MonotonicMicros();
  REQUIRE(WaitUntil([&] { return HasSpokenAgain(group, stale); }, 180s, 20ms));
  figures.Add("failover to the next anti-entropy of the lost host", MonotonicMicros() - moved);
  ReturnAgent(group);
  AddTimeWrong(group, figures, "two masters or a superseded one in DNS");
  group.FinishAndCheck();
  figures.Print();
}
