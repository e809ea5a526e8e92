// What a replica says of itself, and how it is published.

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// Waits until the catalog says so of `redis`: a status, and a part of the check's output.
bool IsSaid(const ReplicationGroup& group, const RedisServer& redis, const std::string& status,
            const std::string& output) {
  return WaitUntil(
      [&] {
        const HealthEntry entry = group.EntryOf(redis.address());
        return entry.status == status && entry.output.find(output) != std::string::npos;
      },
      20s, 50ms);
}

}  // namespace

TEST_CASE("priority 0, hidden, writable: a replica as its operator set it") {
  ReplicationGroup group(
      {.upstreams = {ReplicationGroup::kNobody, 0}, .sentinels = false, .agents_know_sentinels = false});
  RedisServer& replica = group.redises()[1];
  group.StartAgentsAndWait();
  const auto entry = [&] { return group.EntryOf(replica.address()); };
  CHECK_FALSE(entry().HasTag("no-failover"));
  CHECK(entry().meta["upstream"] == group.redises()[0].address());

  REQUIRE(replica.Command({"CONFIG", "SET", "replica-priority", "0"}) == "OK");
  CHECK(WaitUntil([&] { return entry().HasTag("no-failover") && entry().HasTag("replica"); }, 20s, 50ms));
  CHECK(entry().status == "passing");
  REQUIRE(replica.Command({"CONFIG", "SET", "replica-priority", "100"}) == "OK");
  CHECK(WaitUntil([&] { return !entry().HasTag("no-failover"); }, 20s, 50ms));

  REQUIRE(replica.Command({"CONFIG", "SET", "replica-read-only", "no"}) == "OK");
  CHECK(IsSaid(group, replica, "warning", "takes writes of its own"));
  CHECK(entry().HasTag("replica"));
  REQUIRE(replica.Command({"CONFIG", "SET", "replica-read-only", "yes"}) == "OK");
  CHECK(IsSaid(group, replica, "passing", "in sync"));

  REQUIRE(replica.Command({"CONFIG", "SET", "replica-announced", "no"}) == "OK");
  CHECK(IsSaid(group, replica, "critical", "replica-announced no"));
  CHECK(WaitUntil([&] { return !entry().HasTag("replica"); }, 20s, 50ms));  // Its check is told first.
  REQUIRE(replica.Command({"CONFIG", "SET", "replica-announced", "yes"}) == "OK");
  CHECK(IsSaid(group, replica, "passing", "in sync"));
  CHECK(WaitUntil([&] { return entry().HasTag("replica"); }, 20s, 50ms));
  group.FinishAndCheck();
}

TEST_CASE("diskless: a replica in full synchronisation for a while, then loading what it was sent") {
  ReplicationGroup group({.upstreams = {ReplicationGroup::kNobody, 0},
                          .sentinels = false,
                          .agents_know_sentinels = false,
                          .redis_settings = "repl-diskless-sync yes\n"});
  RedisServer& master = group.redises()[0];
  RedisServer& replica = group.redises()[1];
  group.StartAgentsAndWait();
  REQUIRE(master.Command(
              {"EVAL", "for i = 1, 2000 do redis.call('SET', i, string.rep('x', 1000)) end return 1", "0"}) == "1");
  // Microseconds for each key: sent for some 4 s, read for as long.
  REQUIRE(master.Command({"CONFIG", "SET", "rdb-key-save-delay", "2000"}) == "OK");
  REQUIRE(replica.Command({"CONFIG", "SET", "key-load-delay", "2000"}) == "OK");
  // It answers in between, once for so many bytes: 2 MiB by default.
  REQUIRE(replica.Command({"CONFIG", "SET", "loading-process-events-interval-bytes", "1024"}) == "OK");
  replica.Promote();  // Its history is another one from now on: no partial synchronisation.
  replica.Follow(master);
  CHECK(IsSaid(group, replica, "critical", "full synchronisation from " + master.address() + " is running"));
  CHECK(IsSaid(group, replica, "critical", "loading its data set"));
  CHECK(group.EntryOf(replica.address()).HasTag("replica"));
  CHECK(IsSaid(group, replica, "passing", "in sync"));
  CHECK(group.IsPublished(master.address()));
  CHECK(group.FinishAndCheck().LastAnswer(group.dns()) == master.address());
}
