#include "tests/simulation/world.h"

namespace rcb::simulation {

using namespace std::chrono_literals;

World::World(std::uint64_t seed, const Options& world_options, bool recording)
    : environment(seed, world_options.hosts, recording),
      redis(environment),
      sentinels(environment, redis, world_options.sentinels),
      options(world_options),
      host_is_up_(world_options.hosts, true) {
  const std::size_t agents = options.shared_consul ? 1 : options.hosts;
  for (std::size_t i = 0; i < agents; ++i) {
    const std::string node = "node" + std::to_string(i);
    const std::size_t place = options.shared_consul ? environment.network.consul() : i;
    servers.AddNode(node, "10.0.0." + std::to_string(place + 1));
    agents_.push_back(std::make_unique<ConsulAgent>(environment, servers, node, place));
  }
  for (std::size_t host = 0; host < options.hosts; ++host) {
    bridges_.push_back(
        std::make_unique<BridgeHost>(environment, redis, sentinels, agent_of(host), host, options.bridge));
  }
  redis.on_change = [this](std::size_t server) {
    sentinels.Wake();
    bridge(server).OnRedisChange();
  };
  redis.on_closed = [this](std::size_t server) { bridge(server).OnRedisClosed(); };
  redis.on_pause = [this](std::size_t server) {
    sentinels.Wake();
    bridge(server).OnRedisPause();
  };
  sentinels.on_event = [this](std::size_t sentinel, const redis::SentinelEvent& event) {
    for (const auto& each : bridges_) each->OnSentinelEvent(sentinel, event);
  };
  sentinels.on_hello = [this](std::size_t server, const redis::SentinelHello& hello) { bridge(server).OnHello(hello); };
  sentinels.on_availability = [this](std::size_t) {
    for (const auto& each : bridges_) each->OnSentinelAvailability();
  };
}

void World::Start() {
  for (const auto& each : bridges_) {
    environment.queue.After(environment.Between(0ms, 3s), [bridge = each.get()] { bridge->Start(); });
  }
}

void World::OnNetworkChange() {
  redis.OnNetworkChange();
  sentinels.Wake();
  for (const auto& agent : agents_) agent->OnNetworkChange();
  for (const auto& each : bridges_) each->OnNetworkChange();
}

void World::BeforeDisturbance() {
  for (const auto& each : bridges_) each->BeforeDisturbance();
}

void World::Cut(const std::vector<Direction>& directions) {
  BeforeDisturbance();
  for (const auto& [from, to] : directions) environment.network.Block(from, to);
  environment.history.Note([&] {
    std::string text = "network: cut";
    for (const auto& [from, to] : directions) text += " " + std::to_string(from) + "->" + std::to_string(to);
    return text;
  });
  OnNetworkChange();
}

void World::Mend(const std::vector<Direction>& directions) {
  for (const auto& [from, to] : directions) environment.network.Unblock(from, to);
  environment.history.Note([&] {
    std::string text = "network: mended";
    for (const auto& [from, to] : directions) text += " " + std::to_string(from) + "->" + std::to_string(to);
    return text;
  });
  OnNetworkChange();
}

void World::StopAgent(std::size_t host) {
  BeforeDisturbance();
  agent_of(host).Stop();
}

void World::LoseLeader() {
  BeforeDisturbance();
  servers.LoseLeader(environment.now());
  environment.history.Note([] { return std::string("consul servers: no leader"); });
  for (const auto& agent : agents_) agent->OnLeaderLost();
}

void World::ElectLeader() {
  servers.ElectLeader();
  environment.history.Note([] { return std::string("consul servers: a leader"); });
}

void World::KillHost(std::size_t host) {
  environment.history.Note([&] { return "host" + std::to_string(host) + " is gone"; });
  host_is_up_[host] = false;
  bridge(host).Crash();
  if (agents_.size() > 1) StopAgent(host);
  if (host < sentinels.size() && sentinels.Runs(host)) sentinels.Crash(host);
  if (redis.at(host).running) redis.Kill(host);
}

void World::SuspendHost(std::size_t host) {
  environment.history.Note([&] { return "host" + std::to_string(host) + " is suspended"; });
  host_is_up_[host] = false;
  bridge(host).Pause();
  if (host < sentinels.size() && sentinels.Answers(host)) sentinels.Pause(host);
  if (redis.Answers(host)) redis.Pause(host);
}

void World::StartHost(std::size_t host, bool empty) {
  environment.history.Note([&] { return "host" + std::to_string(host) + " is back"; });
  host_is_up_[host] = true;
  if (redis.at(host).paused) redis.Resume(host);
  if (!redis.at(host).running) redis.Restart(host, empty);
  if (host < sentinels.size()) {
    sentinels.Resume(host);
    if (!sentinels.Runs(host)) sentinels.Restart(host);
  }
  agent_of(host).Start(empty);
  bridge(host).Resume();
  bridge(host).Start();
}

void World::HealProcesses() {
  if (!servers.has_leader()) ElectLeader();
  for (std::size_t host = 0; host < hosts(); ++host) StartHost(host, false);
}

}  // namespace rcb::simulation
