#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_server.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_sentinel.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// The usual set-up on one machine: a master and two replicas, three Sentinels, one Consul server, an agent beside each
/// Redis, and the observer watching all of it.
class ReplicationGroup {
 public:
  struct Options {
    bool replicate = true;              ///< Else three fresh servers, each a master for itself.
    bool sentinels = true;              ///< Else there are none.
    bool agents_know_sentinels = true;  ///< Else the agents have the `__sentinel__:hello` channel alone.
  };

  /// Starts the servers, waits until the replicas are in sync and the Sentinels know one another and them, then starts
  /// the observer. Throws std::runtime_error when that does not come about.
  explicit ReplicationGroup(const Options& options);

  void StartAgents();

  /// Finishes the observer and asserts what always holds: DNS never had two masters nor a superseded one, the observer
  /// sampled at its rate, every agent still runs.
  const History& FinishAndCheck();

  ConsulServer& consul() { return consul_; }
  std::deque<RedisServer>& redises() { return redises_; }
  std::deque<RedisSentinel>& sentinels() { return sentinels_; }
  std::deque<BridgeAgent>& agents() { return agents_; }
  Observer& observer() { return *observer_; }
  /// The label of Consul's answers in the history.
  std::string dns() const { return consul_.dns(); }

  RedisServer& at(const std::string& address);

  /// The one Redis that DNS names now; empty unless it is exactly one.
  std::string PublishedMaster();

  /// True when every living Redis but `master` is published as `replica` and passing, and `master` alone as `master`.
  bool IsPublished(const std::string& master);

  /// True when every Sentinel names `master`.
  bool SentinelsName(const std::string& master);

  /// True when every Sentinel names `master` and sees the group at rest (RedisSentinel::SeesGroupAtRest()).
  bool SentinelsAgree(const std::string& master);

 private:
  void WaitForReplication();

  TestFolder folder_;
  ConsulServer consul_;
  std::deque<RedisServer> redises_;
  std::deque<RedisSentinel> sentinels_;
  std::optional<Observer> observer_;
  std::deque<BridgeAgent> agents_;
};

}  // namespace rcb::integration
