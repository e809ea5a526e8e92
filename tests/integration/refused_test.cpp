// A Redis that answers, but not what it is asked: a script that does not end, a permission that is missing.

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("a master whose script does not end: unchanged for 10 s, then critical, and back when it is killed") {
  ReplicationGroup group(
      {.sentinels = false, .agents_know_sentinels = false, .redis_settings = "busy-reply-threshold 100\n"});
  RedisServer& busy = group.redises()[0];
  group.StartAgentsAndWait();
  Figures figures("The master answers -BUSY");

  const Micros started = MonotonicMicros();
  busy.Command({"EVAL", "while true do end", "0"});
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastAnswer(group.dns()) == "-"; }, 30s));
  const Micros gone = group.observer().Look().FirstNotListed(group.dns(), busy.address(), started).value();
  CHECK(gone - started > 9'500'000);
  figures.Add("script started to gone from DNS (bound 10 s)", gone - started);
  const HealthEntry entry = group.EntryOf(busy.address());
  CHECK(entry.HasTag("master"));
  CHECK(entry.status == "critical");
  CHECK(entry.output.find("BUSY") != std::string::npos);

  const Micros killed = MonotonicMicros();
  CHECK(busy.Command({"SCRIPT", "KILL"}) == "OK");
  REQUIRE(WaitUntil([&] { return group.PublishedMaster() == busy.address(); }, 20s));
  figures.Add("SCRIPT KILL to back in DNS",
              group.observer().Look().FirstListed(group.dns(), busy.address(), killed).value() - killed);
  CHECK(WaitUntil([&] { return group.IsPublished(busy.address()); }, 20s, 50ms));
  group.FinishAndCheck();
  figures.Print();
}

TEST_CASE("a permission that is taken away: not published, and named; back when it is given again") {
  ReplicationGroup group({.sentinels = false, .agents_know_sentinels = false});
  RedisServer& master = group.redises()[0];
  group.StartAgentsAndWait();
  REQUIRE(master.Command({"ACL", "SETUSER", "default", "-info"}) == "OK");
  const auto withheld = [&] {
    const HealthEntry entry = group.EntryOf(master.address());
    return !entry.HasTag("master") && entry.status == "critical" && entry.output.find("info") != std::string::npos;
  };
  CHECK(WaitUntil(withheld, 20s, 50ms));
  REQUIRE(master.Command({"ACL", "SETUSER", "default", "+info"}) == "OK");
  CHECK(WaitUntil([&] { return group.IsPublished(master.address()); }, 20s, 50ms));
  group.FinishAndCheck();
}
