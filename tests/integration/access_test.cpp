// How the agent is let in: secrets that change, and every kind of address. With RCB_ACCESS=tls the other programs run
// with TLS and least permissions on everything.

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_agent.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/secured_access.h"
#include "tests/integration/test_folder.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

std::string Quoted(const std::string& key, const std::string& value) { return "\"" + key + "\": \"" + value + "\""; }

/// One Redis, one Consul, and DNS as seen from outside.
struct SmallSetUp {
  explicit SmallSetUp(const RedisServer::Options& redis_options = {}, bool acl = false)
      : consul(folder, {.acl = acl}), redis(folder, redis_options) {
    consul.Start();
    redis.Start();
    consul.WaitForLeader();
    observer.emplace(folder, std::vector<std::string>{consul.dns()}, std::vector<std::string>{});
  }

  bool IsListed() { return observer->Look().LastAnswer(consul.dns()) == redis.address(); }
  std::string Path(const std::string& name) const { return (folder.path() / name).string(); }

  TestFolder folder;
  ConsulAgent consul;
  RedisServer redis;
  std::optional<Observer> observer;
};

}  // namespace

TEST_CASE("TLS, ACLs and the least permissions on everything: the old master is demoted by its agent") {
  ReplicationGroup group({.agent_settings = R"({"on_superseded": "demote"})", .secured = true});
  const std::string first = group.redises()[0].address();
  group.StartAgentsAndWait();
  for (const BridgeAgent& agent : group.agents()) CHECK(agent.Complaints().empty());
  const Micros start = MonotonicMicros();
  REQUIRE(group.sentinels()[0].Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK");
  const std::string successor = group.WaitForSuccessor(first, start);
  Figures figures("TLS and ACLs on everything");
  group.AddMove(figures, "SENTINEL FAILOVER", successor, start);
  group.WaitForReplica(first, start);
  group.WaitForRest();
  CHECK(group.agents()[0].Log().find("made a replica of") != std::string::npos);
  group.FinishAndCheck();
  figures.Print();
}

TEST_CASE("a Consul token that is renewed: everything is registered again before the old one is revoked") {
  SmallSetUp set_up({}, /*acl=*/true);
  const std::string before = set_up.consul.CreateToken(SecuredAccess::ConsulPolicy());
  const std::string after = set_up.consul.CreateToken(SecuredAccess::ConsulPolicy());
  WriteFile(set_up.Path("token"), before + "\n");
  BridgeAgent agent(set_up.folder, {.redis = set_up.redis.address(),
                                    .consul = set_up.consul.url(),
                                    .settings = "{" + Quoted("consul_token_file", set_up.Path("token")) + "}"});
  agent.Start();
  const auto is_listed = [&] { return set_up.IsListed(); };
  const auto is_remembered = [&](const std::string& token) {
    return set_up.consul.RememberedServices().find(token) != std::string::npos;
  };
  REQUIRE(WaitUntil(is_listed, 20s));
  REQUIRE(WaitUntil([&] { return is_remembered(before); }, 20s));

  WriteFile(set_up.Path("token.new"), after + "\n");
  std::filesystem::rename(set_up.Path("token.new"), set_up.Path("token"));
  CHECK(WaitUntil([&] { return is_remembered(after) && !is_remembered(before); }, 20s));
  REQUIRE(set_up.consul.RevokeToken(before));
  CHECK(HoldsFor(is_listed, 3s));
  // What changes is still accepted.
  set_up.redis.Kill();
  CHECK(WaitUntil([&] { return !set_up.IsListed(); }, 20s));
  set_up.redis.Start();
  CHECK(WaitUntil(is_listed, 30s));
  for (const std::string& token : {before, after}) CHECK(agent.Log().find(token) == std::string::npos);
}

TEST_CASE("a password that changes while the agent runs is followed by its file alone") {
  SmallSetUp set_up({.password = "secret-one"});
  const std::string file = set_up.Path("password");
  WriteFile(file, "secret-one\n");
  BridgeAgent agent(set_up.folder, {.redis = set_up.redis.address(),
                                    .consul = set_up.consul.url(),
                                    .settings = "{" + Quoted("redis_password_file", file) + "}"});
  agent.Start();
  const auto is_listed = [&] { return set_up.IsListed(); };
  REQUIRE(WaitUntil(is_listed, 20s));
  const auto change = [&] {
    return RedisCommand(set_up.redis.address(), {"CONFIG", "SET", "requirepass", "secret-two"}, "secret-one");
  };
  const auto drop_connections = [&] {
    RedisCommand(set_up.redis.address(), {"CLIENT", "KILL", "TYPE", "normal"}, "secret-two");
  };
  SUBCASE("the file first: nothing is seen") {
    WriteFile(file, "secret-two\n");
    CHECK(change() == "OK");
    drop_connections();
    CHECK(HoldsFor(is_listed, 2s));
  }
  SUBCASE("the server first: withheld until the file follows") {
    CHECK(change() == "OK");
    drop_connections();
    CHECK(WaitUntil([&] { return !set_up.IsListed(); }, 20s));
    WriteFile(file, "secret-two\n");
    CHECK(WaitUntil(is_listed, 20s));
  }
  CHECK(agent.Log().find("secret-") == std::string::npos);
}

TEST_CASE("a Redis behind a unix socket, at an IPv6 address, and under a name") {
  const TestFolder sockets;
  const std::string socket = (sockets.path() / "redis.sock").string();
  SmallSetUp set_up({.settings = "bind 127.0.0.1 ::1\nunixsocket " + socket + "\n"});
  const std::string port = std::to_string(set_up.redis.port());
  std::string redis;
  SUBCASE("unix socket") { redis = "unix:" + socket; }
  SUBCASE("IPv6") { redis = "[::1]:" + port; }
  SUBCASE("name") { redis = "localhost:" + port; }
  BridgeAgent agent(
      set_up.folder,
      {.redis = redis, .consul = set_up.consul.url(), .arguments = {"--advertise", set_up.redis.address()}});
  agent.Start();
  CHECK(WaitUntil([&] { return set_up.IsListed(); }, 20s));
  set_up.redis.Kill();
  CHECK(WaitUntil([&] { return !set_up.IsListed(); }, 20s));
}

TEST_CASE("a host name is resolved anew whenever a connection opens") {
  SmallSetUp set_up;
  const std::string hosts = set_up.Path("hosts");
  WriteFile(hosts, "127.0.0.9 redis-of-this-host\n");  // Nobody listens there.
  // A name of its own for this agent alone: its /etc/hosts is another file.
  Process agent({.command = {"unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
                             R"(mount --bind "$0" /etc/hosts && exec "$@")", hosts, RCB_AGENT_BINARY, "run", "--redis",
                             "redis-of-this-host:" + std::to_string(set_up.redis.port()), "--consul",
                             set_up.consul.url(), "--advertise", set_up.redis.address()},
                 .output = set_up.Path("agent.log")});
  const auto says = [&](const std::string& text) {
    return ReadFile(set_up.Path("agent.log")).find(text) != std::string::npos;
  };
  REQUIRE(WaitUntil([&] { return says("refuses connections"); }, 20s));
  CHECK_FALSE(set_up.IsListed());
  WriteFile(hosts, "127.0.0.1 redis-of-this-host\n");
  CHECK(WaitUntil([&] { return set_up.IsListed(); }, 20s));
}
