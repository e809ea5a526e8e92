// `redis-consul-agent doctor` on set-ups that are broken on purpose: the remedy that helps comes first.

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "tests/integration/consul_agent.h"
#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/redis_sentinel.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/test_folder.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Diagnosis {
  int status = -1;
  std::string output;
  /// The first thing to do; empty: nothing.
  std::string FirstRemedy() const {
    const std::size_t at = output.find("\n1. ");
    return at == std::string::npos ? "" : output.substr(at + 4, output.find('\n', at + 1) - at - 4);
  }
};

Diagnosis Doctor(const TestFolder& folder, const std::vector<std::string>& arguments,
                 const std::map<std::string, std::string>& environment = {}) {
  const auto output = folder.path() / "doctor.log";
  WriteFile(output, "");
  std::vector<std::string> command = {RCB_AGENT_BINARY, "doctor"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  Process process({.command = command, .output = output, .environment = environment});
  const auto status = process.WaitForExit(60s);
  return {status.value_or(-1), ReadFile(output)};
}

}  // namespace

TEST_CASE("doctor: Redis, Sentinel and DNS") {
  TestFolder folder;
  ConsulAgent consul(folder, {.dns_max_stale = "1s"});
  consul.Start();
  RedisServer redis(folder);
  redis.Start();
  RedisSentinel sentinel(folder, {.master = redis.address(), .quorum = 1});
  sentinel.Start();
  consul.WaitForLeader();
  const std::vector<std::string> usual = {"--redis",    redis.address(), "--consul",
                                          consul.url(), "--sentinel",    sentinel.address()};
  const auto with = [&usual](std::vector<std::string> more) {
    std::vector<std::string> all = usual;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };

  const Diagnosis healthy = Doctor(folder, usual);
  CAPTURE(healthy.output);
  CHECK(healthy.status == 0);
  CHECK(Contains(healthy.output, "good     Redis " + redis.address() + ": version "));
  CHECK(Contains(healthy.output, "good     Sentinel " + sentinel.address() + ": names " + redis.address()));
  CHECK(Contains(healthy.output, "good     Consul token: may do all that is needed"));
  CHECK(Contains(healthy.FirstRemedy(), "Run an agent beside every Redis"));
  CHECK(Contains(Doctor(folder, with({"--json"})).output, "\"healthy\": true"));
  // It left nothing behind.
  CHECK(consul.Health("redis").empty());

  const Diagnosis heard = Doctor(folder, {"--redis", redis.address(), "--consul", consul.url()});
  CHECK(heard.status == 0);
  CHECK(Contains(heard.output, "good     Sentinel " + sentinel.address()));

  const std::string nobody = Loopback(FreePort());
  CHECK(Contains(Doctor(folder, {"--redis", nobody, "--consul", consul.url()}).FirstRemedy(),
                 "Start Redis at " + nobody));
  CHECK(Contains(Doctor(folder, {"--redis", redis.address(), "--consul", "http://" + nobody}).FirstRemedy(),
                 "Start the Consul agent"));
  CHECK(Contains(Doctor(folder, with({"--sentinel", nobody})).FirstRemedy(), "Start the Sentinel at " + nobody));
  CHECK(Contains(Doctor(folder, {"--redis", redis.address(), "--consul", consul.url(), "--sentinel", redis.address()})
                     .FirstRemedy(),
                 "Set sentinels to where Sentinels listen"));
  CHECK(Contains(Doctor(folder, with({"--master-name", "yourmaster"})).FirstRemedy(), "Set master_name"));
  const Diagnosis no_dns = Doctor(folder, with({"--dns", nobody}));
  CHECK(no_dns.status == 1);
  CHECK(Contains(no_dns.FirstRemedy(), "Let Consul's DNS answer at " + nobody));
  CHECK(Doctor(folder, {"--config", (folder.path() / "nothing.json").string()}).status == 2);

  // Consul 1.19.0 answered so: whatever the tag, with everybody.
  const std::uint16_t port = FreePort();
  std::vector<std::string> dnsmasq = {"/usr/sbin/dnsmasq",
                                      "--keep-in-foreground",
                                      "--conf-file=/dev/null",
                                      "--no-resolv",
                                      "--no-hosts",
                                      "--port=" + std::to_string(port),
                                      "--listen-address=127.0.0.1",
                                      "--bind-interfaces",
                                      "--pid-file=",
                                      "--log-facility=-",
                                      "--user=root"};
  for (const char* name : {"redis", "master.redis", "redis-consul-agent-doctor.redis"}) {
    dnsmasq.push_back("--srv-host=" + std::string(name) + ".service.consul,localhost,6379");
  }
  const Process ignores_tags({.command = dnsmasq, .output = folder.path() / "dnsmasq.log"});
  CHECK(WaitUntil(
      [&] {
        return Contains(Doctor(folder, with({"--dns", Loopback(port)})).FirstRemedy(), "Upgrade Consul: 1.19.0");
      },
      20s));

  redis.Command({"CONFIG", "SET", "requirepass", "secret"});
  CHECK(Contains(Doctor(folder, usual).FirstRemedy(), "Set redis_password_file"));
  const Diagnosis with_password = Doctor(folder, usual, {{"REDISCLI_AUTH", "secret"}});
  CHECK(with_password.status == 0);
  CHECK_FALSE(Contains(with_password.output, "secret"));

  // Whoever sleeps for longer than 2 s finds its clock ahead (src/sentinel.c sentinelCheckTiltCondition).
  CHECK(WaitUntil(
      [&] {
        sentinel.process().Signal(SIGSTOP);
        CHECK(HoldsFor([&] { return sentinel.process().IsRunning(); }, 2500ms, 50ms));
        sentinel.process().Signal(SIGCONT);
        return Contains(sentinel.Command({"INFO", "sentinel"}), "sentinel_tilt:1");
      },
      20s));
  CHECK(Contains(Doctor(folder, usual, {{"REDISCLI_AUTH", "secret"}}).FirstRemedy(), "Mend the clock or the load"));
}

TEST_CASE("doctor: Sentinel knows a server by another address than the published one") {
  TestFolder folder;
  ConsulAgent consul(folder, {.dns_max_stale = "1s"});
  consul.Start();
  RedisServer master(folder);
  master.Start();
  // No interface has 127.0.0.2 for its address, which all of Linux answers to.
  RedisServer announced(folder, {.settings = "bind 127.0.0.1 127.0.0.2\nreplica-announce-ip 127.0.0.2\n"});
  announced.Start();
  announced.Follow(master);
  RedisSentinel sentinel(folder, {.master = master.address(), .quorum = 1});
  sentinel.Start();
  consul.WaitForLeader();
  const auto examine = [&](const RedisServer& redis, std::vector<std::string> more) {
    more.insert(more.end(), {"--redis", redis.address(), "--consul", consul.url(), "--sentinel", sentinel.address()});
    return Doctor(folder, more);
  };

  const std::string other = "127.0.0.2:" + std::to_string(announced.port());
  Diagnosis told;
  // Sentinel asks the master for its replicas every 10 s, and then the replica for its run id.
  CHECK(WaitUntil(
      [&] {
        told = examine(announced, {});
        return Contains(told.FirstRemedy(), "Set advertise of " + announced.address());
      },
      60s));
  CAPTURE(told.output);
  CHECK(told.status == 0);
  CHECK(Contains(told.output, "warning  Redis " + announced.address() + ": Sentinel knows it as " + other +
                                  ", and what is published is " + announced.address()));
  for (const std::string& advertise : {other, announced.address()}) {
    CHECK_FALSE(Contains(examine(announced, {"--advertise", advertise}).output, "Sentinel knows it"));
  }
  CHECK_FALSE(Contains(examine(announced, {"--advertise", "127.0.0.2"}).output, "Sentinel knows it"));
  CHECK_FALSE(Contains(examine(master, {}).output, "Sentinel knows it"));
}

TEST_CASE("doctor: a Consul agent that may answer from the past, or whose servers are gone") {
  TestFolder folder;
  ConsulAgent consul(folder);
  consul.Start();
  RedisServer redis(folder);
  redis.Start();
  consul.WaitForLeader();
  const Diagnosis stale = Doctor(folder, {"--redis", redis.address(), "--consul", consul.url()});
  CHECK(stale.status == 0);
  CHECK(Contains(stale.FirstRemedy(), "Set dns_config.max_stale"));

  ConsulAgent lonely(folder, {.node = "lonely", .join = Loopback(FreePort())});
  lonely.Start();
  Diagnosis leaderless;
  CHECK(WaitUntil(
      [&] {
        leaderless = Doctor(folder, {"--redis", redis.address(), "--consul", lonely.url()});
        return Contains(leaderless.FirstRemedy(), "Bring Consul's servers back");
      },
      30s));
  CAPTURE(leaderless.output);
  CHECK(leaderless.status == 1);
}

TEST_CASE("doctor: the token's rules") {
  TestFolder folder;
  ConsulAgent consul(folder, {.acl = true, .dns_max_stale = "1s"});
  consul.Start();
  RedisServer redis(folder);
  redis.Start();
  consul.WaitForLeader();
  const auto examine = [&](const std::string& token) {
    return Doctor(folder, {"--redis", redis.address(), "--consul", consul.url()}, {{"CONSUL_HTTP_TOKEN", token}});
  };
  const std::string agent_rules = "agent_prefix \"\" { policy = \"read\" }\n";
  const std::string node_rules = "node_prefix \"\" { policy = \"read\" }\n";
  const std::string key_rules = "key_prefix \"service/redis/\" { policy = \"write\" }\n";
  const std::string service_rules = "service \"redis\" { policy = \"write\" }\n";

  const Diagnosis unknown = examine("11111111-2222-3333-4444-555555555555");
  CAPTURE(unknown.output);
  CHECK(unknown.status == 1);
  CHECK(Contains(unknown.FirstRemedy(), "Set consul_token_file to a token that Consul knows"));
  CHECK_FALSE(Contains(unknown.output, "11111111"));

  CHECK(Contains(examine(consul.CreateToken(agent_rules + node_rules + service_rules)).FirstRemedy(),
                 "key_prefix \"service/redis/\" write"));
  CHECK(Contains(examine(consul.CreateToken(agent_rules + node_rules + key_rules)).FirstRemedy(),
                 "service \"redis\" write"));
  CHECK(Contains(examine(consul.CreateToken(agent_rules + key_rules + service_rules)).FirstRemedy(),
                 "node_prefix \"\" read"));
  const Diagnosis complete = examine(consul.CreateToken(agent_rules + node_rules + key_rules + service_rules));
  CAPTURE(complete.output);
  CHECK(complete.status == 0);
  CHECK(Contains(complete.output, "Consul token: may do all that is needed"));
}
