// How the agent is let in: TLS and least permissions on everything at once, secrets that change, and every kind of
// address.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/integration/bridge_agent.h"
#include "tests/integration/certificates.h"
#include "tests/integration/consul_agent.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_sentinel.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/test_folder.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

constexpr auto kSetUpDeadline = 30s;
constexpr auto kSentinelDeadline = 60s;

constexpr char kOperatorPassword[] = "secret-of-the-operator";
constexpr char kSentinelPassword[] = "secret-of-the-sentinels";
constexpr char kAgentAtRedis[] = "secret-of-the-agent-at-redis";
constexpr char kAgentAtSentinel[] = "secret-of-the-agent-at-sentinel";

std::string ShippedPolicy() { return ReadFile(RCB_PROJECT_DIR "/packaging/consul/policy.hcl"); }

/// The README's line for an ACL user that has every one of `words` and none of `others`, with a real password.
std::string ShippedUser(const std::vector<std::string>& words, const std::vector<std::string>& others,
                        const std::string& password) {
  std::istringstream readme(ReadFile(RCB_PROJECT_DIR "/README.md"));
  for (std::string line; std::getline(readme, line);) {
    const auto has = [&line](const std::string& word) { return line.find(word) != std::string::npos; };
    if (!line.starts_with("user redis-consul-agent on >PASSWORD ")) continue;
    if (!std::all_of(words.begin(), words.end(), has) || std::any_of(others.begin(), others.end(), has)) continue;
    return line.replace(line.find("PASSWORD"), std::string("PASSWORD").size(), password) + "\n";
  }
  throw std::runtime_error("the README names no such ACL user");
}

std::string Quoted(const std::string& key, const std::string& value) { return "\"" + key + "\": \"" + value + "\""; }

void Require(bool reached, const std::string& what) {
  if (!reached) throw std::runtime_error("the test's set-up failed: " + what);
}

/// A master, two replicas and three Sentinels that speak TLS, ask for certificates and have ACL users, and Consul
/// behind https with mutual TLS and ACLs. Their clear ports, with the operator's password, are this test's back door:
/// nobody else uses them, and what is published are the TLS ports.
class SecuredGroup {
 public:
  /// `redis_user`: the ACL line of the agent.
  SecuredGroup(const std::string& redis_user, const std::string& agent_settings) {
    https_ = FreePort();
    consul_.emplace(folder_,
                    ConsulAgent::Options{
                        .acl = true,
                        .settings = "{\"ports\": {\"https\": " + std::to_string(https_) +
                                    "}, \"verify_incoming_https\": true, " + Quoted("ca_file", ca_.file()) + ", " +
                                    Quoted("cert_file", server_.file) + ", " + Quoted("key_file", server_.key) + "}"});
    consul_->Start();
    StartRedises(redis_user);
    StartSentinels();
    consul_->WaitForLeader();
    token_ = consul_->CreateToken(ShippedPolicy());
    StartAgents(agent_settings);
    std::vector<std::string> roles;
    for (std::size_t i = 0; i < redises_.size(); ++i) roles.push_back(Address(i) + "=" + redises_[i].address());
    observer_.emplace(folder_, std::vector<std::string>{consul_->dns()}, roles,
                      Observer::Options{.redis_password = kOperatorPassword});
    Require(WaitUntil([this] { return IsPublished(Address(0)); }, kSetUpDeadline), "the group is not published");
  }

  /// Of a Redis, over TLS: what is published.
  std::string Address(std::size_t redis) const { return Loopback(tls_ports_[redis]); }
  std::string dns() const { return consul_->dns(); }
  const History& Look() { return observer_->Look(); }
  std::deque<RedisServer>& redises() { return redises_; }
  std::deque<RedisSentinel>& sentinels() { return sentinels_; }
  std::deque<BridgeAgent>& agents() { return agents_; }

  bool IsPublished(const std::string& master) const {
    const std::vector<HealthEntry> entries = consul_->Health("redis");
    return entries.size() == redises_.size() &&
           std::all_of(entries.begin(), entries.end(), [&](const HealthEntry& entry) {
             return entry.status == "passing" && entry.HasTag(entry.address == master ? "master" : "replica");
           });
  }

  bool SentinelsAgree(const std::string& master) const {
    return std::all_of(sentinels_.begin(), sentinels_.end(),
                       [&](const RedisSentinel& sentinel) { return sentinel.SeesGroupAtRest(master); });
  }

  /// The one server that DNS names now; empty unless it is exactly one.
  std::string PublishedMaster() {
    const History::Answer* last = Look().LastWord(dns());
    return last == nullptr || last->masters.size() != 1 ? "" : last->masters[0];
  }

  /// Never two masters, nothing that the agent's users lacked, no secret in its words.
  void FinishAndCheck() {
    const History& history = observer_->Finish();
    CHECK(history.MostMasters(dns()) <= 1);
    for (const History::Violation& violation : history.SupersededAnswers(dns())) FAIL_CHECK(violation.text);
    for (const RedisServer& redis : redises_) CheckNothingDenied(redis.Command({"ACL", "LOG"}));
    for (const RedisSentinel& sentinel : sentinels_) CheckNothingDenied(sentinel.Command({"ACL", "LOG"}));
    for (BridgeAgent& agent : agents_) {
      CHECK(agent.process().IsRunning());
      const std::string log = agent.Log();
      CHECK(log.find("lacks a rule") == std::string::npos);
      for (const std::string& secret : {std::string("secret-of-"), token_}) {
        CHECK(log.find(secret) == std::string::npos);
      }
    }
  }

 private:
  static void CheckNothingDenied(const std::string& acl_log) {
    CAPTURE(acl_log);
    CHECK(acl_log.find("redis-consul-agent") == std::string::npos);
  }

  std::string TlsLines(std::uint16_t port) const {
    return "tls-port " + std::to_string(port) + "\ntls-cert-file " + server_.file + "\ntls-key-file " + server_.key +
           "\ntls-ca-cert-file " + ca_.file() + "\ntls-auth-clients yes\ntls-replication yes\n";
  }

  void StartRedises(const std::string& agent_user) {
    // What Redis's documentation gives to replicas and Sentinels.
    const std::string users = std::string("user replication on >") + kOperatorPassword +
                              " +psync +replconf +ping\nmasteruser replication\nuser sentinel on >" +
                              kSentinelPassword +
                              " allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish "
                              "+info +client|setname +client|kill +script|kill\n" +
                              agent_user;
    for (int i = 0; i < 3; ++i) {
      tls_ports_.push_back(FreePort());
      redises_
          .emplace_back(folder_, RedisServer::Options{.settings = TlsLines(tls_ports_.back()).append(users),
                                                      .password = kOperatorPassword})
          .Start();
      if (i > 0) redises_.back().Command({"REPLICAOF", "127.0.0.1", std::to_string(tls_ports_[0])});
    }
    for (std::size_t i = 1; i < redises_.size(); ++i) {
      Require(WaitUntil([&] { return redises_[i].InfoField("master_link_status") == "up"; }, kSetUpDeadline),
              "a replica does not come into sync over TLS");
    }
  }

  void StartSentinels() {
    const std::string user = ShippedUser({"+sentinel|master ", "+psubscribe"}, {}, kAgentAtSentinel);
    for (int i = 0; i < 3; ++i) {
      sentinel_ports_.push_back(FreePort());
      sentinels_
          .emplace_back(folder_, RedisSentinel::Options{.master = Address(0),
                                                        .down_after = 1500ms,
                                                        .password = kSentinelPassword,
                                                        .own_password = kOperatorPassword,
                                                        .settings = TlsLines(sentinel_ports_.back()) +
                                                                    "sentinel auth-user mymaster sentinel\n" + user})
          .Start();
    }
    Require(WaitUntil([this] { return SentinelsAgree(Address(0)); }, kSentinelDeadline),
            "the Sentinels do not see the group");
  }

  void StartAgents(const std::string& settings) {
    const Certificate own = ca_.Issue("agent", "DNS:agent");
    const std::string folder = folder_.path().string();
    WriteFile(folder_.path() / "at-redis", std::string(kAgentAtRedis) + "\n");
    WriteFile(folder_.path() / "at-sentinel", std::string(kAgentAtSentinel) + "\n");
    WriteFile(folder_.path() / "token", token_ + "\n");
    std::string config = "{" + settings + "\"redis_tls\": true";
    for (const auto& [key, value] :
         std::vector<std::pair<std::string, std::string>>{{"redis_user", "redis-consul-agent"},
                                                          {"redis_password_file", folder + "/at-redis"},
                                                          {"redis_ca_file", ca_.file()},
                                                          {"redis_client_cert", own.file},
                                                          {"redis_client_key", own.key},
                                                          {"sentinel_user", "redis-consul-agent"},
                                                          {"sentinel_password_file", "at-sentinel"},  // A credential.
                                                          {"consul_token_file", folder + "/token"},
                                                          {"consul_ca_file", ca_.file()},
                                                          {"consul_client_cert", own.file},
                                                          {"consul_client_key", own.key}}) {
      config += ", " + Quoted(key, value);
    }
    for (std::size_t i = 0; i < redises_.size(); ++i) {
      BridgeAgent::Options options{.redis = Address(i),
                                   .consul = "https://127.0.0.1:" + std::to_string(https_),
                                   .settings = config + "}",
                                   .environment = {{"CREDENTIALS_DIRECTORY", folder}}};
      for (const std::uint16_t port : sentinel_ports_) options.sentinels.push_back(Loopback(port));
      agents_.emplace_back(folder_, options).Start();
    }
  }

  TestFolder folder_;
  CertificateAuthority ca_{folder_, "authority"};
  Certificate server_ = ca_.Issue("server", "IP:127.0.0.1,DNS:localhost");
  std::uint16_t https_ = 0;
  std::optional<ConsulAgent> consul_;
  std::vector<std::uint16_t> tls_ports_;
  std::vector<std::uint16_t> sentinel_ports_;
  std::deque<RedisServer> redises_;
  std::deque<RedisSentinel> sentinels_;
  std::string token_;
  std::optional<Observer> observer_;
  std::deque<BridgeAgent> agents_;
};

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

TEST_CASE("TLS, ACLs and the least permissions on Redis, Sentinel and Consul: a failover") {
  std::string kind;
  std::string user;
  std::string settings;
  SUBCASE("kill -9 of the master") {
    kind = "kill -9";
    user = ShippedUser({"+info", "&__sentinel__:hello"}, {"+replicaof"}, kAgentAtRedis);
  }
  SUBCASE("SENTINEL FAILOVER, the old master demoted by its agent") {
    kind = "SENTINEL FAILOVER";
    user = ShippedUser({"+info", "&__sentinel__:hello", "+replicaof"}, {}, kAgentAtRedis);
    settings = R"("on_superseded": "demote", )";
  }
  SecuredGroup group(user, settings);
  for (const BridgeAgent& agent : group.agents()) CHECK(agent.Complaints().empty());
  const std::string first = group.Address(0);
  const Micros start = MonotonicMicros();
  if (kind == "kill -9") {
    group.redises()[0].Kill();
  } else {
    REQUIRE(group.sentinels()[0].Command({"SENTINEL", "FAILOVER", "mymaster"}) == "OK");
  }
  std::string successor;
  const auto moved = [&] {
    for (const std::string& address : {group.Address(1), group.Address(2)}) {
      if (group.Look().FirstAlone(group.dns(), address, start)) successor = address;
    }
    return !successor.empty();
  };
  REQUIRE(WaitUntil(moved, kSentinelDeadline));
  const Micros promotion = group.Look().FirstPromotion(successor, start).value();
  const Micros listed = group.Look().FirstListed(group.dns(), successor, start).value();
  if (kind == "kill -9") group.redises()[0].Start();
  const auto is_replica = [&] { return group.Look().FirstRole(first, "slave", start).has_value(); };
  CHECK(WaitUntil(is_replica, kSentinelDeadline));
  const auto at_rest = [&] {
    const std::string master = group.PublishedMaster();
    return !master.empty() && group.SentinelsAgree(master) && group.IsPublished(master);
  };
  CHECK(WaitUntil(at_rest, kSentinelDeadline, 50ms));
  if (kind != "kill -9") CHECK(group.agents()[0].Log().find("made a replica of") != std::string::npos);
  group.FinishAndCheck();
  Figures figures("TLS and ACLs on everything");
  figures.Add(kind + ": promotion to DNS", listed - promotion);
  figures.Print();
}

TEST_CASE("a Consul token that is renewed: everything is registered again before the old one is revoked") {
  SmallSetUp set_up({}, /*acl=*/true);
  const std::string before = set_up.consul.CreateToken(ShippedPolicy());
  const std::string after = set_up.consul.CreateToken(ShippedPolicy());
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
