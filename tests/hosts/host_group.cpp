#include "tests/hosts/host_group.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <stdexcept>

#include "tests/integration/wait_until.h"

namespace rcb::hosts {
namespace {

using integration::BridgeAgent;
using integration::ConsulAgent;
using integration::HealthEntry;
using integration::History;
using integration::Observer;
using integration::Process;
using integration::ReadFile;
using integration::RedisSentinel;
using integration::RedisServer;
using integration::WaitUntil;
using namespace std::chrono_literals;

}  // namespace

HostGroup::HostGroup(const Options& options) : network_(folder_, kHosts + 1) {
  StartConsul(options);
  StartRedises();
  std::vector<std::string> dns;
  std::vector<std::string> redises;
  for (const ConsulAgent& consul : consuls_) dns.push_back(consul.dns());
  for (const RedisServer& redis : redises_) redises.push_back(redis.address());
  observer_.emplace(folder_, dns, redises, Observer::Options{.every = 2ms});
  StartAgents(options);
  if (WaitForRest() != master_) throw std::runtime_error("the test's set-up failed: another master than meant");
}

void HostGroup::StartConsul(const Options& options) {
  std::vector<std::string> servers;
  for (std::size_t i = 0; i < kHosts; ++i) servers.push_back(Network::consul(i));
  for (std::size_t i = 0; i <= kHosts; ++i) {
    ConsulAgent::Options consul{.host = Network::consul(i),
                                .node = "host-" + std::to_string(i + 1),
                                .network_namespace = network_.namespace_of(i),
                                .settings = options.consul_settings};
    if (i < kHosts) {
      consul.servers = servers;
    } else {
      consul.join = servers[0];
    }
    consuls_.emplace_back(folder_, consul).Start();
  }
  for (const ConsulAgent& consul : consuls_) consul.WaitForLeader();
  master_ = ConsulLeader(0);
  if (!options.master_beside_consul_leader) master_ = (master_ + 1) % kHosts;
}

void HostGroup::StartRedises() {
  for (std::size_t i = 0; i < kHosts; ++i) {
    redises_
        .emplace_back(folder_,
                      RedisServer::Options{.host = Network::redis(i), .network_namespace = network_.namespace_of(i)})
        .Start();
  }
  for (const std::size_t i : others()) redises_[i].Follow(redises_[master_]);
  for (const std::size_t i : others()) {
    const auto in_sync = [&] { return redises_[i].InfoField("master_link_status") == "up"; };
    if (!WaitUntil(in_sync, kDeadline)) throw std::runtime_error("the test's set-up failed: a replica is not in sync");
  }
  for (std::size_t i = 0; i < kHosts; ++i) {
    sentinels_
        .emplace_back(folder_, RedisSentinel::Options{.master = redises_[master_].address(),
                                                      .down_after = kDownAfter,
                                                      .host = Network::sentinel(i),
                                                      .network_namespace = network_.namespace_of(i)})
        .Start();
  }
}

void HostGroup::StartAgents(const Options& options) {
  for (std::size_t i = 0; i < kHosts; ++i) {
    BridgeAgent::Options agent{.redis = redises_[i].address(),
                               .consul = consuls_[i].url(),
                               .arguments = {"--advertise", Network::redis(i)},
                               .settings = options.agent_settings,
                               .network_namespace = network_.namespace_of(i)};
    for (const RedisSentinel& sentinel : sentinels_) agent.sentinels.push_back(sentinel.address());
    agents_.emplace_back(folder_, agent).Start();
  }
}

std::size_t HostGroup::ConsulLeader(std::size_t asked) const {
  const std::string leader = consuls_[asked].Leader();
  for (std::size_t i = 0; i < kHosts; ++i) {
    if (leader.starts_with(Network::consul(i) + ":")) return i;
  }
  throw std::runtime_error("Consul has no leader on these hosts: \"" + leader + "\"");
}

void HostGroup::KillHost(std::size_t host) {
  is_lost_[host] = true;
  // Nobody on it may tell of the other deaths, nor a kernel that still answers for its address.
  CutOff(host);
  agents_[host].Kill();
  sentinels_[host].Kill();
  redises_[host].Kill();
  consuls_[host].Kill();
}

void HostGroup::StartHost(std::size_t host) {
  is_lost_[host] = false;
  network_.Heal();
  consuls_[host].Start();
  redises_[host].Start();
  sentinels_[host].Start();
  agents_[host].Start();
}

void HostGroup::CutFromConsul(std::size_t host) const {
  for (std::size_t other = 0; other <= kClient; ++other) {
    if (other == host) continue;
    network_.DropBothWays(Network::all(host), Network::consul(other));
    network_.DropBothWays(Network::consul(host), Network::all(other));
  }
}

void HostGroup::CutFromSentinels(std::size_t host) const {
  for (std::size_t other = 0; other < kHosts; ++other) {
    if (other == host) continue;
    network_.DropBothWays(Network::all(host), Network::sentinel(other));
    network_.DropBothWays(Network::sentinel(host), Network::all(other));
  }
}

std::string HostGroup::Named(std::size_t host) {
  const History::Answer* last = observer_->Look().LastWord(dns(host));
  return last == nullptr || last->masters.size() != 1 ? "" : last->masters[0];
}

bool HostGroup::AllName(const std::string& master, const std::vector<std::size_t>& servers) {
  return std::all_of(servers.begin(), servers.end(), [&](std::size_t host) { return Named(host) == master; });
}

bool HostGroup::NamedSince(std::size_t host, const std::string& master, Micros since) {
  const auto intervals = observer_->Look().ListedIntervals(dns(host), master);
  return !intervals.empty() && intervals.back().begin < since && Named(host) == master;
}

std::size_t HostGroup::WaitForSuccessor(std::size_t old_master, Micros start, const std::vector<std::size_t>& servers) {
  std::size_t successor = kHosts;
  const auto named = [&] {
    const History& history = observer_->Look();
    for (std::size_t i = 0; i < kHosts; ++i) {
      const std::string address = redises_[i].address();
      const bool everywhere = std::all_of(servers.begin(), servers.end(), [&](std::size_t server) {
        return history.FirstAlone(dns(server), address, start).has_value();
      });
      if (i != old_master && everywhere && history.FirstPromotion(address, start)) successor = i;
    }
    return successor != kHosts;
  };
  if (WaitUntil(named, kDeadline)) return successor;
  throw std::runtime_error("nobody else is promoted and named everywhere: " + WhatIsMissing());
}

bool HostGroup::IsPublished(std::size_t master) const {
  // The client's agent passes the question on to the leader.
  const std::vector<HealthEntry> entries = consuls_[kClient].Health("redis");
  return entries.size() == kHosts && std::all_of(entries.begin(), entries.end(), [&](const HealthEntry& entry) {
           const bool is_master = entry.address == redises_[master].address();
           return entry.status == "passing" && entry.HasTag("master") == is_master &&
                  entry.HasTag("replica") == !is_master;
         });
}

std::size_t HostGroup::WaitForRest() {
  std::size_t master = kHosts;
  const auto at_rest = [&] {
    const std::string named = Named(kClient);
    const auto found = std::find_if(redises_.begin(), redises_.end(),
                                    [&](const RedisServer& redis) { return redis.address() == named; });
    if (found == redises_.end() || !AllName(named, EveryServer())) return false;
    master = static_cast<std::size_t>(found - redises_.begin());
    return IsPublished(master) && std::all_of(sentinels_.begin(), sentinels_.end(), [&](const RedisSentinel& sentinel) {
             return sentinel.SeesGroupAtRest(named);
           });
  };
  if (WaitUntil(at_rest, kDeadline, 50ms)) return master;
  throw std::runtime_error("the group does not come to rest: " + WhatIsMissing());
}

std::string HostGroup::WhatIsMissing() {
  const History& history = observer_->Look();
  std::string text = "DNS says";
  for (const std::size_t server : EveryServer()) text += " " + history.LastAnswer(dns(server));
  text += "; Redis";
  for (const RedisServer& redis : redises_) text += " " + redis.address() + " " + history.LastRole(redis.address());
  return text;
}

const History& HostGroup::FinishAndCheck(std::chrono::microseconds tolerated) {
  const History& history = observer_->Finish();
  for (const std::size_t server : EveryServer()) {
    CAPTURE(server);
    CHECK(history.TimeWrong(dns(server)) <= tolerated.count());
    if (tolerated.count() == 0) {
      CHECK(history.MostMasters(dns(server)) == 1);
      for (const History::Violation& violation : history.SupersededAnswers(dns(server))) FAIL_CHECK(violation.text);
    }
    CHECK(history.UnreadableAnswers(dns(server)).empty());
  }
  for (std::size_t i = 0; i < kHosts; ++i) CHECK((is_lost_[i] || agents_[i].process().IsRunning()));
  return history;
}

std::string HostGroup::ResolveAtClient() {
  const std::filesystem::path output = folder_.path() / "resolve.out";
  std::filesystem::remove(output);
  Process resolve({.command = {RCB_RESOLVE_BINARY, "redis", "--dns", dns(kClient)},
                   .output = output,
                   .network_namespace = network_.namespace_of(kClient)});
  const std::optional<int> status = resolve.WaitForExit(20s);
  if (status != 0) return "exit " + (status ? std::to_string(*status) : "never");
  const std::string text = ReadFile(output);
  return text.substr(0, text.find('\n'));
}

}  // namespace rcb::hosts
