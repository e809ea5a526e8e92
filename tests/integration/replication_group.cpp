#include "tests/integration/replication_group.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "tests/integration/wait_until.h"

namespace rcb::integration {
namespace {

using namespace std::chrono_literals;

/// What takes a second where the machine is idle.
constexpr auto kSetUpDeadline = 30s;

void WaitOrThrow(const std::function<bool()>& condition, std::chrono::milliseconds deadline, const std::string& what) {
  if (!WaitUntil(condition, deadline)) throw std::runtime_error("the test's set-up failed: " + what);
}

std::optional<SecuredAccess> Secure(const TestFolder& folder, const ReplicationGroup::Options& options) {
  if (!options.secured) return std::nullopt;
  return std::make_optional<SecuredAccess>(folder, options.agent_settings.find("demote") != std::string::npos);
}

}  // namespace

ReplicationGroup::ReplicationGroup(const Options& options)
    : secured_(Secure(folder_, options)), consul_(folder_, ConsulOptions({.script_checks = options.script_checks})) {
  consul_.Start();
  for (std::size_t i = 0; options.separate_hosts && i < options.upstreams.size(); ++i) {
    const std::string number = std::to_string(i + 2);
    host_consuls_
        .emplace_back(folder_, ConsulOptions({.host = "127.0.0." + number,
                                              .node = "host-" + number,
                                              .join = consul_.serf_address(),
                                              .script_checks = options.script_checks}))
        .Start();
  }
  StartRedises(options);
  if (options.sentinels) StartSentinels(options);
  consul_.WaitForLeader();
  for (const ConsulAgent& agent : host_consuls_) agent.WaitForLeader();

  IssueToken();

  std::vector<std::string> addresses;
  for (const RedisServer& redis : redises_) addresses.push_back(redis.address() + "=" + redis.clear_address());
  // Each client agent asks the server in turn: at every millisecond they would be busy with nothing else.
  if (options.separate_hosts) observed_every_ = 2ms;
  observer_.emplace(
      folder_, DnsServers(), addresses,
      Observer::Options{.redis_password = secured_ ? SecuredAccess::operator_password() : options.password,
                        .every = observed_every_});
  for (const std::string& server : DnsServers()) {
    WaitOrThrow([&] { return observer_->Look().LastAnswer(server) == "-"; }, kSetUpDeadline, "DNS does not answer");
  }
  MakeAgents(options);
}

ConsulAgent::Options ReplicationGroup::ConsulOptions(ConsulAgent::Options options) const {
  if (!secured_) return options;
  options.acl = true;
  options.https_port = FreePort();
  options.settings = secured_->ConsulSettings(options.https_port);
  return options;
}

void ReplicationGroup::StartRedises(const Options& options) {
  for (std::size_t i = 0; i < options.upstreams.size(); ++i) {
    const std::string host = options.separate_hosts ? host_consuls_[i].host() : "127.0.0.1";
    RedisServer::Options redis{.settings = options.redis_settings, .password = options.password, .host = host};
    if (secured_) {
      redis.tls_port = FreePort();
      redis.settings += secured_->RedisLines(redis.tls_port);
      redis.password = SecuredAccess::operator_password();
    }
    redises_.emplace_back(folder_, redis).Start();
  }
  // RCB_SERVER_SAYS: what the INFO of the version that is to be tested has.
  const char* const wanted = std::getenv("RCB_SERVER_SAYS");
  if (wanted != nullptr && redises_[0].Command({"INFO", "server"}).find(wanted) == std::string::npos) {
    throw std::runtime_error("the redis-server in PATH does not say " + std::string(wanted));
  }
  for (std::size_t i = 0; i < options.upstreams.size(); ++i) {
    if (options.upstreams[i] != kNobody) redises_[i].Follow(redises_[static_cast<std::size_t>(options.upstreams[i])]);
  }
  for (std::size_t i = 0; i < options.upstreams.size(); ++i) {
    if (options.upstreams[i] == kNobody) continue;
    WaitOrThrow([&] { return redises_[i].InfoField("master_link_status") == "up"; }, kSetUpDeadline,
                "a replica does not come into sync");
  }
}

void ReplicationGroup::StartSentinels(const Options& options) {
  for (int i = 0; i < options.sentinel_count; ++i) {
    RedisSentinel::Options sentinel{.master = redises_[0].address(),
                                    .quorum = std::min(options.sentinel_count, 2),
                                    .down_after = options.down_after,
                                    .failover_timeout = options.failover_timeout,
                                    .password = options.password};
    if (secured_) {
      sentinel.tls_port = FreePort();
      sentinel.settings = secured_->SentinelLines(sentinel.tls_port);
      sentinel.password = SecuredAccess::sentinel_password();
      sentinel.own_password = SecuredAccess::operator_password();
    }
    sentinels_.emplace_back(folder_, sentinel).Start();
  }
  WaitOrThrow([&] { return SentinelsAgree(redises_[0].address()); }, kSentinelDeadline,
              "the Sentinels do not see the group");
}

void ReplicationGroup::MakeAgents(const Options& options) {
  // The environment would win over it.
  const bool password_in_file = options.agent_settings.find("redis_password_file") != std::string::npos;
  for (std::size_t i = 0; i < redises_.size(); ++i) {
    BridgeAgent::Options agent{.redis = redises_[i].address(),
                               .consul = (options.separate_hosts ? host_consuls_[i] : consul_).agents_url(),
                               .settings = options.agent_settings,
                               .environment = options.agent_environment};
    if (secured_) {
      agent.access = secured_->AgentSettings();
      agent.environment["CREDENTIALS_DIRECTORY"] = folder_.path().string();
    } else if (!options.password.empty() && !password_in_file) {
      agent.environment["REDISCLI_AUTH"] = options.password;
    }
    if (options.agents_know_sentinels) {
      for (const RedisSentinel& sentinel : sentinels_) agent.sentinels.push_back(sentinel.address());
    }
    agents_.emplace_back(folder_, agent);
  }
}

std::vector<std::string> ReplicationGroup::DnsServers() const {
  std::vector<std::string> servers{consul_.dns()};
  for (const ConsulAgent& agent : host_consuls_) servers.push_back(agent.dns());
  return servers;
}

void ReplicationGroup::RegisterScripts() {
  for (const RedisServer& redis : redises_) {
    const std::string script = "REDISCLI_AUTH=" + redis.password() + " redis-cli -u redis://" + redis.clear_address() +
                               " info replication | grep -q role:master || exit 2";
    if (!consul_.RegisterScript("redis", redis.port(), "master", {"/bin/sh", "-c", script})) {
      throw std::runtime_error("the test's set-up failed: Consul refuses a script check");
    }
  }
  WaitOrThrow([&] { return PublishedMaster() == redises_[0].address(); }, kSetUpDeadline,
              "the script checks do not pass");
}

void ReplicationGroup::StartAgents() {
  for (BridgeAgent& agent : agents_) agent.Start();
}

void ReplicationGroup::StartAgentsAndWait() {
  StartAgents();
  WaitOrThrow([&] { return IsPublished(redises_[0].address()); }, kSetUpDeadline,
              "the agents do not publish the group");
  for (std::size_t i = 0; i < redises_.size(); ++i) {
    const ConsulAgent& local = host_consuls_.empty() ? consul_ : host_consuls_[i];
    WaitOrThrow([&] { return local.HoldsLocally("redis", redises_[i].port(), i == 0 ? "master" : "replica"); },
                kSetUpDeadline, "the Consul agent of a host was not told what the catalog says");
  }
}

void ReplicationGroup::IssueToken() {
  if (secured_) secured_->SetToken(consul_.CreateToken(SecuredAccess::ConsulPolicy()));
}

const History& ReplicationGroup::FinishAndCheck(std::chrono::microseconds tolerated) {
  const History& history = observer_->Finish();
  for (const std::string& server : DnsServers()) {
    CAPTURE(server);
    CHECK(history.TimeWrong(server) <= tolerated.count());
    if (tolerated.count() == 0) {
      CHECK(history.MostMasters(server) <= 1);
      for (const History::Violation& violation : history.SupersededAnswers(server)) FAIL_CHECK(violation.text);
    }
    CHECK(history.UnreadableAnswers(server).empty());
  }
  const History::Samples samples = history.SamplesOf("dns:" + dns());
  // It asks about 900 times when every millisecond is wanted; a busy machine may slow it down.
  const std::int64_t least_per_second = 150'000 / observed_every_.count();
  const std::int64_t seconds = samples.seconds - 1 - history.TimeWithoutAnswer(dns()) / 1'000'000;
  CHECK(samples.count >= least_per_second * seconds);
  for (BridgeAgent& agent : agents_) CHECK(agent.process().IsRunning());
  if (secured_) CheckNothingDenied();
  return history;
}

void ReplicationGroup::CheckNothingDenied() const {
  std::vector<std::string> acl_logs;
  for (const RedisServer& redis : redises_) acl_logs.push_back(redis.Command({"ACL", "LOG"}));
  for (const RedisSentinel& sentinel : sentinels_) acl_logs.push_back(sentinel.Command({"ACL", "LOG"}));
  for (const std::string& acl_log : acl_logs) {
    CAPTURE(acl_log);
    CHECK(acl_log.find("redis-consul-agent") == std::string::npos);
  }
  for (const BridgeAgent& agent : agents_) {
    const std::string log = agent.Log();
    CHECK(log.find("lacks a rule") == std::string::npos);
    for (const std::string& secret : secured_->Secrets()) CHECK(log.find(secret) == std::string::npos);
  }
}

std::optional<int> ReplicationGroup::RunCommand(std::vector<std::string> words) const {
  words.insert(words.begin(), RCB_AGENT_BINARY);
  words.insert(words.end(), {"--consul", consul_.agents_url()});
  Process process({.command = std::move(words),
                   .output = folder_.path() / "command.log",
                   .environment = secured_ ? secured_->Environment() : std::map<std::string, std::string>{}});
  return process.WaitForExit(5s);
}

RedisServer& ReplicationGroup::at(const std::string& address) { return redises_[IndexOf(address)]; }

std::size_t ReplicationGroup::IndexOf(const std::string& address) const {
  const auto found = std::find_if(redises_.begin(), redises_.end(),
                                  [&](const RedisServer& redis) { return redis.address() == address; });
  if (found == redises_.end()) throw std::runtime_error("\"" + address + "\" is no Redis of this group");
  return static_cast<std::size_t>(found - redises_.begin());
}

std::string ReplicationGroup::PublishedMaster() {
  const History::Answer* last = observer_->Look().LastWord(dns());
  return last == nullptr || last->masters.size() != 1 ? "" : last->masters[0];
}

bool ReplicationGroup::IsPublished(const std::string& master) {
  const std::vector<HealthEntry> entries = consul_.Health("redis");
  return entries.size() == redises_.size() &&
         std::all_of(entries.begin(), entries.end(), [&](const HealthEntry& entry) {
           const bool is_master = entry.address == master;
           return entry.status == "passing" && entry.HasTag("master") == is_master &&
                  entry.HasTag("replica") == !is_master;
         });
}

HealthEntry ReplicationGroup::EntryOf(const std::string& address) const {
  const std::vector<HealthEntry> entries = consul_.Health("redis");
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const HealthEntry& entry) { return entry.address == address; });
  return found == entries.end() ? HealthEntry() : *found;
}

bool ReplicationGroup::SentinelsName(const std::string& master) {
  return std::all_of(sentinels_.begin(), sentinels_.end(),
                     [&](const RedisSentinel& sentinel) { return sentinel.Names(master); });
}

bool ReplicationGroup::SentinelsAgree(const std::string& master) {
  return std::all_of(sentinels_.begin(), sentinels_.end(), [&](const RedisSentinel& sentinel) {
    return sentinel.SeesGroupAtRest(master, sentinels_.size() - 1);
  });
}

std::string ReplicationGroup::WaitForSuccessor(const std::string& old_master, Micros start,
                                               std::chrono::milliseconds deadline,
                                               std::chrono::milliseconds promotion_deadline) {
  std::vector<std::string> promoted;
  const auto anybody_promoted = [&] {
    promoted.clear();
    for (const RedisServer& redis : redises_) {
      const bool is_promoted = observer_->Look().FirstPromotion(redis.address(), start).has_value();
      if (is_promoted && redis.address() != old_master) promoted.push_back(redis.address());
    }
    return !promoted.empty();
  };
  if (!WaitUntil(anybody_promoted, promotion_deadline)) {
    throw std::runtime_error("nobody is promoted in place of " + old_master);
  }
  std::string successor;
  const auto named = [&] {
    anybody_promoted();  // There may be more of them meanwhile.
    Micros earliest = 0;
    for (const std::string& address : promoted) {
      const std::optional<Micros> at = observer_->Look().FirstAlone(dns(), address, start);
      if (!at || (!successor.empty() && *at >= earliest)) continue;
      earliest = *at;
      successor = address;
    }
    return !successor.empty();
  };
  if (!WaitUntil(named, deadline)) {
    throw std::runtime_error(promoted[0] + " was promoted, DNS says " + observer_->Look().LastAnswer(dns()));
  }
  return successor;
}

std::string ReplicationGroup::WaitForRest() {
  std::string master;
  const auto at_rest = [&] {
    master = PublishedMaster();
    return !master.empty() && SentinelsAgree(master);
  };
  if (!WaitUntil(at_rest, kSentinelDeadline, 50ms)) {
    throw std::runtime_error("the Sentinels do not agree with DNS, which says " + observer_->Look().LastAnswer(dns()));
  }
  return master;
}

std::string ReplicationGroup::WaitForReplica(const std::string& address, Micros start) {
  const auto demoted = [&] { return observer_->Look().FirstRole(address, "slave", start).has_value(); };
  if (!WaitUntil(demoted, kSentinelDeadline)) throw std::runtime_error(address + " is not made a replica");
  std::string master;
  const auto published = [&] {
    master = PublishedMaster();
    return !master.empty() && IsPublished(master);
  };
  if (!WaitUntil(published, kSentinelDeadline, 50ms)) {
    throw std::runtime_error(address + " is a replica, but not all of the group is published");
  }
  return master;
}

void ReplicationGroup::AddMove(Figures& figures, const std::string& kind, const std::string& successor, Micros lost) {
  const History& history = observer_->Look();
  const Micros promotion = history.FirstPromotion(successor, lost).value();
  const Micros listed = history.FirstListed(dns(), successor, lost).value();
  figures.Add(kind + ": promotion to DNS", listed - promotion);
  figures.Add(kind + ": nobody in DNS", history.TimeWithoutMaster(dns(), {lost, listed}));
}

}  // namespace rcb::integration
