// What a client loses that writes through a planned SENTINEL FAILOVER, where Redis has two masters for ten seconds.

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/integration/figures.h"
#include "tests/integration/history.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"
#include "tests/integration/writing_client.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// Fails over while a client writes; returns how many acknowledged writes the new master does not have in the end.
std::size_t WriteThroughFailover(ReplicationGroup& group, const std::string& kind, Figures& figures) {
  const std::string master = group.redises()[0].address();
  History seen_by_client(group.folder().path() / "history");
  WritingClient client(
      [&] {
        seen_by_client.Refresh();
        std::vector<std::string> masters = seen_by_client.Answers(group.dns()).back().masters;
        for (std::string& address : masters) address = group.at(address).clear_address();
        return masters;
      },
      group.at(master).password());
  const auto is_written = [&] { return std::stoi(group.at(master).Command({"DBSIZE"})) > 1000; };
  REQUIRE(WaitUntil(is_written, 20s));
  const Micros start = MonotonicMicros();
  REQUIRE(group.sentinels()[0].Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK");
  // A script check may take its time to see who is master.
  std::string successor = group.WaitForSuccessor(master, start, 60s);
  const auto is_over = [&] {
    successor = group.PublishedMaster();
    return group.observer().Look().LastRole(master) == "slave" && !successor.empty() && successor != master &&
           group.at(master).InfoField("master_link_status") == "up" && MonotonicMicros() - start > 15'000'000;
  };
  REQUIRE(WaitUntil(is_over, kSentinelDeadline, 50ms));
  client.Stop();
  const std::size_t lost = client.CountMissing(group.at(successor).clear_address());
  figures.Note(kind + ": " + std::to_string(client.acknowledged().size()) + " writes acknowledged, " +
               std::to_string(lost) + " of them lost, longest pause " + std::to_string(client.longest_pause() / 1000) +
               " ms");
  CHECK(client.acknowledged().size() > 1500);  // Some after the thousand before the failover.
  return lost;
}

}  // namespace

TEST_CASE("acknowledged writes lost in a planned failover: with demote none, beside withhold and script checks") {
  Figures figures("A client that writes through SENTINEL FAILOVER and resolves when it connects");
  {
    ReplicationGroup group({.down_after = kNoFailover, .agent_settings = R"({"on_superseded": "demote"})"});
    group.StartAgentsAndWait();
    // A master that an agent has known for less than 5 s may be a new one, which is never demoted.
    const std::string master = group.redises()[0].address();
    REQUIRE(HoldsFor([&] { return group.PublishedMaster() == master; }, 6s, 50ms));
    CHECK(WriteThroughFailover(group, "on_superseded demote", figures) == 0);
    group.FinishAndCheck();
  }
  {
    ReplicationGroup group({.down_after = kNoFailover, .agent_settings = R"({"on_superseded": "withhold"})"});
    group.StartAgentsAndWait();
    WriteThroughFailover(group, "on_superseded withhold", figures);
    group.FinishAndCheck();
  }
  {
    ReplicationGroup group({.script_checks = true, .down_after = kNoFailover});
    group.RegisterScripts();
    WriteThroughFailover(group, "script check every 5 s", figures);
  }
  figures.Print();
}
