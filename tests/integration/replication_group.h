#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_agent.h"
#include "tests/integration/figures.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_sentinel.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/secured_access.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// Sentinel converts a returned master 10 to 20 s later; INFO every 10 s, and a failover that has to be tried again
/// waits for twice failover-timeout.
inline constexpr std::chrono::seconds kSentinelDeadline{60};

/// The usual set-up on one machine: a master and two replicas, three Sentinels, one Consul server, an agent beside each
/// Redis, and the observer watching all of it.
class ReplicationGroup {
 public:
  static constexpr int kNobody = -1;

  struct Options {
    std::vector<int> upstreams{kNobody, 0, 0};  ///< One Redis each: the index of its master. The first one is nobody's.
    bool sentinels = true;                      ///< Else there are none.
    int sentinel_count = 3;                     ///< 1 to 3; a quorum of two, or of the only one.
    bool agents_know_sentinels = true;          ///< Else the agents have the `__sentinel__:hello` channel alone.
    /// Each Redis on a host of its own, with a Consul client agent: 127.0.0.2, 127.0.0.3 and so on. The Consul server
    /// and the Sentinels are on 127.0.0.1. Else everything is there.
    bool separate_hosts = false;
    bool script_checks = false;  ///< Consul may run them.
    /// Longer than the second of Sentinel's PING period. Sentinel forgets the old master's link at a switch, but not
    /// when it last opened one: it connects to the new master up to a second later, its first PONG comes after that,
    /// and silence counts from the switch (src/sentinel.c sentinelResetMaster, sentinelReconnectInstance; 7.0). A
    /// down-after of 1 s is then over at times, and Sentinel fails over once more.
    std::chrono::milliseconds down_after{1500};
    std::chrono::milliseconds failover_timeout{6000};
    std::string agent_settings{};  ///< A JSON object, as --config takes it.
    std::map<std::string, std::string> agent_environment{};
    std::string redis_settings{};  ///< Further lines of redis.conf.
    std::string password{};        ///< Of the Redis servers.
    /// TLS and the least permissions on everything, see SecuredAccess.
    bool secured = IsSecuredByEnvironment();
  };

  /// Starts the servers, waits until the replicas are in sync and the Sentinels know one another and them, then starts
  /// the observer. Throws std::runtime_error when that does not come about.
  explicit ReplicationGroup(const Options& options);

  /// Instead of the agents: what people do without a bridge. Every Redis is tagged `master`, and a script check every
  /// 5 s makes critical who does not say so.
  void RegisterScripts();

  void StartAgents();
  /// And waits until the first Redis is published as master and all others as its replicas, in the catalog and at the
  /// Consul agents of the hosts.
  void StartAgentsAndWait();

  /// Gives the agents of a secured group a token that Consul knows: servers that lost their data know none.
  void IssueToken();

  /// Finishes the observer and asserts what always holds: no DNS server ever named two masters nor a superseded one
  /// (for longer than `tolerated`, all times added), the observer sampled at its rate, every agent still runs; of a
  /// secured group also that nothing was denied to the agents and no secret is in their words.
  const History& FinishAndCheck(std::chrono::microseconds tolerated = std::chrono::microseconds(0));

  /// Of every Consul agent of the group.
  std::vector<std::string> DnsServers() const;

  /// Runs `redis-consul-agent` with `words`, let in by the group's Consul server; its exit status.
  std::optional<int> RunCommand(std::vector<std::string> words) const;

  const TestFolder& folder() const { return folder_; }
  ConsulAgent& consul() { return consul_; }  ///< The server.
  std::deque<RedisServer>& redises() { return redises_; }
  std::deque<RedisSentinel>& sentinels() { return sentinels_; }
  std::deque<BridgeAgent>& agents() { return agents_; }
  /// With `separate_hosts`, of each Redis its own.
  std::deque<ConsulAgent>& host_consuls() { return host_consuls_; }
  Observer& observer() { return *observer_; }
  /// The label of the Consul server's answers in the history.
  std::string dns() const { return consul_.dns(); }

  RedisServer& at(const std::string& address);
  std::size_t IndexOf(const std::string& address) const;

  /// The one Redis that DNS names now; empty unless it is exactly one.
  std::string PublishedMaster();

  /// True when every Redis but `master` is published as `replica` and passing, and `master` alone as `master`.
  bool IsPublished(const std::string& master);

  /// What the catalog holds of one Redis ("address:port"); empty: nothing.
  HealthEntry EntryOf(const std::string& address) const;

  /// True when every Sentinel names the one Redis that DNS names.
  bool SentinelsNamePublished() { return SentinelsName(PublishedMaster()); }

  /// True when every Sentinel names `master`.
  bool SentinelsName(const std::string& master);

  /// True when every Sentinel names `master` and sees the group at rest (RedisSentinel::SeesGroupAtRest()).
  bool SentinelsAgree(const std::string& master);

  /// The first Redis other than `old_master` that was promoted after `start` and that DNS then named alone; Sentinel
  /// may have replaced it since. Throws std::runtime_error that tells what is missing when that does not come about, a
  /// promotion within `promotion_deadline` and DNS within `deadline`.
  std::string WaitForSuccessor(const std::string& old_master, Micros start,
                               std::chrono::milliseconds deadline = std::chrono::seconds(10),
                               std::chrono::milliseconds promotion_deadline = kSentinelDeadline);

  /// Waits until all Sentinels see the group at rest under the one Redis that DNS names; returns that. Throws as
  /// WaitForSuccessor().
  std::string WaitForRest();

  /// Waits until `address` has said slave since `start` and the whole group is published; returns its master. Which one
  /// that is is Sentinel's to say: on a busy machine it may fail over once more by itself. Throws as
  /// WaitForSuccessor().
  std::string WaitForReplica(const std::string& address, Micros start);

  /// Adds "promotion to DNS" and "nobody in DNS", counted from `lost`, when the master was lost to its clients.
  void AddMove(Figures& figures, const std::string& kind, const std::string& successor, Micros lost);

 private:
  ConsulAgent::Options ConsulOptions(ConsulAgent::Options options) const;
  void StartRedises(const Options& options);
  void StartSentinels(const Options& options);
  void MakeAgents(const Options& options);

  void CheckNothingDenied() const;

  TestFolder folder_;
  std::optional<SecuredAccess> secured_;
  ConsulAgent consul_;
  std::deque<ConsulAgent> host_consuls_;
  std::deque<RedisServer> redises_;
  std::deque<RedisSentinel> sentinels_;
  std::chrono::microseconds observed_every_{1000};
  std::optional<Observer> observer_;
  std::deque<BridgeAgent> agents_;
};

/// A down-after for scenarios without a failover: no machine is so busy that Sentinel would do one by itself.
inline constexpr std::chrono::seconds kNoFailover{5};

/// The down-after of the figures that README quotes. See Options::down_after for what comes with it.
inline constexpr std::chrono::seconds kQuotedDownAfter{1};

}  // namespace rcb::integration
