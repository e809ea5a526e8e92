// Several groups of one host, watched by one agent on the same Sentinels.

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/integration/consul_agent.h"
#include "tests/integration/http_call.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/observer.h"
#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/redis_sentinel.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/secured_access.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// The shipped policy, for each of the services that are published here.
std::string PolicyOfServices() {
  std::string rules;
  for (const std::string service : {"cache", "queue", "late", "mymaster"}) {
    std::string policy = SecuredAccess::ConsulPolicy();
    for (const std::string block : {"service \"redis\" {", "key_prefix \"service/redis/\" {"}) {
      const std::size_t at = policy.find(block);
      REQUIRE(at != std::string::npos);
      policy.replace(at + block.find("redis"), std::string("redis").size(), service);
    }
    rules += policy;
  }
  return rules;
}

/// A master and replicas on this host, by Sentinel's name and Consul's service.
struct Servers {
  std::string name;
  std::string service;
  std::deque<RedisServer> redises;

  Servers(const TestFolder& folder, const std::optional<SecuredAccess>& secured, std::string master_name,
          std::string published, int count)
      : name(std::move(master_name)), service(std::move(published)) {
    for (int i = 0; i < count; ++i) {
      RedisServer::Options options;
      if (secured) {
        options.tls_port = FreePort();
        options.settings = secured->RedisLines(options.tls_port);
        options.password = SecuredAccess::operator_password();
      }
      redises.emplace_back(folder, options).Start();
      if (i > 0) redises.back().Follow(redises.front());
    }
    for (std::size_t i = 1; i < redises.size(); ++i) {
      REQUIRE(WaitUntil([&] { return redises[i].InfoField("master_link_status") == "up"; }, 30s));
    }
  }
  std::string Settings() const {
    std::string list;
    for (const RedisServer& redis : redises) list += (list.empty() ? "\"" : ", \"") + redis.address() + "\"";
    return R"({"service": ")" + service + R"(", "master_name": ")" + name + R"(", "redis": [)" + list + "]}";
  }
};

/// One Consul, three Sentinels, and one agent for all groups.
struct Host {
  TestFolder folder;
  std::optional<SecuredAccess> secured =
      IsSecuredByEnvironment() ? std::make_optional<SecuredAccess>(folder, false) : std::nullopt;
  ConsulAgent consul{folder, ConsulOptions()};
  Servers cache{folder, secured, "mymaster", "cache", 3};
  Servers queue{folder, secured, "queue", "queue", 2};
  std::deque<RedisSentinel> sentinels;
  std::uint16_t port = FreePort();
  std::unique_ptr<Process> agent;

  Host() {
    consul.Start();
    for (int i = 0; i < 3; ++i) {
      RedisSentinel::Options options{.master = cache.redises[0].address(), .down_after = 1500ms};
      if (secured) {
        options.tls_port = FreePort();
        options.settings = secured->SentinelLines(options.tls_port);
        options.password = SecuredAccess::sentinel_password();
        options.own_password = SecuredAccess::operator_password();
      }
      sentinels.emplace_back(folder, options).Start();
    }
    Monitor(queue);
    REQUIRE(WaitUntil([&] { return SentinelsSeeCache(); }, 60s));
    consul.WaitForLeader();
    if (secured) secured->SetToken(consul.CreateToken(PolicyOfServices()));
  }
  ConsulAgent::Options ConsulOptions() const {
    ConsulAgent::Options options;
    if (!secured) return options;
    options.acl = true;
    options.https_port = FreePort();
    options.settings = secured->ConsulSettings(options.https_port);
    return options;
  }

  /// No failover of this one: its down-after is longer than the test.
  void Monitor(const Servers& servers) const {
    for (const RedisSentinel& sentinel : sentinels) {
      REQUIRE(sentinel.Command({"SENTINEL", "MONITOR", servers.name, "127.0.0.1",
                                std::to_string(servers.redises[0].port()), "2"}) == "OK");
      REQUIRE(sentinel.Command({"SENTINEL", "SET", servers.name, "down-after-milliseconds", "300000"}) == "OK");
      if (!secured) continue;
      REQUIRE(sentinel.Command({"SENTINEL", "SET", servers.name, "auth-user", "sentinel", "auth-pass",
                                SecuredAccess::sentinel_password()}) == "OK");
    }
  }
  bool SentinelsSeeCache() const {
    for (const RedisSentinel& sentinel : sentinels) {
      if (!sentinel.SeesGroupAtRest(cache.redises[0].address())) return false;
    }
    return true;
  }
  std::string config() const { return folder.path() / "config.json"; }
  std::string log() const { return ReadFile(folder.path() / "agent.log"); }

  std::string SentinelList() const {
    std::string list;
    for (const RedisSentinel& sentinel : sentinels) list += (list.empty() ? "\"" : ", \"") + sentinel.address() + "\"";
    return list;
  }
  void WriteSettings(const std::vector<const Servers*>& groups) const {
    std::string list;
    for (const Servers* group : groups) list += (list.empty() ? "" : ",\n") + group->Settings();
    WriteFile(config(), CommonSettings() + R"("sentinels": [)" + SentinelList() + "],\n\"groups\": [" + list + "]}");
  }
  void WriteDiscovery() const { WriteFile(config(), CommonSettings() + R"("discover": [)" + SentinelList() + "]}"); }
  /// The start of a JSON object.
  std::string CommonSettings() const {
    std::string access = secured ? secured->AgentSettings() : "{";
    if (secured) access.back() = ',';
    return access + R"("consul": ")" + consul.agents_url() + R"(", "listen": ")" + Loopback(port) +
           R"(", "log_level": "debug", )";
  }
  /// Where the credentials of its unit are.
  std::map<std::string, std::string> Environment() const {
    if (!secured) return {};
    return {{"CREDENTIALS_DIRECTORY", folder.path().string()}};
  }
  void StartAgent() {
    agent = std::make_unique<Process>(Process::Options{.command = {RCB_AGENT_BINARY, "run", "--config", config()},
                                                       .output = folder.path() / "agent.log",
                                                       .environment = Environment()});
  }
  std::string Output(std::vector<std::string> command, int status = 0) const {
    command.insert(command.begin(), RCB_AGENT_BINARY);
    command.insert(command.end(), {"--config", config()});
    const auto output = folder.path() / "command.log";
    WriteFile(output, "");
    Process process({.command = command, .output = output, .environment = Environment()});
    CHECK(process.WaitForExit(30s) == status);
    return ReadFile(output);
  }

  bool IsPublished(const Servers& servers, const std::string& master) const {
    const std::vector<HealthEntry> entries = consul.Health(servers.service);
    if (entries.size() != servers.redises.size()) return false;
    for (const HealthEntry& entry : entries) {
      if (entry.status != "passing" || entry.HasTag("master") != (entry.address == master)) return false;
    }
    return true;
  }
  /// Of a secured host: nothing was denied to the agent, and it told no secret.
  void CheckNothingDenied(const std::vector<const Servers*>& groups) const {
    if (!secured) return;
    std::string denied;
    for (const Servers* group : groups) {
      for (const RedisServer& redis : group->redises) denied += redis.Command({"ACL", "LOG"});
    }
    for (const RedisSentinel& sentinel : sentinels) denied += sentinel.Command({"ACL", "LOG"});
    CAPTURE(denied);
    CHECK_FALSE(Contains(denied, "redis-consul-agent"));
    CHECK_FALSE(Contains(log(), "lacks a rule"));
    for (const std::string& secret : secured->Secrets()) CHECK_FALSE(Contains(log(), secret));
  }
  /// Catalog and claim of a group with their indexes: equal as long as nothing is written to them.
  std::string Written(const Servers& servers) const {
    return HttpCall("GET", consul.url() + "/v1/health/service/" + servers.service).body +
           HttpCall("GET", consul.url() + "/v1/kv/service/" + servers.service + "/master").body;
  }
};

/// The agent's connections to a server, by the server's numbers for them.
std::set<std::string> Connections(const std::string& client_list) {
  std::set<std::string> ids;
  std::istringstream lines(client_list);
  for (std::string line; std::getline(lines, line);) {
    if (Contains(line, "name=redis-consul-agent")) ids.insert(line.substr(0, line.find(' ')));
  }
  return ids;
}

std::set<std::string> Connections(const Servers& servers) {
  std::set<std::string> ids;
  for (const RedisServer& redis : servers.redises) {
    for (const std::string& id : Connections(redis.Command({"CLIENT", "LIST"}))) ids.insert(redis.address() + id);
  }
  return ids;
}

void CheckNeverWrong(const History& history, const std::string& dns) {
  CHECK(history.MostMasters(dns) <= 1);
  for (const History::Violation& violation : history.SupersededAnswers(dns)) FAIL_CHECK(violation.text);
  CHECK(history.UnreadableAnswers(dns).empty());
}

}  // namespace

TEST_CASE("groups of one host: each fails over, is added and removed without the others") {
  Host host;
  const std::string dns = host.consul.dns();
  std::vector<std::string> cache_servers, cache_observed;
  for (const RedisServer& redis : host.cache.redises) {
    cache_servers.push_back(redis.address());
    cache_observed.push_back(redis.address() + "=" + redis.clear_address());
  }
  const RedisServer& queue_first = host.queue.redises[0];
  const std::string password = queue_first.password();
  Observer cache(host.folder, {dns}, cache_observed,
                 {.redis_password = password, .every = 2ms, .service = "cache", .history = "cache"});
  Observer queue(host.folder, {dns}, {queue_first.address() + "=" + queue_first.clear_address()},
                 {.redis_password = password, .every = 2ms, .service = "queue", .history = "queue"});
  const std::string cache_master = host.cache.redises[0].address();
  const std::string queue_master = host.queue.redises[0].address();
  host.WriteSettings({&host.cache, &host.queue});
  host.StartAgent();
  REQUIRE(WaitUntil(
      [&] { return host.IsPublished(host.cache, cache_master) && host.IsPublished(host.queue, queue_master); }, 30s));
  // All groups are asked about on the same two connections.
  for (const RedisSentinel& sentinel : host.sentinels) {
    CHECK(Connections(sentinel.Command({"CLIENT", "LIST"})).size() == 2);
  }

  // What an operator sees.
  const std::string table = host.Output({"status"});
  CHECK(Contains(table, "service: cache"));
  CHECK(Contains(table, "service: queue"));
  for (const RedisServer& redis : host.queue.redises) CHECK(Contains(table, redis.address() + " "));
  CHECK(Contains(host.Output({"explain"}), queue_master + " is published as master, passing of queue"));
  CHECK(Contains(host.Output({"claim", "show", "--service", "queue"}), "queue-"));
  CHECK(Contains(host.Output({"claim", "release"}, 2), "name the one whose claim is to be released"));
  CHECK(Contains(host.Output({"deregister"}, 1), "the agent still runs"));
  const std::string metrics = HttpCall("GET", "http://" + Loopback(host.port) + "/metrics").body;
  CHECK(Contains(metrics, "redis_consul_agent_catalog_masters{service=\"cache\"} 1\n"));
  CHECK(Contains(metrics, "redis_consul_agent_catalog_masters{service=\"queue\"} 1\n"));
  CHECK(HttpCall("GET", "http://" + Loopback(host.port) + "/readyz").status == 200);

  // One fails over.
  std::string untouched = host.Written(host.queue);
  std::set<std::string> connections = Connections(host.queue);
  CHECK(connections.size() >= host.queue.redises.size());
  const Micros start = MonotonicMicros();
  host.cache.redises[0].Kill();
  std::string successor;
  REQUIRE(WaitUntil(
      [&] {
        for (std::size_t i = 1; i < cache_servers.size(); ++i) {
          if (cache.Look().FirstAlone(dns, cache_servers[i], start)) successor = cache_servers[i];
        }
        return !successor.empty();
      },
      60s));
  host.cache.redises[0].Start();
  REQUIRE(WaitUntil([&] { return host.IsPublished(host.cache, successor); }, 90s, 50ms));
  CHECK(host.Written(host.queue) == untouched);
  CHECK(Connections(host.queue) == connections);

  // A third one is added.
  Servers late(host.folder, host.secured, "late", "late", 2);
  host.Monitor(late);
  untouched = host.Written(host.queue);
  const std::string untouched_cache = host.Written(host.cache);
  const std::set<std::string> cache_connections = Connections(host.cache);
  host.WriteSettings({&host.cache, &host.queue, &late});
  host.agent->Signal(SIGHUP);
  REQUIRE(WaitUntil([&] { return host.IsPublished(late, late.redises[0].address()); }, 30s));
  CHECK(host.Written(host.queue) == untouched);
  CHECK(Connections(host.queue) == connections);

  // A wrong file changes nothing.
  WriteFile(host.config(), R"({"groups": [{"service": "cache"}, {"service": "cache", "redis": "h:1"}]})");
  host.agent->Signal(SIGHUP);
  REQUIRE(WaitUntil([&] { return Contains(host.log(), "groups[1]: the service \"cache\" is also that of groups[0]"); },
                    10s));

  // One is removed, whatever it was; the others are left alone.
  host.WriteSettings({&late, &host.cache});
  host.agent->Signal(SIGHUP);
  const Micros removed = MonotonicMicros();
  REQUIRE(WaitUntil([&] { return host.consul.Health("queue").empty(); }, 10s));
  REQUIRE(WaitUntil([&] { return queue.Look().FirstNotListed(dns, queue_master, removed).has_value(); }, 10s));
  CHECK(Connections(host.queue).empty());
  CHECK(host.Written(host.cache) == untouched_cache);
  CHECK(Connections(host.cache) == cache_connections);
  CHECK(host.IsPublished(late, late.redises[0].address()));
  for (const RedisSentinel& sentinel : host.sentinels) {
    CHECK(Connections(sentinel.Command({"CLIENT", "LIST"})).size() == 2);
  }
  CHECK(host.agent->IsRunning());
  host.CheckNothingDenied({&host.cache, &late});

  CheckNeverWrong(cache.Finish(), dns);
  const History& history = queue.Finish();
  CheckNeverWrong(history, dns);
  // Between its publication and its removal the other group was there all the time.
  CHECK(history.ListedIntervals(dns, queue_master).size() == 1);
}

TEST_CASE("groups that Sentinel tells of appear and vanish with SENTINEL MONITOR and REMOVE") {
  Host host;
  host.WriteDiscovery();
  host.StartAgent();
  const std::string cache_master = host.cache.redises[0].address();
  const std::string queue_master = host.queue.redises[0].address();
  host.cache.service = "mymaster";  // Sentinel's name for it.
  REQUIRE(WaitUntil(
      [&] { return host.IsPublished(host.cache, cache_master) && host.IsPublished(host.queue, queue_master); }, 60s));

  Servers late(host.folder, host.secured, "late", "late", 2);
  const std::string untouched = host.Written(host.queue);
  const std::set<std::string> connections = Connections(host.queue);
  host.Monitor(late);
  REQUIRE(WaitUntil([&] { return host.IsPublished(late, late.redises[0].address()); }, 60s));

  // Until no Sentinel has it any more it stays.
  REQUIRE(host.sentinels[0].Command({"SENTINEL", "REMOVE", "late"}) == "OK");
  CHECK(HoldsFor([&] { return host.IsPublished(late, late.redises[0].address()); }, 8s, 50ms));
  for (std::size_t i = 1; i < host.sentinels.size(); ++i) {
    REQUIRE(host.sentinels[i].Command({"SENTINEL", "REMOVE", "late"}) == "OK");
  }
  CHECK(WaitUntil([&] { return host.consul.Health("late").empty(); }, 30s));
  CHECK(host.IsPublished(host.cache, cache_master));
  CHECK(host.Written(host.queue) == untouched);
  CHECK(Connections(host.queue) == connections);

  host.CheckNothingDenied({&host.cache, &host.queue, &late});

  // All Sentinels lost: what is published stays.
  for (RedisSentinel& sentinel : host.sentinels) sentinel.Kill();
  CHECK(HoldsFor([&] { return host.IsPublished(host.queue, queue_master); }, 8s, 50ms));
}
