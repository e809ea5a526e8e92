// A replica that falls behind its master again and again: said once, not each time.

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "tests/integration/figures.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

TEST_CASE("a replica whose lag goes to and fro around replica_max_lag is a warning once") {
  ReplicationGroup group({.upstreams = {ReplicationGroup::kNobody, 0},
                          .sentinels = false,
                          .agents_know_sentinels = false,
                          .agent_settings = R"({"replica_max_lag": "2s"})"});
  RedisServer& master = group.redises()[0];
  RedisServer& replica = group.redises()[1];
  group.StartAgentsAndWait();
  const auto status = [&] { return group.EntryOf(replica.address()).status; };
  const auto write = [&] {
    master.Command({"INCR", "counter"});
    return false;
  };
  const std::uint64_t before = group.consul().RaftIndex();

  constexpr int kTimes = 5;
  std::uint64_t at_first = 0;
  for (int i = 0; i < kTimes; ++i) {
    // What comes from its master waits like any other write (Redis src/server.c processCommand; 7.0), so that nothing
    // is applied: behind for more than 3 s, then for nothing at all for a second.
    replica.Command({"CLIENT", "PAUSE", "60000", "WRITE"});
    WaitUntil(write, 3500ms, 50ms);
    if (i == 0) {
      CHECK(WaitUntil([&] { return status() == "warning"; }, 20s, 50ms));
      CHECK(group.EntryOf(replica.address()).output.find("too far behind") != std::string::npos);
    }
    replica.Command({"CLIENT", "UNPAUSE"});
    CHECK(WaitUntil([&] { return replica.InfoField("slave_repl_offset") == master.InfoField("master_repl_offset"); },
                    10s, 5ms));
    WaitUntil(write, 1s, 50ms);
    if (i == 0) at_first = group.consul().RaftIndex();
  }
  CHECK(status() == "warning");
  const std::uint64_t at_last = group.consul().RaftIndex();
  CHECK(WaitUntil([&] { return status() == "passing"; }, 40s, 50ms));
  const std::uint64_t after = group.consul().RaftIndex();

  // A check and its registration are two or three writes, and a barrier of Consul's own leader comes once a minute.
  CHECK(at_first - before <= 4);
  CHECK(at_last - at_first <= 1);
  CHECK(after - at_last <= 4);
  Figures figures("A replica behind by more than replica_max_lag, " + std::to_string(kTimes) + " times in a row");
  figures.Note("writes to the Raft log: " + std::to_string(at_first - before) + " at the first, " +
               std::to_string(at_last - at_first) + " at the others, " + std::to_string(after - at_last) +
               " when it had kept up for 10 s");
  figures.Print();
  group.FinishAndCheck();
}

TEST_CASE("a replica that lacks more than replica_max_lag_bytes is a warning, however little time that took") {
  constexpr std::int64_t kBound = 200'000;
  ReplicationGroup group({.upstreams = {ReplicationGroup::kNobody, 0},
                          .sentinels = false,
                          .agents_know_sentinels = false,
                          .agent_settings = R"({"replica_max_lag": "24h", "replica_max_lag_bytes": 200000})"});
  RedisServer& master = group.redises()[0];
  RedisServer& replica = group.redises()[1];
  group.StartAgentsAndWait();
  const auto status = [&] { return group.EntryOf(replica.address()).status; };
  const auto missing = [&] {
    return std::stoll(master.InfoField("master_repl_offset")) - std::stoll(replica.InfoField("slave_repl_offset"));
  };
  const auto write = [&](std::size_t bytes) { master.Command({"SET", "key", std::string(bytes, 'x')}); };

  replica.Command({"CLIENT", "PAUSE", "600000", "WRITE"});
  write(kBound / 2);
  // An agent looks at its server five times a second, and at its master once.
  CHECK(HoldsFor([&] { return status() == "passing"; }, 4s, 50ms));
  CHECK(missing() > kBound / 2);
  CHECK(missing() < kBound);

  write(kBound);
  CHECK(WaitUntil([&] { return status() == "warning"; }, 20s, 50ms));
  CHECK(missing() > kBound);
  const HealthEntry behind = group.EntryOf(replica.address());
  CHECK(behind.HasTag("replica"));
  CHECK(behind.output.find("too far behind") != std::string::npos);
  CHECK(group.PublishedMaster() == master.address());

  replica.Command({"CLIENT", "UNPAUSE"});
  CHECK(WaitUntil([&] { return missing() == 0; }, 20s, 50ms));
  CHECK(status() == "warning");  // For another 10 s.
  CHECK(WaitUntil([&] { return status() == "passing"; }, 40s, 50ms));
  group.FinishAndCheck();
}
