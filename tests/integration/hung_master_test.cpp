// A master that hangs, is replaced, and wakes believing that it still is one.
// RCB_DOWN_AFTER and RCB_FAILOVER_TIMEOUT: those of sentinel-three in seconds (default 5 and 6). With a long timeout an
// election that finds no leader is not tried again within the test.

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

namespace {

/// DEBUG SLEEP on the master, for so long that another one is promoted meanwhile; it wakes and is demoted for good.
void Sleep(ReplicationGroup::Options options, std::chrono::seconds duration) {
  options.redis_settings = "enable-debug-command yes\n";
  const std::string down_after = std::to_string(options.down_after.count()) + " ms";
  ReplicationGroup group(options);
  RedisServer& hung = group.redises()[0];
  group.StartAgentsAndWait();
  Figures figures("sentinel-three: DEBUG SLEEP " + std::to_string(duration.count()) + ", " +
                  std::to_string(options.sentinel_count) + " Sentinels, down-after " + down_after);

  const Micros asleep = MonotonicMicros();
  hung.Command({"DEBUG", "SLEEP", std::to_string(duration.count())});  // There is no answer before it wakes.
  const std::string successor =
      group.WaitForSuccessor(hung.address(), asleep, 30s, options.down_after + kSentinelDeadline);
  group.AddMove(figures, "DEBUG SLEEP", successor, asleep);
  figures.Add("DEBUG SLEEP to gone from DNS",
              group.observer().Look().FirstNotListed(group.dns(), hung.address(), asleep).value() - asleep);
  group.WaitForReplica(hung.address(), asleep);
  group.FinishAndCheck();
  figures.Print();
}

}  // namespace

TEST_CASE("a master stopped until after the failover, then continued: not named again") {
  ReplicationGroup group({.down_after = kQuotedDownAfter});
  RedisServer& hung = group.redises()[0];
  group.StartAgentsAndWait();
  Figures figures("The master hangs (SIGSTOP), Sentinel promotes another one, it wakes (SIGCONT)");

  const Micros stopped = MonotonicMicros();
  hung.process().Signal(SIGSTOP);
  const std::string successor = group.WaitForSuccessor(hung.address(), stopped);
  group.AddMove(figures, "SIGSTOP", successor, stopped);
  figures.Add("SIGSTOP to gone from DNS (down-after 1 s)",
              group.observer().Look().FirstNotListed(group.dns(), hung.address(), stopped).value() - stopped);
  REQUIRE(WaitUntil([&] { return group.SentinelsNamePublished(); }, kSentinelDeadline, 50ms));

  const Micros continued = MonotonicMicros();
  hung.process().Signal(SIGCONT);
  group.WaitForReplica(hung.address(), continued);
  const History& history = group.FinishAndCheck();
  figures.Add("SIGCONT: the old master says role:master for",
              history.FirstRole(hung.address(), "slave", continued).value() - continued);
  figures.Print();
}

TEST_CASE("without Sentinel a master that hangs is gone after hang_after, and back when it wakes") {
  ReplicationGroup group({.sentinels = false, .agents_know_sentinels = false});
  RedisServer& hung = group.redises()[0];
  group.StartAgentsAndWait();
  Figures figures("The master hangs, no Sentinel");

  const Micros stopped = MonotonicMicros();
  hung.process().Signal(SIGSTOP);
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastAnswer(group.dns()) == "-"; }, 20s));
  figures.Add("SIGSTOP to gone from DNS (hang_after 5 s)",
              group.observer().Look().FirstNotListed(group.dns(), hung.address(), stopped).value() - stopped);
  const Micros continued = MonotonicMicros();
  hung.process().Signal(SIGCONT);
  REQUIRE(WaitUntil([&] { return group.PublishedMaster() == hung.address(); }, 20s));
  figures.Add("SIGCONT to back in DNS",
              group.observer().Look().FirstListed(group.dns(), hung.address(), continued).value() - continued);
  CHECK(WaitUntil([&] { return group.IsPublished(hung.address()); }, 20s, 50ms));
  group.FinishAndCheck();
  figures.Print();
}

TEST_CASE("sentinel-three: DEBUG SLEEP on the master") {
  const std::chrono::seconds down_after(NumberFromEnvironment("RCB_DOWN_AFTER", 5));
  // Long enough for a second election, where the first one finds no leader.
  const std::chrono::seconds failover_timeout(NumberFromEnvironment("RCB_FAILOVER_TIMEOUT", 6));
  Sleep({.down_after = down_after, .failover_timeout = failover_timeout}, down_after + 25s);
}

TEST_CASE("sentinel-three: DEBUG SLEEP on the master, but only two Sentinels") { Sleep({.sentinel_count = 2}, 15s); }

TEST_CASE("sentinel-three: DEBUG SLEEP on the master, but only one Sentinel") { Sleep({.sentinel_count = 1}, 8s); }
