// The master's host cut off from all others, both ways or one way. It lives on and cannot know what they decide.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "tests/hosts/host_group.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/wait_until.h"

using namespace rcb::hosts;
using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// Waits until the agent of the host says that it fenced itself. The lease is 3 s here.
void WaitForFence(HostGroup& group, std::size_t host, Micros cut, Figures& figures) {
  REQUIRE(WaitUntil([&] { return group.agent(host).Log().find(": fenced") != std::string::npos; }, kDeadline));
  figures.Add("cut off to fenced (lease 3 s)", MonotonicMicros() - cut);
  CHECK(MonotonicMicros() - cut < 10'000'000);
}

/// Heals all and waits for rest. The figures of the move, and how long the DNS server of the host that was cut off went
/// on to name its master after another had named the successor, up to the healing; returns the longest of these.
/// `tolerated`: how long, all times added, a server may name the old master once more after it has named the successor.
Micros HealAndFinish(HostGroup& group, std::size_t successor, Micros cut, Figures& figures,
                     std::chrono::microseconds tolerated = 0us) {
  const std::string master = group.redis(group.master()).address();
  const std::string address = group.redis(successor).address();
  CHECK(group.observer().Look().LastRole(master) == "master");  // Redis itself has two all the while.
  const Micros heard_before = group.observer().Look().LastHeard(group.dns(group.master()), master).value();
  const Micros healed = MonotonicMicros();
  group.network().Heal();
  group.WaitForRest();
  figures.Add("healed to group at rest", MonotonicMicros() - healed);
  const History& history = group.FinishAndCheck(tolerated);
  const Micros promotion = history.FirstPromotion(address, cut).value();
  const Micros last_heard = history.LastHeard(group.dns(group.master()), master).value();
  Micros stale = 0;
  for (const std::size_t other : group.others()) {
    const Micros moved = history.FirstAlone(group.dns(other), address, cut).value();
    figures.Add("promotion to DNS on the other hosts", moved - promotion);
    stale = std::max(stale, heard_before - moved);
  }
  figures.Add("the old master in the DNS of its own host after that", stale);
  figures.Add("the same, after the healing", std::max<Micros>(0, last_heard - healed));
  return stale;
}

}  // namespace

TEST_CASE(
    "the master's host, Consul's leader on it, cut off from all others: it fences itself, and with a max_stale its own "
    "DNS stops naming it") {
  HostGroup group({.master_beside_consul_leader = true, .consul_settings = R"({"dns_config": {"max_stale": "1s"}})"});
  const std::size_t cut_off = group.master();
  const std::string master = group.redis(cut_off).address();
  Figures figures("The master's host cut off, dns_config.max_stale 1 s");
  const Micros cut = MonotonicMicros();
  group.CutOff(cut_off);
  const std::size_t successor = group.WaitForSuccessor(cut_off, cut, group.others());
  WaitForFence(group, cut_off, cut, figures);
  const Micros fenced = MonotonicMicros();
  const auto stays = [&] {
    return group.Named(group.others()[0]) != master && group.Named(group.others()[1]) != master;
  };
  CHECK(HoldsFor(stays, 5s));
  CHECK(group.observer().Look().LastHeard(group.dns(cut_off), master) < fenced);
  // Where Consul's log comes later than its heartbeat, what comes with the healing is as stale as it is allowed to be.
  CHECK(HealAndFinish(group, successor, cut, figures, 1s) < 1'000'000);
  figures.Print();
}

TEST_CASE("nobody hears the master's host, but it hears: another is named, and it is not named again") {
  HostGroup group({});
  Figures figures("What the master's host sends is lost");
  const Micros cut = MonotonicMicros();
  group.network().Drop(Network::all(group.master()), "");
  const std::size_t successor = group.WaitForSuccessor(group.master(), cut, group.others());
  WaitForFence(group, group.master(), cut, figures);
  // Without a max_stale its own DNS server answers from the past until it hears of the others again.
  CHECK(group.Named(group.master()) == group.redis(group.master()).address());
  HealAndFinish(group, successor, cut, figures);
  figures.Print();
}
