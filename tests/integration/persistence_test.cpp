// persistence: RDB, then AOF, switched at run time. No Sentinel: a master that reads its data set is waited for.

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

std::string KeysOf(const RedisServer& redis) { return redis.Command({"DBSIZE"}); }

/// Ends the master and brings it back, and asserts what is seen until it has read its data set.
void Restart(ReplicationGroup& group, RedisServer& master) {
  const Micros killed = MonotonicMicros();
  master.Kill();
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastAnswer(group.dns()) == "-"; }, 20s));
  master.Launch();
  const auto is_loading = [&] {
    const HealthEntry entry = group.EntryOf(master.address());
    return entry.status == "critical" && entry.output.find("loading its data set") != std::string::npos;
  };
  CHECK(WaitUntil(is_loading, 20s));
  CHECK(group.observer().Look().LastAnswer(group.dns()) == "-");
  REQUIRE(WaitUntil([&] { return group.PublishedMaster() == master.address(); }, 30s));
  CHECK(KeysOf(master) == "1000");
  CHECK(group.observer().Look().FirstListed(group.dns(), master.address(), killed).has_value());
}

}  // namespace

TEST_CASE("persistence: RDB, AOF and a switch between them; a restart that takes a while to load") {
  // Read for some four seconds (microseconds for each key), answering in between (7.0: once for 2 MiB by default).
  ReplicationGroup group({.upstreams = {ReplicationGroup::kNobody, 0},
                          .sentinels = false,
                          .agents_know_sentinels = false,
                          .redis_settings = "save 3600 100000\nkey-load-delay 4000\n"
                                            "loading-process-events-interval-bytes 1024\n"});
  RedisServer& master = group.redises()[0];
  RedisServer& replica = group.redises()[1];
  group.StartAgentsAndWait();
  REQUIRE(master.Command(
              {"EVAL", "for i = 1, 1000 do redis.call('SET', i, string.rep('x', 1000)) end return 1", "0"}) == "1");
  REQUIRE(master.Command({"SAVE"}) == "OK");
  Restart(group, master);
  CHECK(WaitUntil([&] { return group.IsPublished(master.address()); }, 30s, 50ms));
  CHECK(KeysOf(replica) == "1000");

  REQUIRE(master.Command({"CONFIG", "SET", "appendonly", "yes"}) == "OK");
  const auto is_written = [&] {
    const std::string told = master.Command({"INFO", "persistence"});
    return told.find("aof_enabled:1") != std::string::npos &&
           told.find("aof_rewrite_in_progress:0") != std::string::npos &&
           told.find("aof_rewrite_scheduled:0") != std::string::npos;
  };
  REQUIRE(WaitUntil(is_written, 20s, 50ms));
  REQUIRE(master.Command({"CONFIG", "SET", "save", ""}) == "OK");
  REQUIRE(master.Command({"CONFIG", "REWRITE"}) == "OK");
  Restart(group, master);
  // An AOF does not keep the replication id (src/rdb.c rdbSaveInfoAuxFields; 7.0): so the return is reported.
  const auto is_reported = [&] {
    const HealthEntry entry = group.EntryOf(master.address());
    return entry.HasTag("master") && entry.status == "warning" &&
           entry.output.find("unrelated data set") != std::string::npos;
  };
  CHECK(WaitUntil(is_reported, 20s, 50ms));
  const auto replica_is_well = [&] {
    const HealthEntry entry = group.EntryOf(replica.address());
    return entry.HasTag("replica") && entry.status == "passing";
  };
  CHECK(WaitUntil(replica_is_well, 30s, 50ms));
  CHECK(group.FinishAndCheck().LastAnswer(group.dns()) == master.address());
}
