// Two failovers that know nothing of each other: SENTINEL FAILOVER asks no other Sentinel, so both take the next epoch.

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/hosts/host_group.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/wait_until.h"

using namespace rcb::hosts;
using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// The operator asks this Sentinel, which sees the replica of another host as down, so that it chooses its own.
void FailOver(RedisSentinel& sentinel) {
  const auto sees_one_down = [&] {
    return sentinel.Command({"SENTINEL", "REPLICAS", "mymaster"}).find("s_down") != std::string::npos;
  };
  REQUIRE(WaitUntil(sees_one_down, kDeadline));
  REQUIRE(sentinel.Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK");
}

}  // namespace

TEST_CASE("two failovers at one epoch: the one that most Sentinels follow takes the name from the other") {
  HostGroup group({});
  const std::size_t cut_off = group.others()[0];
  const std::size_t other = group.others()[1];
  const std::vector<std::size_t> everybody{0, 1, 2, HostGroup::kClient};
  Figures figures("Two failovers at one epoch");
  for (const std::size_t host : {group.master(), other}) {
    // Sentinels tell each other of a failover by way of Redis as well.
    group.network().DropBothWays(Network::sentinel(cut_off), Network::all(host));
    group.network().DropBothWays(Network::sentinel(host), Network::all(cut_off));
  }
  const Micros first = MonotonicMicros();
  FailOver(group.sentinel(cut_off));
  REQUIRE(group.WaitForSuccessor(group.master(), first, everybody) == cut_off);

  const Micros second = MonotonicMicros();
  FailOver(group.sentinel(other));
  const std::string address = group.redis(other).address();
  REQUIRE(WaitUntil([&] { return group.AllName(address, everybody); }, kDeadline));
  CHECK(HoldsFor([&] { return group.AllName(address, everybody); }, 4s));
  const auto epoch = [&](std::size_t host) {
    const std::string told = group.sentinel(host).Command({"SENTINEL", "MASTER", "mymaster"});
    return told.substr(told.find("config-epoch"), std::string("config-epoch\n1\n").size());
  };
  CHECK(epoch(cut_off) == "config-epoch\n1\n");
  CHECK(epoch(other) == "config-epoch\n1\n");

  const History& history = group.FinishAndCheck();
  const Micros promotion = history.FirstPromotion(address, second).value();
  for (const std::size_t server : everybody) {
    figures.Add("second promotion to DNS", history.FirstAlone(group.dns(server), address, second).value() - promotion);
  }
  figures.Print();
}
