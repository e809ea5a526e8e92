// Failovers of every kind on a whole group, judged from the observer's history.
// RCB_ROUNDS (default 2) is how often each kind is done; 20 are enough for a maximum worth quoting, and take ten
// minutes.

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>

#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// Sentinel converts a returned master 10 to 20 s later; INFO every 10 s, and a failover that has to be tried again
/// waits for twice failover-timeout.
constexpr auto kSentinelDeadline = 60s;
/// Sanity only: how fast it is, the figures tell.
constexpr auto kBridgeDeadline = 10s;

class Rounds {
 public:
  Rounds(ReplicationGroup& group, Figures& figures) : group_(group), figures_(figures) {}

  /// kill -9 of the master; returns with its successor in DNS.
  void KillMaster() {
    const std::string old_master = Master();
    const Micros start = MonotonicMicros();
    group_.at(old_master).Kill();
    const std::string successor = WaitForSuccessor(old_master, start);
    const History& history = group_.observer().Look();
    const Micros death = history.FirstRole(old_master, "down", start).value_or(start);
    const Micros gone = history.FirstNotListed(group_.dns(), old_master, start).value();
    const Micros listed = RecordMove("kill -9", old_master, successor, start);
    figures_.Add("kill -9: death to gone from DNS", gone - death);
    figures_.Add("kill -9: nobody in DNS", history.TimeWithoutMaster(group_.dns(), {death, listed}));
    killed_ = old_master;
  }

  /// The killed one comes back, says master for a while, and is made a replica by Sentinel.
  void ReturnOldMaster() {
    const Micros start = MonotonicMicros();
    // Sooner, some Sentinels take it for the master that it was.
    REQUIRE(WaitUntil([&] { return group_.SentinelsName(Master()); }, kSentinelDeadline, 50ms));
    group_.at(killed_).Start();
    WaitForDemotion(killed_, start);
    const History& history = group_.observer().Look();
    const Micros said_master = history.FirstRole(killed_, "master", start).value();
    figures_.Add("return: the old master says role:master for",
                 history.FirstRole(killed_, "slave", said_master).value() - said_master);
  }

  /// SENTINEL FAILOVER of a healthy master: for about ten seconds Redis has two.
  void PlannedFailover() {
    const std::string old_master = Master();
    REQUIRE(WaitUntil([&] { return group_.SentinelsAgree(old_master); }, kSentinelDeadline, 50ms));
    Micros start = 0;
    const auto accepted = [&] {
      start = MonotonicMicros();
      return group_.sentinels()[0].Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK";
    };
    REQUIRE(WaitUntil(accepted, kSentinelDeadline, 100ms));
    const std::string successor = WaitForSuccessor(old_master, start);
    const Micros listed = RecordMove("SENTINEL FAILOVER", old_master, successor, start);
    const History& history = group_.observer().Look();
    figures_.Add("SENTINEL FAILOVER: nobody in DNS", history.TimeWithoutMaster(group_.dns(), {start, listed}));
    WaitForDemotion(old_master, start);
    const Micros promotion = group_.observer().Look().FirstPromotion(successor, start).value();
    figures_.Add("SENTINEL FAILOVER: Redis has two masters for",
                 group_.observer().Look().FirstRole(old_master, "slave", start).value() - promotion);
  }

 private:
  std::string Master() {
    std::string master = group_.PublishedMaster();
    REQUIRE_FALSE(master.empty());
    return master;
  }

  /// Returns the Redis that was promoted after `start` when DNS names it alone.
  std::string WaitForSuccessor(const std::string& old_master, Micros start) {
    std::string successor;
    const auto promoted = [&] {
      const History& history = group_.observer().Look();
      for (const RedisServer& redis : group_.redises()) {
        if (redis.address() != old_master && history.FirstPromotion(redis.address(), start))
          successor = redis.address();
      }
      return !successor.empty();
    };
    REQUIRE_MESSAGE(WaitUntil(promoted, kSentinelDeadline), "Sentinel promotes nobody");
    REQUIRE_MESSAGE(WaitUntil([&] { return group_.PublishedMaster() == successor; }, kBridgeDeadline),
                    successor << " was promoted, DNS says " << group_.observer().Look().LastAnswer(group_.dns()));
    return successor;
  }

  /// Returns when DNS first named the successor.
  Micros RecordMove(const std::string& kind, const std::string& old_master, const std::string& successor,
                    Micros start) {
    const History& history = group_.observer().Look();
    const Micros promotion = history.FirstPromotion(successor, start).value();
    const Micros listed = history.FirstListed(group_.dns(), successor, start).value();
    figures_.Add(kind + ": promotion to DNS", listed - promotion);
    CHECK(history.FirstNotListed(group_.dns(), old_master, start).value() <= listed);
    return listed;
  }

  void WaitForDemotion(const std::string& old_master, Micros start) {
    const auto demoted = [&] {
      return group_.observer().Look().FirstRole(old_master, "slave", start) &&
             group_.observer().Look().LastRole(old_master) == "slave";
    };
    REQUIRE_MESSAGE(WaitUntil(demoted, kSentinelDeadline), "Sentinel does not make the old master a replica");
    REQUIRE_MESSAGE(WaitUntil([&] { return group_.IsPublished(Master()); }, kSentinelDeadline, 50ms),
                    "the old master is not published as a replica");
  }

  ReplicationGroup& group_;
  Figures& figures_;
  std::string killed_;
};

void RunRounds(const ReplicationGroup::Options& options, const std::string& title) {
  ReplicationGroup group(options);
  const std::string first = group.redises()[0].address();
  group.StartAgents();
  REQUIRE(WaitUntil([&] { return group.IsPublished(first); }, 20s, 50ms));

  const int rounds = NumberFromEnvironment("RCB_ROUNDS", 2);
  Figures figures(title);
  Rounds round(group, figures);
  for (int i = 0; i < rounds; ++i) {
    CAPTURE(i);
    round.KillMaster();
    round.ReturnOldMaster();
    round.PlannedFailover();
  }

  const auto cpu = group.observer().process().CpuTime();
  const History& history = group.FinishAndCheck();
  const History::Samples samples = history.SamplesOf("dns:" + group.dns());
  figures.Note(std::to_string(samples.count) + " DNS samples in " + std::to_string(samples.seconds) +
               " s, largest gap " + std::to_string(samples.largest_gap) + " us; observer's CPU " +
               std::to_string(cpu.count()) + " ms");
  figures.Note("most masters in one DNS answer: " + std::to_string(history.MostMasters(group.dns())) +
               ", superseded masters named: " + std::to_string(history.SupersededAnswers(group.dns()).size()));
  figures.Print();
}

}  // namespace

TEST_CASE("failovers, the agents connected to the Sentinels") {
  RunRounds({}, "Failovers, agents connected to three Sentinels");
}

TEST_CASE("failovers, the agents hearing the hello channel alone") {
  RunRounds({.agents_know_sentinels = false}, "Failovers, agents with the hello channel alone");
}

TEST_CASE("a failover that Sentinel aborts after the promotion: the old master is named again") {
  // Seen by itself: a Sentinel that still took the promoted server for a returned master made it a replica again; the
  // leader gives up after failover-timeout (-failover-abort-slave-timeout) and the config-epoch stays the old one.
  ReplicationGroup group({});
  const std::string master = group.redises()[0].address();
  group.StartAgents();
  REQUIRE(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));
  const Micros start = MonotonicMicros();
  REQUIRE(group.sentinels()[0].Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK");
  const auto undone = [&] {
    for (RedisServer& redis : group.redises()) {
      if (!group.observer().Look().FirstPromotion(redis.address(), start)) continue;
      return redis.Command({"REPLICAOF", "127.0.0.1", std::to_string(group.redises()[0].port())}) == "OK";
    }
    return false;
  };
  REQUIRE(WaitUntil(undone, 20s));
  REQUIRE(WaitUntil([&] { return group.SentinelsAgree(master); }, kSentinelDeadline, 50ms));
  CHECK(WaitUntil([&] { return group.IsPublished(master); }, 20s, 50ms));
  CHECK(group.observer().Finish().MostMasters(group.dns()) == 1);
}
