// What is wrong from the start or from outside: one clear line, never a crash, never a master published.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_agent.h"
#include "tests/integration/observer.h"
#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// An agent is given this long to complain: a server that answers nonsense counts as silent for hang_after (5 s) first.
constexpr auto kComplaintDeadline = 10s;
/// And this long to complain again, though it should not.
constexpr auto kPatience = 3s;

bool AnyMentions(const std::vector<std::string>& lines, const std::string& text) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return line.find(text) != std::string::npos; });
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

/// Watches an agent with something wrong: exactly one complaint, which mentions each of `words`, however long it lasts;
/// it keeps running and ends in order.
void CheckComplainsOnce(BridgeAgent& agent, const std::vector<std::string>& words) {
  CHECK(WaitUntil([&] { return !agent.Complaints().empty(); }, kComplaintDeadline));
  CHECK(HoldsFor([&] { return agent.process().IsRunning(); }, kPatience));
  const std::vector<std::string> complaints = agent.Complaints();
  INFO(Joined(complaints));
  CHECK(complaints.size() == 1);
  for (const std::string& word : words) {
    INFO("looking for ", word);
    CHECK(AnyMentions(complaints, word));
  }
}

void CheckEndsInOrder(BridgeAgent& agent) {
  agent.process().Signal(SIGTERM);
  CHECK(agent.process().WaitForExit(5s) == 0);
}

void StartGarbage(std::optional<Process>& server, const TestFolder& folder, std::uint16_t port,
                  const std::string& text) {
  server.emplace(Process::Options{.command = {RCB_GARBAGE_SERVER_BINARY, std::to_string(port), text},
                                  .output = folder.path() / "garbage.log"});
}

/// A Consul with an observer that asserts at the end that no master was ever published.
class EmptyConsul {
 public:
  explicit EmptyConsul(const TestFolder& folder, bool acl = false) : consul_(folder, {.acl = acl}) {
    consul_.Start();
    consul_.WaitForLeader();
    observer_.emplace(folder, std::vector<std::string>{consul_.dns()}, std::vector<std::string>{});
    REQUIRE(WaitUntil([this] { return observer_->Look().LastAnswer(consul_.dns()) == "-"; }, 20s));
  }

  ConsulAgent& consul() { return consul_; }
  bool EverNamedAMaster() { return observer_->Look().MostMasters(consul_.dns()) > 0; }
  bool NamesNow(const std::string& address) { return observer_->Look().LastAnswer(consul_.dns()) == address; }

 private:
  ConsulAgent consul_;
  std::optional<Observer> observer_;
};

}  // namespace

TEST_CASE("an unknown flag: exit 2 and one line that names it") {
  TestFolder folder;
  Process agent({.command = {RCB_AGENT_BINARY, "run", "--no-such-flag"}, .output = folder.path() / "log"});
  CHECK(agent.WaitForExit(5s) == 2);
  const std::string log = ReadFile(folder.path() / "log");
  INFO(log);
  CHECK(log.find("--no-such-flag") != std::string::npos);
  CHECK(std::count(log.begin(), log.end(), '\n') <= 2);  // The fault, and where help is to be had.
}

TEST_CASE("Redis unreachable at the start: said once, published when it comes") {
  TestFolder folder;
  EmptyConsul empty(folder);
  RedisServer redis(folder);
  BridgeAgent agent(folder, {.redis = redis.address(), .consul = empty.consul().url()});
  agent.Start();
  CheckComplainsOnce(agent, {redis.address()});
  CHECK_FALSE(empty.EverNamedAMaster());
  redis.Start();
  CHECK(WaitUntil([&] { return empty.NamesNow(redis.address()); }, 20s));
  CheckEndsInOrder(agent);
}

TEST_CASE("Consul unreachable at the start: said once, published when it comes") {
  TestFolder folder;
  RedisServer redis(folder);
  redis.Start();
  ConsulAgent consul(folder);
  BridgeAgent agent(folder, {.redis = redis.address(), .consul = consul.url()});
  agent.Start();
  CheckComplainsOnce(agent, {Loopback(consul.http_port())});
  consul.Start();
  consul.WaitForLeader();
  Observer observer(folder, {consul.dns()}, {});
  CHECK(WaitUntil([&] { return observer.Look().LastAnswer(consul.dns()) == redis.address(); }, 20s));
  CheckEndsInOrder(agent);
}

TEST_CASE("what answers at the Redis port is no Redis") {
  TestFolder folder;
  EmptyConsul empty(folder);
  std::string port;
  std::optional<Process> garbage;
  SUBCASE("it is Consul's HTTP port") { port = std::to_string(empty.consul().http_port()); }
  const std::uint16_t garbage_port = FreePort();
  SUBCASE("it talks nonsense") { StartGarbage(garbage, folder, garbage_port, "\x01\x02 nonsense \xff\xfe"); }
  SUBCASE("it announces a reply without end") { StartGarbage(garbage, folder, garbage_port, "*2147483647\r\n$-7\r\n"); }
  SUBCASE("it answers an INFO without a role") { StartGarbage(garbage, folder, garbage_port, "$7\r\nrole:no\r\n"); }
  if (port.empty()) port = std::to_string(garbage_port);

  BridgeAgent agent(folder, {.redis = "127.0.0.1:" + port, .consul = empty.consul().url()});
  agent.Start();
  CheckComplainsOnce(agent, {"127.0.0.1:" + port});
  CHECK_FALSE(empty.EverNamedAMaster());
  CheckEndsInOrder(agent);
}

TEST_CASE("a wrong Redis password: said once, never printed, nothing published") {
  TestFolder folder;
  EmptyConsul empty(folder);
  RedisServer redis(folder, {.password = "the-right-password"});
  redis.Start();
  BridgeAgent agent(folder, {.redis = redis.address(),
                             .consul = empty.consul().url(),
                             .environment = {{"REDISCLI_AUTH", "mistaken-secret"}}});
  agent.Start();
  CheckComplainsOnce(agent, {redis.address(), "password"});
  CHECK(agent.Log().find("mistaken-secret") == std::string::npos);
  CHECK_FALSE(empty.EverNamedAMaster());
  CheckEndsInOrder(agent);
}

TEST_CASE("Consul refuses the token: said once with the missing rule, nothing published") {
  TestFolder folder;
  EmptyConsul empty(folder, /*acl=*/true);
  RedisServer redis(folder);
  redis.Start();
  std::string token;
  std::string expected;
  SUBCASE("an unknown token") {
    token = "00000000-1111-2222-3333-444444444444";
    expected = "403";
  }
  SUBCASE("a token without the right to the claim") {
    token = empty.consul().CreateToken(
        R"(service "redis" { policy = "write" } node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" })");
    expected = "service/redis/";
  }
  SUBCASE("a token without the right to the service") {
    token = empty.consul().CreateToken(
        R"(key_prefix "service/redis/" { policy = "write" } node_prefix "" { policy = "read" })"
        R"(service_prefix "" { policy = "read" } agent_prefix "" { policy = "read" })");
    expected = "service:write";  // Consul's own word for the missing rule.
  }
  BridgeAgent agent(
      folder,
      {.redis = redis.address(), .consul = empty.consul().url(), .environment = {{"CONSUL_HTTP_TOKEN", token}}});
  agent.Start();
  CheckComplainsOnce(agent, {expected});
  CHECK(agent.Log().find(token) == std::string::npos);
  CHECK_FALSE(empty.EverNamedAMaster());
  CheckEndsInOrder(agent);
}

TEST_CASE("a token with the rules that the README names is enough") {
  TestFolder folder;
  EmptyConsul empty(folder, /*acl=*/true);
  RedisServer redis(folder);
  redis.Start();
  const std::string token = empty.consul().CreateToken(
      R"(service "redis" { policy = "write" } key_prefix "service/redis/" { policy = "write" })"
      R"(node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" })");
  BridgeAgent agent(
      folder,
      {.redis = redis.address(), .consul = empty.consul().url(), .environment = {{"CONSUL_HTTP_TOKEN", token}}});
  agent.Start();
  CHECK(WaitUntil([&] { return empty.NamesNow(redis.address()); }, 20s));
  INFO(Joined(agent.Complaints()));
  CHECK(agent.Complaints().empty());
  CheckEndsInOrder(agent);
}

TEST_CASE("what answers at Consul's port is no Consul: said once, no crash") {
  TestFolder folder;
  RedisServer redis(folder);
  redis.Start();
  std::optional<Process> garbage;
  const std::uint16_t port = FreePort();
  SUBCASE("no HTTP at all") { StartGarbage(garbage, folder, port, "\x01\x02 nonsense \xff\xfe"); }
  SUBCASE("HTTP with a body that is no JSON") {
    StartGarbage(garbage, folder, port, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<html>no!");
  }
  SUBCASE("JSON of another shape") {
    StartGarbage(garbage, folder, port, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n[[[1]]]");
  }
  BridgeAgent agent(folder, {.redis = redis.address(), .consul = "http://" + Loopback(port)});
  agent.Start();
  CheckComplainsOnce(agent, {Loopback(port)});
  CheckEndsInOrder(agent);
}
