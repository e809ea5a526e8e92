#include "tests/simulation/faults.h"

#include <algorithm>
#include <utility>

namespace rcb::simulation {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kForgedEpoch = 1000;

void AddBothWays(std::vector<World::Direction>& directions, std::size_t a, std::size_t b) {
  directions.emplace_back(a, b);
  directions.emplace_back(b, a);
}

}  // namespace

Faults::Faults(World& world, Invariants& invariants) : world_(world), invariants_(invariants) {}

const std::vector<Faults::Kind>& Faults::AllKinds() {
  static const std::vector<Kind> kinds = {
      {"redis killed", &Faults::KillRedis, 10, false, false},
      {"redis paused", &Faults::PauseRedis, 8, false, false},
      {"host killed", &Faults::KillHost, 7, false, false},
      {"host suspended", &Faults::SuspendHost, 5, false, false},
      {"bridge crashed", &Faults::CrashBridge, 6, false, false},
      {"bridge upgraded", &Faults::UpgradeBridge, 4, false, false},
      {"bridge paused", &Faults::PauseBridge, 5, false, false},
      {"consul agent restarted", &Faults::RestartConsulAgent, 6, false, false},
      {"consul leader lost", &Faults::LoseConsulLeader, 6, false, false},
      {"host killed, consul's leader on it", &Faults::KillHostAndLeader, 5, false, false},
      {"host cut from consul", &Faults::CutFromConsul, 7, false, false},
      {"host cut from hosts", &Faults::CutFromHosts, 7, false, false},
      {"host cut from everything", &Faults::CutFromAll, 9, false, false},
      {"network cut at random", &Faults::CutRandomly, 5, false, false},
      {"network cut one way", &Faults::CutOneWay, 5, false, false},
      {"operator promotes by hand", &Faults::PromoteByHand, 4, false, false},
      {"operator demotes by hand", &Faults::DemoteByHand, 3, false, false},
      {"operator releases the claim", &Faults::ReleaseClaim, 2, false, false},
      {"garbage written into the claim", &Faults::SpoilClaim, 2, false, false},
      {"claim of a newer version", &Faults::WriteNewerClaim, 2, false, false},
      {"claim denied by ACL", &Faults::DenyClaim, 4, false, false},
      {"somebody removes an instance from the catalog", &Faults::RemoveEntry, 4, false, false},
      {"somebody writes a second master into the catalog", &Faults::ForgeEntry, 4, false, false},
      {"sentinels cut from each other", &Faults::CutSentinels, 4, true, false},
      {"sentinel crashed", &Faults::CrashSentinel, 4, true, false},
      {"all sentinels crashed", &Faults::CrashAllSentinels, 3, true, false},
      {"sentinel paused", &Faults::PauseSentinel, 3, true, false},
      {"sentinel in tilt", &Faults::TiltSentinel, 2, true, false},
      {"operator asks SENTINEL FAILOVER", &Faults::SentinelFailover, 10, true, false},
      {"operator resets a sentinel", &Faults::ResetSentinel, 3, true, false},
      {"operator monitors anew at epoch 0", &Faults::MonitorAnew, 5, true, false},
      {"operator hands over", &Faults::HandOver, 10, false, true},
      {"hello forged", &Faults::ForgeHello, 3, true, false},
      {"operator fails over", &Faults::FailOverByHand, 12, false, true},
  };
  return kinds;
}

std::vector<std::string> Faults::Kinds(bool with_sentinels) {
  std::vector<std::string> names;
  for (const Kind& kind : AllKinds()) {
    if (with_sentinels ? !kind.needs_none : !kind.needs_sentinels) names.emplace_back(kind.name);
  }
  return names;
}

void Faults::Plan(std::size_t count, Duration period) {
  until_ = world_.environment.now() + period;
  for (std::size_t i = 0; i < count; ++i) {
    world_.environment.queue.After(world_.environment.Between(0s, period * 3 / 4), [this] { Happen(); });
  }
}

void Faults::Happen() {
  const bool with_sentinels = world_.sentinels.size() > 0;
  const auto& kinds = AllKinds();
  for (int attempt = 0; attempt < 8; ++attempt) {
    int total = 0;
    for (const Kind& kind : kinds) total += kind.weight;
    auto drawn = static_cast<int>(world_.environment.random.Below(static_cast<std::size_t>(total)));
    const Kind* kind = kinds.data();
    while (drawn >= kind->weight) drawn -= (kind++)->weight;
    if (with_sentinels ? kind->needs_none : kind->needs_sentinels) continue;
    world_.environment.history.Note([&] { return std::string("FAULT: ") + kind->name; });
    if (!(this->*kind->happen)()) continue;
    world_.environment.history.Count(kind->name);
    return;
  }
}

/// Mostly short enough to be hardly seen, or long enough for a failover.
Duration Faults::Length() {
  Random& random = world_.environment.random;
  if (random.Chance(0.3)) return random.Between(50ms, 3s);
  return random.Between(2s, 30s);
}

void Faults::Undo(Duration after, std::function<void()> undo) {
  world_.environment.queue.At(std::min(world_.environment.now() + after, until_), std::move(undo));
}

void Faults::End() {
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    if (world_.servers.DeniesKey(host)) Deny(host, ConsulServers::Denial::kNone);
  }
  if (!cut_.empty()) world_.Mend(std::exchange(cut_, {}));
  world_.HealProcesses();
}

std::size_t Faults::LikelyMaster() {
  const auto served = invariants_.ServedMasters();
  if (!served.empty() && world_.environment.random.Chance(0.65)) return *served.begin();
  return AnyHost();
}

// --- Processes
// --------------------------------------------------------------------------------------------------------

bool Faults::KillRedis() {
  const std::size_t host = LikelyMaster();
  if (!world_.redis.at(host).running) return false;
  world_.redis.Kill(host);
  Undo(Length(), [this, host, empty = world_.environment.random.Chance(0.4)] {
    if (world_.HostIsUp(host) && !world_.redis.at(host).running) world_.redis.Restart(host, empty);
  });
  return true;
}

bool Faults::PauseRedis() {
  const std::size_t host = LikelyMaster();
  if (!world_.redis.Answers(host)) return false;
  world_.redis.Pause(host);
  Undo(Length(), [this, host] {
    if (world_.HostIsUp(host)) world_.redis.Resume(host);
  });
  return true;
}

bool Faults::KillHost() {
  const std::size_t host = LikelyMaster();
  if (!world_.HostIsUp(host)) return false;
  world_.KillHost(host);
  Undo(Length(), [this, host, empty = world_.environment.random.Chance(0.4)] {
    if (!world_.HostIsUp(host)) world_.StartHost(host, empty);
  });
  return true;
}

bool Faults::SuspendHost() {
  const std::size_t host = LikelyMaster();
  if (!world_.HostIsUp(host)) return false;
  world_.SuspendHost(host);
  std::vector<World::Direction> directions;
  for (std::size_t other = 0; other <= world_.hosts(); ++other) {
    if (other != host) AddBothWays(directions, host, other);
  }
  const Duration length = Length();
  CutFor(directions);
  Undo(length, [this, host] {
    if (!world_.HostIsUp(host)) world_.StartHost(host, false);
  });
  return true;
}

bool Faults::CrashBridge() {
  const std::size_t host = LikelyMaster();
  if (!world_.bridge(host).running()) return false;
  world_.bridge(host).Crash();
  Undo(Length(), [this, host] {
    if (world_.HostIsUp(host)) world_.bridge(host).Start();
  });
  return true;
}

/// Away for less than the TTL.
bool Faults::UpgradeBridge() {
  const std::size_t host = LikelyMaster();
  if (!world_.bridge(host).running()) return false;
  world_.bridge(host).Crash();
  Undo(world_.environment.Between(200ms, 5s), [this, host] {
    if (world_.HostIsUp(host)) world_.bridge(host).Start();
  });
  return true;
}

bool Faults::PauseBridge() {
  const std::size_t host = LikelyMaster();
  if (!world_.bridge(host).running()) return false;
  world_.bridge(host).Pause();
  Undo(Length(), [this, host] {
    if (world_.HostIsUp(host)) world_.bridge(host).Resume();
  });
  return true;
}

bool Faults::RestartConsulAgent() {
  const std::size_t host = LikelyMaster();
  ConsulAgent& agent = world_.agent_of(host);
  if (!agent.running()) return false;
  world_.StopAgent(host);
  Undo(Length() / 3, [this, host, &agent, empty = world_.environment.random.Chance(0.5)] {
    if (world_.HostIsUp(host)) agent.Start(empty);
  });
  return true;
}

bool Faults::LoseConsulLeader() {
  if (!world_.servers.has_leader()) return false;
  world_.LoseLeader();
  Undo(world_.environment.Between(100ms, 12s), [this] {
    if (!world_.servers.has_leader()) world_.ElectLeader();
  });
  return true;
}

bool Faults::KillHostAndLeader() { return KillHost() && LoseConsulLeader(); }

// --- Network
// ----------------------------------------------------------------------------------------------------------

bool Faults::CutFor(std::vector<World::Direction> directions) {
  if (directions.empty()) return false;
  world_.Cut(directions);
  cut_.insert(cut_.end(), directions.begin(), directions.end());
  Undo(Length(), [this, directions] {
    for (const World::Direction& direction : directions) {
      const auto found = std::find(cut_.begin(), cut_.end(), direction);
      if (found == cut_.end()) return;  // End() was first.
      cut_.erase(found);
    }
    world_.Mend(directions);
  });
  return true;
}

bool Faults::CutFromConsul() {
  std::vector<World::Direction> directions;
  AddBothWays(directions, LikelyMaster(), world_.environment.network.consul());
  return CutFor(directions);
}

bool Faults::CutFromHosts() {
  const std::size_t host = LikelyMaster();
  std::vector<World::Direction> directions;
  for (std::size_t other = 0; other < world_.hosts(); ++other) {
    if (other != host) AddBothWays(directions, host, other);
  }
  return CutFor(directions);
}

bool Faults::CutFromAll() {
  const std::size_t host = LikelyMaster();
  std::vector<World::Direction> directions;
  for (std::size_t other = 0; other <= world_.hosts(); ++other) {
    if (other != host) AddBothWays(directions, host, other);
  }
  return CutFor(directions);
}

bool Faults::CutRandomly() {
  std::vector<World::Direction> directions;
  for (std::size_t a = 0; a <= world_.hosts(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      if (world_.environment.random.Chance(0.4)) AddBothWays(directions, a, b);
    }
  }
  return CutFor(directions);
}

bool Faults::CutOneWay() {
  std::vector<World::Direction> directions;
  for (std::size_t a = 0; a <= world_.hosts(); ++a) {
    for (std::size_t b = 0; b <= world_.hosts(); ++b) {
      if (a != b && world_.environment.random.Chance(0.25)) directions.emplace_back(a, b);
    }
  }
  return CutFor(directions);
}

bool Faults::CutSentinels() {
  std::vector<World::Direction> directions;
  const std::size_t lonely = world_.environment.random.Below(world_.sentinels.size());
  for (std::size_t other = 0; other < world_.sentinels.size(); ++other) {
    if (other != lonely) AddBothWays(directions, lonely, other);
  }
  return CutFor(directions);
}

// --- Sentinels
// --------------------------------------------------------------------------------------------------------

bool Faults::CrashSentinel() {
  const std::size_t sentinel = world_.environment.random.Below(world_.sentinels.size());
  if (!world_.sentinels.Runs(sentinel)) return false;
  world_.sentinels.Crash(sentinel);
  Undo(Length(), [this, sentinel] {
    if (world_.HostIsUp(sentinel) && !world_.sentinels.Runs(sentinel)) world_.sentinels.Restart(sentinel);
  });
  return true;
}

bool Faults::CrashAllSentinels() {
  for (std::size_t sentinel = 0; sentinel < world_.sentinels.size(); ++sentinel) {
    if (world_.sentinels.Runs(sentinel)) world_.sentinels.Crash(sentinel);
  }
  Undo(Length(), [this] {
    for (std::size_t sentinel = 0; sentinel < world_.sentinels.size(); ++sentinel) {
      if (world_.HostIsUp(sentinel) && !world_.sentinels.Runs(sentinel)) world_.sentinels.Restart(sentinel);
    }
  });
  return true;
}

bool Faults::PauseSentinel() {
  const std::size_t sentinel = world_.environment.random.Below(world_.sentinels.size());
  if (!world_.sentinels.Answers(sentinel)) return false;
  world_.sentinels.Pause(sentinel);
  Undo(Length(), [this, sentinel] {
    if (world_.HostIsUp(sentinel)) world_.sentinels.Resume(sentinel);
  });
  return true;
}

bool Faults::TiltSentinel() {
  const std::size_t sentinel = world_.environment.random.Below(world_.sentinels.size());
  if (!world_.sentinels.Answers(sentinel)) return false;
  world_.sentinels.Tilt(sentinel);
  return true;
}

bool Faults::SentinelFailover() {
  return world_.sentinels.Failover(world_.environment.random.Below(world_.sentinels.size()));
}

bool Faults::ResetSentinel() {
  const std::size_t sentinel = world_.environment.random.Below(world_.sentinels.size());
  if (!world_.sentinels.Answers(sentinel)) return false;
  world_.sentinels.Reset(sentinel);
  return true;
}

/// On all of them within a few seconds, with the server that says master and has replicas.
bool Faults::MonitorAnew() {
  std::size_t best = world_.hosts();
  std::size_t most = 0;
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    if (!world_.redis.Answers(host) || !world_.redis.IsMaster(host)) continue;
    std::size_t replicas = 0;
    for (std::size_t other = 0; other < world_.hosts(); ++other) {
      const RedisModel::Server& server = world_.redis.at(other);
      replicas +=
          server.role == redis::Role::kReplica && server.upstream == host && server.link == RedisModel::Link::kUp;
    }
    if (replicas > most) {
      most = replicas;
      best = host;
    }
  }
  if (best == world_.hosts()) return false;
  for (std::size_t sentinel = 0; sentinel < world_.sentinels.size(); ++sentinel) {
    if (!world_.sentinels.Answers(sentinel)) return false;
  }
  invariants_.OnSentinelReset();
  for (std::size_t sentinel = 0; sentinel < world_.sentinels.size(); ++sentinel) {
    world_.environment.queue.After(world_.environment.Between(1ms, 1500ms),
                                   [this, sentinel, best] { world_.sentinels.Monitor(sentinel, best); });
  }
  return true;
}

// --- Operators
// --------------------------------------------------------------------------------------------------------

bool Faults::PromoteByHand() {
  const std::size_t host = AnyHost();
  if (!world_.redis.Answers(host) || world_.redis.IsMaster(host)) return false;
  world_.redis.ReplicaOf(host, std::nullopt, RedisModel::Origin::kOperator);
  return true;
}

bool Faults::DemoteByHand() {
  const std::size_t host = LikelyMaster();
  const std::size_t upstream = AnyHost();
  if (!world_.redis.Answers(host) || host == upstream) return false;
  world_.redis.ReplicaOf(host, upstream, RedisModel::Origin::kOperator);
  return true;
}

/// A planned handover without Sentinel: the new one first, then everybody after it.
bool Faults::HandOver() {
  const std::size_t host = AnyHost();
  const RedisModel::Server& server = world_.redis.at(host);
  if (!world_.redis.Answers(host) || server.role != redis::Role::kReplica || server.link != RedisModel::Link::kUp) {
    return false;
  }
  world_.redis.ReplicaOf(host, std::nullopt, RedisModel::Origin::kOperator);
  for (std::size_t other = 0; other < world_.hosts(); ++other) {
    if (other == host) continue;
    world_.environment.queue.After(world_.environment.Between(1ms, 3s), [this, other, host] {
      world_.redis.ReplicaOf(other, host, RedisModel::Origin::kOperator);
    });
  }
  return true;
}

/// The master is gone: the operator promotes a replica and points the others, and the old master's file, to it.
bool Faults::FailOverByHand() {
  const auto holder = invariants_.Holder();
  if (!holder || !world_.redis.at(*holder).running) return false;
  world_.redis.Kill(*holder);
  world_.environment.queue.After(world_.environment.Between(1s, 10s), [this, old = *holder] {
    std::size_t best = world_.hosts();
    for (std::size_t host = 0; host < world_.hosts(); ++host) {
      if (host == old || !world_.redis.Answers(host) || world_.redis.at(host).role != redis::Role::kReplica) continue;
      if (best == world_.hosts() || world_.redis.Offset(host) > world_.redis.Offset(best)) best = host;
    }
    if (best == world_.hosts()) return;
    world_.redis.ReplicaOf(best, std::nullopt, RedisModel::Origin::kSentinel);
    for (std::size_t host = 0; host < world_.hosts(); ++host) {
      if (host == best || host == old) continue;
      world_.redis.ReplicaOf(host, best, RedisModel::Origin::kSentinel);
    }
  });
  Undo(world_.environment.Between(2s, 30s), [this, host = *holder, empty = world_.environment.random.Chance(0.3)] {
    if (world_.HostIsUp(host) && !world_.redis.at(host).running) world_.redis.Restart(host, empty);
  });
  return true;
}

bool Faults::ReleaseClaim() {
  if (!invariants_.claim()) return false;
  world_.environment.history.Note([] { return std::string("operator: claim release"); });
  world_.servers.DeleteKey();
  return true;
}

bool Faults::SpoilClaim() {
  const std::string garbage = "{\"holder\": 6379";
  invariants_.OnForeignValue(garbage);
  world_.environment.history.Note([] { return std::string("somebody writes garbage into the claim"); });
  world_.servers.OverwriteKey(garbage);
  return true;
}

/// Of an upgrade that was tried and taken back.
bool Faults::WriteNewerClaim() {
  const consul::KvPair before = world_.servers.key();
  if (before.modify_index == 0 || !invariants_.claim()) return false;
  const std::string newer = R"({"authority":"quorum","epoch":1,"state":"held","node":"node0","service_id":"x"})";
  if (before.value == newer) return false;
  invariants_.OnForeignValue(newer);
  world_.servers.OverwriteKey(newer);
  Undo(Length(), [this, value = before.value, newer] {
    if (world_.servers.key().value == newer) world_.servers.OverwriteKey(value);
  });
  return true;
}

bool Faults::RemoveEntry() {
  const std::size_t host = LikelyMaster();
  const std::string& node = world_.agent_of(host).node();
  if (world_.servers.Find(node, BridgeHost::ServiceId(host)) == nullptr) return false;
  world_.servers.Remove(node, BridgeHost::ServiceId(host));
  return true;
}

/// Through the catalog's own API, which no Consul agent hears of; mostly where no bridge watches over the entry.
bool Faults::ForgeEntry() {
  const std::size_t host = AnyHost();
  const consul::ServiceEntry* entry = world_.servers.Find(world_.agent_of(host).node(), BridgeHost::ServiceId(host));
  if (entry == nullptr || invariants_.Holder() == host || !invariants_.claim() || !world_.servers.has_leader()) {
    return false;
  }
  const bool unwatched = world_.environment.random.Chance(0.7);
  if (unwatched && world_.bridge(host).running()) {
    world_.bridge(host).Crash();
    Undo(Length(), [this, host] {
      if (world_.HostIsUp(host)) world_.bridge(host).Start();
    });
  }
  consul::ServiceRegistration registration;
  registration.id = entry->id;
  registration.name = entry->name;
  registration.tags = {"master"};
  registration.address = entry->address;
  registration.port = entry->port;
  registration.meta = entry->meta;
  registration.check.id = entry->checks.front().id;
  registration.check.name = entry->checks.front().name;
  invariants_.OnForeignEntry(host);
  world_.servers.Push(world_.agent_of(host).node(), registration, consul::CheckStatus::kPassing, "by hand",
                      {.pushed = true, .sent_at = world_.environment.now()});
  return true;
}

bool Faults::DenyClaim() {
  const std::size_t host = LikelyMaster();
  if (world_.servers.DeniesKey(host)) return false;
  const bool reads = world_.environment.random.Chance(0.5);
  Deny(host, reads ? ConsulServers::Denial::kAll : ConsulServers::Denial::kWrite);
  Undo(Length(), [this, host] { Deny(host, ConsulServers::Denial::kNone); });
  return true;
}

void Faults::Deny(std::size_t host, ConsulServers::Denial denial) {
  world_.bridge(host).BeforeDisturbance();
  world_.servers.Deny(host, denial);
  world_.agent_of(host).OnKeyChange();
  world_.environment.history.Note([&] {
    return "acl: the claim is " +
           std::string(denial == ConsulServers::Denial::kNone    ? "allowed"
                       : denial == ConsulServers::Denial::kWrite ? "not to be written"
                                                                 : "denied") +
           " on host" + std::to_string(host);
  });
}

/// Anybody may PUBLISH on a server's channel; the Sentinels know better.
bool Faults::ForgeHello() {
  Random& random = world_.environment.random;
  redis::SentinelHello hello;
  hello.sentinel = random.Chance(0.5) ? world_.sentinels.Address(random.Below(world_.sentinels.size()))
                                      : redis::Endpoint{.host = "10.9.9.9", .port = 26379, .unix_path = {}};
  hello.current_epoch = hello.view.config_epoch = kForgedEpoch;
  hello.view.sentinel_id = "forged";
  hello.view.master_name = SentinelModel::kMasterName;
  hello.view.master = RedisModel::Address(AnyHost());
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    if (world_.redis.Answers(host)) world_.bridge(host).OnHello(hello);
  }
  return true;
}

std::size_t Faults::Tidy() {
  const auto claim = invariants_.claim();
  const auto holder = invariants_.Holder();
  const auto inherits = [&](std::size_t host) {
    const RedisModel::Server& server = world_.redis.at(host);
    return claim && (server.replid == claim->replid || server.replid2 == claim->replid);
  };
  std::size_t master = world_.hosts();
  if (holder && world_.redis.IsMaster(*holder)) master = *holder;
  for (std::size_t host = 0; host < world_.hosts() && master == world_.hosts(); ++host) {
    if (world_.redis.IsMaster(host) && inherits(host)) master = host;
  }
  for (std::size_t host = 0; host < world_.hosts() && master == world_.hosts(); ++host) {
    if (world_.redis.IsMaster(host)) master = host;
  }
  if (master == world_.hosts()) master = holder.value_or(0);
  world_.redis.ReplicaOf(master, std::nullopt, RedisModel::Origin::kOperator);
  Adopt(master);
  // The holder keeps what it has; one that gave it up, and anybody else, needs the right data set or the operator's
  // word.
  const bool taken_as_is = !world_.options.bridge.arbiter.withhold_on_dataset_loss || inherits(master) ||
                           (claim && claim->run_id == world_.redis.at(master).run_id);
  const bool keeps = holder == master && claim->state == agent::Claim::State::kHeld && taken_as_is;
  if (claim && !keeps && !inherits(master)) ReleaseClaim();
  return master;
}

void Faults::Adopt(std::size_t master) {
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    const RedisModel::Server& server = world_.redis.at(host);
    const bool follows = server.role == redis::Role::kReplica && server.upstream == master;
    if (host != master && !follows) world_.redis.ReplicaOf(host, master, RedisModel::Origin::kOperator);
  }
}

}  // namespace rcb::simulation
