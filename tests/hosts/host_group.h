#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/hosts/network.h"
#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_agent.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_sentinel.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/test_folder.h"

namespace rcb::hosts {

using integration::Micros;

/// Three hosts in three networks, each with Redis, Sentinel, a bridge agent and a Consul server, and a client host in a
/// fourth one with a Consul client agent. All on their usual ports, and all hosts of one name, as cloned machines are.
/// The observer asks every DNS server and every Redis, whoever is cut off.
class HostGroup {
 public:
  static constexpr std::size_t kHosts = 3;
  static constexpr std::size_t kClient = kHosts;  ///< Its place in the network.

  struct Options {
    bool master_beside_consul_leader = false;  ///< The first master is on the host of Consul's leader; else it is not.
    std::string consul_settings{};             ///< A JSON object, merged into each Consul agent's configuration.
    std::string agent_settings{};              ///< A JSON object, as --config takes it.
  };

  /// Starts everything and waits until the group is published and at rest. Throws std::runtime_error.
  explicit HostGroup(const Options& options);

  Network& network() { return network_; }
  integration::ConsulAgent& consul(std::size_t host) { return consuls_[host]; }
  integration::RedisServer& redis(std::size_t host) { return redises_[host]; }
  integration::RedisSentinel& sentinel(std::size_t host) { return sentinels_[host]; }
  integration::BridgeAgent& agent(std::size_t host) { return agents_[host]; }
  integration::Observer& observer() { return *observer_; }
  const integration::TestFolder& folder() const { return folder_; }

  /// Where the first master is, and the two others.
  std::size_t master() const { return master_; }
  std::vector<std::size_t> others() const { return {(master_ + 1) % kHosts, (master_ + 2) % kHosts}; }
  /// Whose Consul server is the leader, as `asked` knows it. Throws std::runtime_error when there is none.
  std::size_t ConsulLeader(std::size_t asked) const;

  // The host is gone, and back: all its processes at once.
  void KillHost(std::size_t host);
  void StartHost(std::size_t host);

  // Packets that the router drops, until network().Heal().
  void CutOff(std::size_t host) const { network_.DropBothWays(Network::all(host), ""); }
  /// The host from the other Consul servers, its own server included.
  void CutFromConsul(std::size_t host) const;
  /// The host from the other Sentinels, its own Sentinel from the other hosts.
  void CutFromSentinels(std::size_t host) const;

  /// The label of a DNS server in the history; that of the client's Consul agent is dns(kClient).
  std::string dns(std::size_t host) const { return consuls_[host].dns(); }
  /// The one Redis that a DNS server names now; empty unless it is exactly one.
  std::string Named(std::size_t host);
  /// True when each of these DNS servers names `master` and nobody else.
  bool AllName(const std::string& master, const std::vector<std::size_t>& servers);

  /// True when a DNS server has named `master` alone ever since `since`.
  bool NamedSince(std::size_t host, const std::string& master, Micros since);

  /// Waits until a Redis other than the one on `old_master` was promoted after `start` and each of these DNS servers
  /// has named it alone; returns its host. Throws std::runtime_error.
  std::size_t WaitForSuccessor(std::size_t old_master, Micros start, const std::vector<std::size_t>& servers);

  /// Waits until every Sentinel and every DNS server name the same one master, all other Redises follow it, and the
  /// catalog says so. Returns its host. Throws std::runtime_error that tells what is missing.
  std::size_t WaitForRest();

  /// Finishes the observer and asserts what always holds: no DNS server ever named two masters, or again one after it
  /// had named another, unless that was promoted since, for longer than `tolerated`; every agent runs but that of a
  /// host that is gone.
  const integration::History& FinishAndCheck(std::chrono::microseconds tolerated = std::chrono::microseconds(0));

  /// redis-resolve on the client's host, against its own Consul agent; "exit N" when it finds none.
  std::string ResolveAtClient();

 private:
  std::vector<std::size_t> EveryServer() const { return {0, 1, 2, kClient}; }
  void StartConsul(const Options& options);
  void StartRedises();
  void StartAgents(const Options& options);
  bool IsPublished(std::size_t master) const;
  std::string WhatIsMissing();

  integration::TestFolder folder_;
  Network network_;
  std::deque<integration::ConsulAgent> consuls_;  ///< The last one is the client's.
  std::deque<integration::RedisServer> redises_;
  std::deque<integration::RedisSentinel> sentinels_;
  std::optional<integration::Observer> observer_;
  std::deque<integration::BridgeAgent> agents_;
  std::size_t master_ = 0;
  std::array<bool, kHosts> is_lost_{};
};

/// For what waits for an election, a conversion by Sentinel (10 to 20 s) or Consul's gossip.
inline constexpr std::chrono::seconds kDeadline{90};

/// Sentinel's down-after. See ReplicationGroup::Options for why it is not a second.
inline constexpr std::chrono::milliseconds kDownAfter{1500};

}  // namespace rcb::hosts
