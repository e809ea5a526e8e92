#include "redis/upstream_client.h"

#include <doctest/doctest.h>

#include <string>

#include "real_server.h"

namespace rcb::redis {
namespace {

using namespace std::chrono_literals;

std::string ReplicaOf(std::uint16_t port) { return "replicaof 127.0.0.1 " + std::to_string(port); }

Endpoint At(const RealServer& server) { return {"127.0.0.1", server.port(), ""}; }

TEST_CASE("UpstreamClient: follows a chain up to the master, and tells where it is cut") {
  RealServer master;
  RealServer middle(ReplicaOf(master.port()));
  TestLoop loop;
  int answers = 0;
  UpstreamClient client(loop.get(), {.access = {}, .poll_interval = 20ms}, [&answers] { ++answers; });
  client.Follow(At(middle));
  REQUIRE(loop.RunUntil([&] { return client.state().master_offset && !client.state().cut_at; }));
  const std::int64_t before = *client.state().master_offset;
  master.Ask("SET key value");
  CHECK(loop.RunUntil([&] { return client.state().master_offset.value_or(0) > before; }));

  SUBCASE("the master dies: the middle passes on what is old") {
    master.Kill();
    REQUIRE(loop.RunUntil([&] { return client.state().cut_at.has_value(); }));
    CHECK(*client.state().cut_at == At(middle));
    CHECK_FALSE(client.state().master_offset);
    CHECK(client.state().cut_since <= std::chrono::steady_clock::now());
  }
  SUBCASE("the middle dies: nothing is known") {
    middle.Kill();
    REQUIRE(loop.RunUntil([&] { return !client.state().master_offset; }));
    CHECK_FALSE(client.state().cut_at);
  }
  SUBCASE("the middle is promoted: it is the master") {
    middle.Ask("REPLICAOF NO ONE");
    master.Kill();
    REQUIRE(loop.RunUntil([&] { return client.state().master_offset && !client.state().cut_at; }));
  }
  SUBCASE("nobody is followed any more") {
    client.Follow(std::nullopt);
    CHECK(client.state() == UpstreamState{});
    const int told = answers;
    CHECK_FALSE(loop.RunUntil([&] { return answers > told; }, 200ms));
  }
}

TEST_CASE("UpstreamClient: servers that follow each other end somewhere") {
  RealServer one;
  RealServer other(ReplicaOf(one.port()));
  one.Ask("REPLICAOF 127.0.0.1 " + std::to_string(other.port()));
  TestLoop loop;
  int answers = 0;
  UpstreamClient client(loop.get(), {.access = {}, .poll_interval = 20ms}, [&answers] { ++answers; });
  client.Follow(At(one));
  CHECK(loop.RunUntil([&] { return answers > 100; }));
  CHECK_FALSE(client.state().master_offset);  // Nobody up there is a master.
}

}  // namespace
}  // namespace rcb::redis
