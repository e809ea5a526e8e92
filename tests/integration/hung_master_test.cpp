// A master that hangs, is replaced, and wakes believing that it still is one.

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

TEST_CASE("sentinel-three: DEBUG SLEEP on the master, down-after 5 s") {
  ReplicationGroup group({.down_after = 5s, .redis_settings = "enable-debug-command yes\n"});
  RedisServer& hung = group.redises()[0];
  group.StartAgentsAndWait();
  Figures figures("sentinel-three: DEBUG SLEEP 30 on the master, down-after 5 s");

  const Micros asleep = MonotonicMicros();
  // There is no answer before it wakes. Long enough for a second election, where the first one finds no leader.
  hung.Command({"DEBUG", "SLEEP", "30"});
  const std::string successor = group.WaitForSuccessor(hung.address(), asleep);
  group.AddMove(figures, "DEBUG SLEEP", successor, asleep);
  figures.Add("DEBUG SLEEP to gone from DNS",
              group.observer().Look().FirstNotListed(group.dns(), hung.address(), asleep).value() - asleep);
  group.WaitForReplica(hung.address(), asleep);
  group.FinishAndCheck();
  figures.Print();
}
