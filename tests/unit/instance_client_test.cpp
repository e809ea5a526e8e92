#include "redis/instance_client.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "real_server.h"

namespace rcb::redis {
namespace {

using namespace std::chrono_literals;

struct Watcher {
  Watcher(TestLoop& loop, std::uint16_t port, const Credentials& credentials = {}, milliseconds hang_after = 5000ms)
      : client(loop.get(),
               {.endpoint = {"127.0.0.1", port, ""},
                .access = {.credentials = [credentials] { return credentials; }},
                .poll_interval = 20ms,
                .hang_after = hang_after},
               {.on_change = [this] { ++changes; },
                .on_hello = [this](const SentinelHello& hello) { hellos.push_back(hello); }}) {
    client.Start();
  }

  bool Is(Health health) const { return client.state().health == health; }
  bool IsRole(Role role) const { return client.state().info && client.state().info->role == role; }

  int changes = 0;
  std::vector<SentinelHello> hellos;
  InstanceClient client;
};

TEST_CASE("InstanceClient: an answering server, its identity and role") {
  RealServer master;
  RealServer replica("replicaof 127.0.0.1 " + std::to_string(master.port()));
  TestLoop loop;
  Watcher watcher(loop, replica.port());
  CHECK(watcher.Is(Health::kUnknown));
  REQUIRE(loop.RunUntil([&] { return watcher.IsRole(Role::kReplica) && watcher.client.state().info->master_link_up; }));
  CHECK(watcher.Is(Health::kAnswering));
  CHECK(watcher.client.state().server.run_id.size() == 40);
  CHECK(watcher.client.state().server.tcp_port == replica.port());
  CHECK_FALSE(watcher.client.state().loading);
  replica.Ask("REPLICAOF NO ONE");  // Closes nothing: polling sees it.
  CHECK(loop.RunUntil([&] { return watcher.IsRole(Role::kMaster); }));
}

TEST_CASE("InstanceClient: a node of Redis Cluster tells its view of it, where it may be asked") {
  RealServer server("cluster-enabled yes\ncluster-port " + std::to_string(FreePort()));
  TestLoop loop;
  Watcher watcher(loop, server.port());
  REQUIRE(loop.RunUntil([&] { return watcher.client.state().cluster.has_value(); }));
  CHECK(watcher.Is(Health::kAnswering));
  CHECK(watcher.client.state().server.mode == "cluster");
  CHECK_FALSE(watcher.client.state().cluster->info.state_ok);
  CHECK(watcher.client.state().cluster->nodes.slots.empty());
  server.Ask("CLUSTER ADDSLOTSRANGE 0 16383");
  CHECK(loop.RunUntil([&] {
    const auto& cluster = watcher.client.state().cluster;
    return cluster && cluster->info.state_ok && cluster->nodes.slots.size() == SlotSet::kSlots;
  }));
  server.Ask("ACL SETUSER default -cluster");
  CHECK(loop.RunUntil([&] { return !watcher.client.state().cluster; }));
  CHECK(watcher.Is(Health::kAnswering));
  CHECK(watcher.client.state().cluster_trouble.find("NOPERM") != std::string::npos);
}

TEST_CASE("InstanceClient: a killed server is refused, and what it told last stays") {
  RealServer server;
  TestLoop loop;
  Watcher watcher(loop, server.port());
  REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kAnswering); }));
  server.Kill();
  REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kRefused); }));
  CHECK(watcher.client.state().detail.find("refuses connections") != std::string::npos);
  CHECK(watcher.client.state().info);
}

TEST_CASE("InstanceClient: a hung server is silent after hang_after, and answers again when it wakes") {
  RealServer server;
  TestLoop loop;
  Watcher watcher(loop, server.port(), {}, 300ms);
  REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kAnswering); }));
  server.Signal(SIGSTOP);
  const TimePoint stopped = std::chrono::steady_clock::now();
  REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kSilent); }));
  CHECK(std::chrono::steady_clock::now() - stopped >= 270ms);  // Since the last reply, at most a poll before.
  CHECK(watcher.client.state().detail.find("has not answered for 300 ms") != std::string::npos);
  server.Signal(SIGCONT);
  CHECK(loop.RunUntil([&] { return watcher.Is(Health::kAnswering); }));
}

TEST_CASE("InstanceClient: a closed connection is reopened and asked at once") {
  RealServer server;
  TestLoop loop;
  constexpr int kRounds = 20;
  std::vector<std::chrono::microseconds> latencies;
  Watcher watcher(loop, server.port());
  REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kAnswering); }));
  // The killer's own connection is held open and is spared, so that the clock starts at the kill.
  bool killed = false;
  Connection killer(loop.get(), {.endpoint = {"127.0.0.1", server.port(), ""}, .credentials = {}}, {});
  killer.Open();
  for (int round = 0; round < kRounds; ++round) {
    killed = false;
    TimePoint reply_at{};
    killer.Command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}, 5s, [&](const Result<Reply>& reply) {
      CHECK(reply);
      killed = true;
      reply_at = std::chrono::steady_clock::now();
    });
    REQUIRE(loop.RunUntil([&] { return killed; }));
    REQUIRE(loop.RunUntil([&] { return watcher.client.state().info_at > reply_at; }));
    latencies.push_back(
        std::chrono::duration_cast<std::chrono::microseconds>(watcher.client.state().info_at - reply_at));
    CHECK(watcher.Is(Health::kAnswering));
  }
  std::sort(latencies.begin(), latencies.end());
  MESSAGE("close to a new INFO judged: median " << latencies[kRounds / 2].count() << " us, maximum "
                                                << latencies.back().count() << " us");
}

TEST_CASE("InstanceClient: PollNow asks before the interval is over") {
  RealServer server;
  TestLoop loop;
  InstanceClient client(loop.get(), {.endpoint = {"127.0.0.1", server.port(), ""}, .access = {}, .poll_interval = 60s},
                        {});
  client.Start();
  REQUIRE(loop.RunUntil([&] { return client.state().health == Health::kAnswering; }));
  server.Ask("REPLICAOF 127.0.0.1 1");
  for (int i = 0; i < 10; ++i) client.PollNow();
  CHECK(loop.RunUntil([&] { return client.state().info->role == Role::kReplica; }));
}

TEST_CASE("InstanceClient: who may not ask is told what is missing") {
  RealServer server(
      "requirepass right\n"
      "user mute on >mute resetchannels -@all +ping\n"
      "user deaf on >deaf resetchannels -@all +info");
  TestLoop loop;
  SUBCASE("no password") {
    Watcher watcher(loop, server.port());
    REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kDenied); }));
    CHECK(watcher.client.state().detail.find("NOAUTH") != std::string::npos);
  }
  SUBCASE("wrong password") {
    Watcher watcher(loop, server.port(), {"", "wrong"});
    REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kDenied); }));
    CHECK(watcher.client.state().detail.find("wrong") == std::string::npos);
  }
  SUBCASE("no INFO") {
    Watcher watcher(loop, server.port(), {"mute", "mute"});
    REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kDenied); }));
    CHECK(watcher.client.state().detail.find("info") != std::string::npos);
  }
  SUBCASE("no hello channel: a hint less, nothing else") {
    Watcher watcher(loop, server.port(), {"deaf", "deaf"});
    REQUIRE(loop.RunUntil([&] { return watcher.changes > 10; }));
    CHECK(watcher.Is(Health::kAnswering));
  }
}

TEST_CASE("InstanceClient: what is no Redis server") {
  TestLoop loop;
  SUBCASE("HTTP") {
    FakeServer http("HTTP/1.1 400 Bad Request\r\n\r\n");
    Watcher watcher(loop, http.port());
    REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kNotRedis); }));
    CHECK(watcher.client.state().detail.find("does not speak the Redis protocol") != std::string::npos);
  }
  SUBCASE("a Sentinel") {
    RealServer sentinel("", true);
    Watcher watcher(loop, sentinel.port());
    REQUIRE(loop.RunUntil([&] { return watcher.Is(Health::kNotRedis); }));
    REQUIRE(loop.RunUntil([&] { return watcher.changes > 5; }));
    CHECK(watcher.client.state().detail.find("is a Sentinel, not a Redis server") != std::string::npos);
  }
}

TEST_CASE("InstanceClient: a Sentinel's hello is heard on the Redis itself") {
  RealServer server;
  RealServer sentinel("sentinel monitor mymaster 127.0.0.1 " + std::to_string(server.port()) + " 1", true);
  TestLoop loop;
  Watcher watcher(loop, server.port());
  REQUIRE(loop.RunUntil([&] { return !watcher.hellos.empty(); }));
  CHECK(watcher.hellos[0].sentinel.port == sentinel.port());
  CHECK(watcher.hellos[0].view.master_name == "mymaster");
  CHECK(watcher.hellos[0].view.master == Endpoint{"127.0.0.1", server.port(), ""});
}

}  // namespace
}  // namespace rcb::redis
