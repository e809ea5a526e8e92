#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "tests/simulation/bridge_host.h"
#include "tests/simulation/consul_agent.h"
#include "tests/simulation/consul_servers.h"
#include "tests/simulation/environment.h"
#include "tests/simulation/redis_model.h"
#include "tests/simulation/sentinel_model.h"

namespace rcb::simulation {

/// One group on several hosts, each with a Redis server and a bridge, the first three with a Sentinel where there are
/// any; Consul agents on each host, or one for all beside the servers.
class World {
 public:
  struct Options {
    std::size_t hosts = 3;
    SentinelModel::Options sentinels;  ///< count 0: none.
    bool shared_consul = false;
    BridgeHost::Options bridge;
  };

  World(std::uint64_t seed, const Options& options, bool recording);

  void Start();

  using Direction = std::pair<std::size_t, std::size_t>;
  void Cut(const std::vector<Direction>& directions);
  void Mend(const std::vector<Direction>& directions);
  void LoseLeader();
  void StopAgent(std::size_t host);
  void ElectLeader();
  void KillHost(std::size_t host);
  void SuspendHost(std::size_t host);
  void StartHost(std::size_t host, bool empty);  ///< After either.
  bool HostIsUp(std::size_t host) const { return host_is_up_[host]; }
  /// Restarts and resumes whatever does not run.
  void HealProcesses();

  ConsulAgent& agent_of(std::size_t host) { return *agents_[agents_.size() == 1 ? 0 : host]; }
  BridgeHost& bridge(std::size_t host) { return *bridges_[host]; }
  const BridgeHost& bridge(std::size_t host) const { return *bridges_[host]; }
  std::size_t hosts() const { return bridges_.size(); }

  Environment environment;
  RedisModel redis;
  SentinelModel sentinels;
  ConsulServers servers;
  const Options options;

 private:
  void OnNetworkChange();
  void BeforeDisturbance();

  std::vector<std::unique_ptr<ConsulAgent>> agents_;
  std::vector<std::unique_ptr<BridgeHost>> bridges_;
  std::vector<bool> host_is_up_;
};

}  // namespace rcb::simulation
