// Losses that leave the master to somebody: of Consul alone, of Sentinel alone, of a replica.

#include <doctest/doctest.h>

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

TEST_CASE("the Sentinels cut off from each other: nothing; a master that dies then has no successor until they meet") {
  HostGroup group({});
  const std::size_t host = group.master();
  const std::string master = group.redis(host).address();
  const std::vector<std::size_t> everybody{0, 1, 2, HostGroup::kClient};
  Figures figures("The Sentinels cut off from each other");
  const Micros cut = MonotonicMicros();
  for (std::size_t i = 0; i < HostGroup::kHosts; ++i) {
    group.network().DropBothWays(Network::sentinel(i), Network::sentinel((i + 1) % HostGroup::kHosts));
  }
  CHECK(HoldsFor([&] { return group.AllName(master, everybody); }, 4s));
  for (const std::size_t server : everybody) CHECK(group.NamedSince(server, master, cut));

  const Micros killed = MonotonicMicros();
  group.redis(host).Kill();
  REQUIRE(WaitUntil([&] { return group.AllName("", everybody); }, kDeadline));
  CHECK(HoldsFor([&] { return group.AllName("", everybody); }, 4s));
  const Micros healed = MonotonicMicros();
  group.network().Heal();
  const std::size_t successor = group.WaitForSuccessor(host, killed, everybody);
  const History& history = group.FinishAndCheck();
  const Micros promotion = history.FirstPromotion(group.redis(successor).address(), killed).value();
  CHECK(promotion > healed);
  figures.Add("healed to promotion", promotion - healed);
  for (const std::size_t server : everybody) {
    figures.Add("promotion to DNS",
                history.FirstAlone(group.dns(server), group.redis(successor).address(), killed).value() - promotion);
  }
  figures.Print();
}

TEST_CASE("a replica's host cut off: the master stays, there as well") {
  HostGroup group({});
  const std::string master = group.redis(group.master()).address();
  const Micros cut = MonotonicMicros();
  group.CutOff(group.others()[0]);
  // Consul's gossip gives the host up within this.
  CHECK(HoldsFor([&] { return group.AllName(master, {0, 1, 2}); }, 8s));
  for (std::size_t server = 0; server < HostGroup::kHosts; ++server) CHECK(group.NamedSince(server, master, cut));
  group.FinishAndCheck();
}

TEST_CASE("the master's host cut off from Consul's servers alone: not fenced, nobody else is named") {
  HostGroup group({});
  const std::size_t host = group.master();
  const std::string master = group.redis(host).address();
  Figures figures("The master's host cut off from Consul's servers alone");
  const Micros cut = MonotonicMicros();
  group.CutFromConsul(host);
  // Consul itself gives the node up, and with it what runs there.
  REQUIRE(WaitUntil([&] { return group.Named(group.others()[0]) != master; }, kDeadline));
  figures.Add("cut off to given up by Consul", MonotonicMicros() - cut);
  CHECK(HoldsFor([&] { return group.agent(host).Log().find(": fenced") == std::string::npos; }, 5s, 50ms));
  const Micros healed = MonotonicMicros();
  group.network().Heal();
  CHECK(group.WaitForRest() == host);
  figures.Add("healed to group at rest", MonotonicMicros() - healed);
  const History& history = group.FinishAndCheck();
  for (const std::size_t other : group.others()) {
    CHECK(history.ListedIntervals(group.dns(HostGroup::kClient), group.redis(other).address()).empty());
  }
  figures.Print();
}

TEST_CASE("the master's host cut off from the Sentinels alone: they promote another, and Consul follows everywhere") {
  HostGroup group({});
  const std::size_t host = group.master();
  Figures figures("The master's host cut off from the Sentinels alone");
  const Micros cut = MonotonicMicros();
  group.CutFromSentinels(host);
  const std::size_t successor = group.WaitForSuccessor(host, cut, {0, 1, 2, HostGroup::kClient});
  const std::string address = group.redis(successor).address();
  CHECK(group.observer().Look().LastRole(group.redis(host).address()) == "master");
  const Micros healed = MonotonicMicros();
  group.network().Heal();
  group.WaitForRest();
  figures.Add("healed to group at rest", MonotonicMicros() - healed);
  const History& history = group.FinishAndCheck();
  const Micros promotion = history.FirstPromotion(address, cut).value();
  for (const std::size_t server : {group.others()[0], group.others()[1], host}) {
    figures.Add(server == host ? "promotion to DNS on the host that is cut off" : "promotion to DNS on the other hosts",
                history.FirstAlone(group.dns(server), address, cut).value() - promotion);
  }
  figures.Print();
}
