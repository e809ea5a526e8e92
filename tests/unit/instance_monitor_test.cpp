#include "redis/instance_monitor.h"

#include <doctest/doctest.h>

#include <string>

namespace rcb::redis {
namespace {

using namespace std::chrono_literals;

const TimePoint kStart{};  // Any origin: only differences matter.

InstanceMonitor MakeMonitor() { return InstanceMonitor({.hang_after = 5s, .name = "10.0.0.1:6379"}, kStart); }

TEST_CASE("InstanceMonitor: only hang_after of silence brings a server down") {
  InstanceMonitor monitor = MakeMonitor();
  REQUIRE(monitor.OnReplicationReply("role:master\r\n", kStart));
  SUBCASE("nothing more is heard") {}
  SUBCASE("it answers nonsense") { CHECK_FALSE(monitor.OnReplicationReply("rol", kStart + 2s)); }
  SUBCASE("its connection closes") { monitor.OnError({ErrorKind::kClosed, "closed"}, kStart + 2s); }
  SUBCASE("it times out") { monitor.OnError({ErrorKind::kTimeout, "timeout"}, kStart + 2s); }
  SUBCASE("its host is unreachable") { monitor.OnError({ErrorKind::kUnreachable, "no route"}, kStart + 2s); }
  SUBCASE("its name is gone") { monitor.OnError({ErrorKind::kUnresolvable, "no name"}, kStart + 2s); }
  SUBCASE("INFO is renamed") { monitor.OnError({ErrorKind::kReply, "ERR unknown command"}, kStart + 2s); }
  CHECK(monitor.deadline() == kStart + 5s);
  monitor.OnTimer(kStart + 5s - 1ms);
  CHECK(monitor.state().health == Health::kAnswering);
  monitor.OnTimer(kStart + 5s);
  CHECK(monitor.state().health == Health::kSilent);
  CHECK(monitor.state().health_since == kStart + 5s);
  CHECK(monitor.state().detail.starts_with("10.0.0.1:6379 has not answered for 5000 ms"));
  CHECK(monitor.state().info->role == Role::kMaster);  // Outlives the loss.
  CHECK(monitor.deadline() == TimePoint::max());
}

TEST_CASE("InstanceMonitor: a reply brings it back and is dated") {
  InstanceMonitor monitor = MakeMonitor();
  CHECK(monitor.state().health == Health::kUnknown);
  REQUIRE(monitor.OnReplicationReply("role:slave\r\n", kStart + 1s));
  REQUIRE(monitor.OnReplicationReply("role:slave\r\n", kStart + 2s));
  CHECK(monitor.state().role_since == kStart + 1s);
  CHECK(monitor.state().info_at == kStart + 2s);
  CHECK(monitor.state().health_since == kStart + 1s);
  monitor.OnTimer(kStart + 7s);
  CHECK(monitor.state().health == Health::kSilent);
  REQUIRE(monitor.OnReplicationReply("role:master\r\n", kStart + 8s));
  CHECK(monitor.state().health == Health::kAnswering);
  CHECK(monitor.state().detail.empty());
  CHECK(monitor.state().health_since == kStart + 8s);
  CHECK(monitor.state().role_since == kStart + 8s);
}

TEST_CASE("InstanceMonitor: some errors are judged at once") {
  struct Row {
    ErrorKind kind;
    Health health;
    TimePoint deadline;
  };
  const Row rows[] = {
      {ErrorKind::kRefused, Health::kRefused, TimePoint::max()},
      {ErrorKind::kProtocol, Health::kNotRedis, TimePoint::max()},
      {ErrorKind::kBusy, Health::kBusy, kStart + 6s},
      {ErrorKind::kAuthentication, Health::kDenied, kStart + 6s},
      {ErrorKind::kPermission, Health::kDenied, kStart + 6s},
  };
  for (const Row& row : rows) {
    InstanceMonitor monitor = MakeMonitor();
    REQUIRE(monitor.OnReplicationReply("role:master\r\n", kStart));
    monitor.OnError({row.kind, "the sentence"}, kStart + 1s);
    CHECK(monitor.state().health == row.health);
    CHECK(monitor.state().detail == "the sentence");
    CHECK(monitor.state().health_since == kStart + 1s);
    CHECK(monitor.deadline() == row.deadline);
    monitor.OnError({row.kind, "the sentence"}, kStart + 2s);
    CHECK(monitor.state().health_since == kStart + 1s);
  }
}

TEST_CASE("InstanceMonitor: a server never heard of") {
  InstanceMonitor monitor = MakeMonitor();
  SUBCASE("tells its trouble before it is judged") {
    monitor.OnError({ErrorKind::kUnresolvable, "nowhere cannot be resolved"}, kStart + 1s);
    CHECK(monitor.state().health == Health::kUnknown);
    CHECK(monitor.state().detail == "nowhere cannot be resolved");
    monitor.OnTimer(kStart + 5s);
    CHECK(monitor.state().health == Health::kSilent);
    CHECK(monitor.state().detail == "10.0.0.1:6379 has not answered for 5000 ms: nowhere cannot be resolved");
  }
  SUBCASE("has no role") {
    CHECK_FALSE(monitor.OnReplicationReply("", kStart + 1s));
    CHECK(monitor.state().health == Health::kNotRedis);
  }
  SUBCASE("is a Sentinel") {
    REQUIRE(monitor.OnServerReply("redis_mode:sentinel\r\nrun_id:5e17\r\n", kStart + 1s));
    CHECK_FALSE(monitor.OnReplicationReply("", kStart + 1s));
    CHECK(monitor.state().health == Health::kNotRedis);
    CHECK(monitor.state().detail == "10.0.0.1:6379 is a Sentinel, not a Redis server");
  }
  SUBCASE("is loading") {
    monitor.OnError({ErrorKind::kLoading, "LOADING"}, kStart + 1s);
    CHECK(monitor.state().health == Health::kUnknown);
    CHECK(monitor.state().loading);
    CHECK(monitor.deadline() == kStart + 6s);
  }
}

TEST_CASE("InstanceMonitor: loading, run id and a changed hang_after") {
  InstanceMonitor monitor = MakeMonitor();
  REQUIRE(monitor.OnServerReply("redis_version:7.0.15\r\nrun_id:aaaa\r\n", kStart));
  CHECK_FALSE(monitor.OnServerReply("nonsense", kStart));
  CHECK(monitor.state().server.run_id == "aaaa");
  monitor.OnPersistenceReply("loading:1\r\n", kStart);
  REQUIRE(monitor.OnReplicationReply("role:master\r\n", kStart));
  CHECK(monitor.state().loading);
  monitor.OnPersistenceReply("loading:0\r\n", kStart);
  CHECK_FALSE(monitor.state().loading);
  monitor.set_hang_after(1s);
  CHECK(monitor.deadline() == kStart + 1s);
}

}  // namespace
}  // namespace rcb::redis
