#include "tests/simulation/consul_agent.h"

#include <algorithm>
#include <utility>

namespace rcb::simulation {
namespace {

using namespace std::chrono_literals;
using consul::CheckStatus;
using consul::ErrorKind;

constexpr Duration kCallTimeout = 10s;  ///< consul/requests.cpp
constexpr Duration kTransactionTimeout = 1500ms;
constexpr Duration kFullSyncInterval = 60s;  ///< agent/ae/ae.go, and a stagger of up to as much again.
constexpr Duration kFullSyncRetry = 15s;
constexpr Duration kServerUpStagger = 3s;
constexpr Duration kRetransmission = 1s;
constexpr int kRetransmissions = 5;  ///< Until consul/requests.cpp gives up a blocking query.

std::string CheckIdOf(const consul::ServiceRegistration& registration) { return registration.check.id; }

}  // namespace

/// One blocking query after another.
class ConsulAgent::Watch {
 public:
  Kind kind = Kind::kKey;
  std::size_t caller = 0;
  Duration wait{};
  KeyHandler on_key;
  CatalogHandler on_catalog;
  std::uint64_t known = 0;
  std::uint64_t query = 0;  ///< Counts queries, so that an answer to an abandoned one is not taken.
  bool parked = false;      ///< The query waits at the servers.
  int failures = 0;
};

ConsulAgent::ConsulAgent(Environment& environment, ConsulServers& servers, std::string node, std::size_t place)
    : environment_(environment), servers_(servers), node_(std::move(node)), place_(place) {
  ScheduleFullSync(environment_.Between(0s, kFullSyncInterval));
}

void ConsulAgent::Stop() {
  if (!running_) return;
  running_ = false;
  ++life_;
  syncing_ = sync_again_ = compared_ = false;
  stuck_until_ = {};
  environment_.history.Note([&] { return "consul agent " + node_ + " stopped"; });
  for (const auto& weak : watches_) {
    if (const auto watch = weak.lock()) Fail(watch, ErrorKind::kUnreachable, environment_.Between(100us, 1ms));
  }
  CheckMembership();
}

void ConsulAgent::Start(bool empty) {
  if (running_) return;
  running_ = true;
  ++life_;
  environment_.history.Note(
      [&] { return "consul agent " + node_ + " started" + (empty ? " empty" : " with its data"); });
  if (empty) services_.clear();
  for (auto& [id, service] : services_) {
    // loadCheckState(): what was persisted is taken while it has not expired.
    const bool good = service.ever_fed && environment_.now() < service.expires;
    if (!good) {
      service.status = CheckStatus::kCritical;
      service.output.clear();
    }
    service.expires = environment_.now() + service.registration.check.ttl;
    Dirty(service);
    ArmTtl(id);
  }
  ScheduleFullSync(environment_.Between(50ms, kServerUpStagger));
  CheckMembership();
}

// --- Local state
// ------------------------------------------------------------------------------------------------------

void ConsulAgent::Dirty(Service& service) {
  service.in_sync = false;
  ++service.version;
}

void ConsulAgent::ArmTtl(const std::string& id) {
  environment_.queue.At(services_.at(id).expires, [this, id, life = life_] {
    const auto found = services_.find(id);
    if (life != life_ || found == services_.end()) return;
    Service& service = found->second;
    if (IsStuck()) service.expires = std::max(service.expires, stuck_until_);
    if (environment_.now() < service.expires) {
      ArmTtl(id);
      return;
    }
    service.expires = TimePoint::max();
    if (service.status == CheckStatus::kCritical) return;
    service.status = CheckStatus::kCritical;
    service.output = "TTL expired";
    environment_.history.Note([&] { return "consul agent " + node_ + ": TTL of " + id + " expired"; });
    environment_.history.Count("TTL expired");
    Dirty(service);
    Sync();
  });
}

void ConsulAgent::Register(std::size_t caller, const consul::ServiceRegistration& registration, Done done) {
  Local(caller, std::move(done), [this, registration] {
    const auto [at, created] = services_.try_emplace(registration.id);
    Service& service = at->second;
    service.registration = registration;
    service.is_out_of_date = is_late_;
    // A check that is known keeps its status and output (agent/agent.go addServiceInternal, the snapshot).
    if (created) service.status = registration.check.status;
    if (created || service.expires == TimePoint::max()) {
      service.expires = environment_.now() + registration.check.ttl;
      ArmTtl(registration.id);
    }
    environment_.history.Note([&] {
      std::string tags;
      for (const std::string& tag : registration.tags) tags += " " + tag;
      return "consul agent " + node_ + ": registered " + registration.id + tags + ", " +
             std::string(ToString(service.status));
    });
    Dirty(service);
    Sync();
    return consul::Result<std::uint64_t>(0);
  });
}

void ConsulAgent::UpdateTtl(std::size_t caller, const std::string& check_id, CheckStatus status,
                            const std::string& output, Done done) {
  Local(caller, std::move(done), [this, check_id, status, output]() -> consul::Result<std::uint64_t> {
    const auto found = std::find_if(services_.begin(), services_.end(),
                                    [&](const auto& item) { return CheckIdOf(item.second.registration) == check_id; });
    if (found == services_.end()) return consul::Fail(ErrorKind::kNotFound, "unknown check " + check_id);
    Service& service = found->second;
    const bool was_expired = service.expires == TimePoint::max();
    service.ever_fed = true;
    service.is_out_of_date |= is_late_;
    service.expires = environment_.now() + service.registration.check.ttl;
    if (was_expired) ArmTtl(found->first);
    service.output = output;  // Pushed with the next change only (check_update_interval).
    if (service.status != status) {
      environment_.history.Note([&] {
        return "consul agent " + node_ + ": " + check_id + " " + std::string(ToString(status)) + ": " + output;
      });
      service.status = status;
      Dirty(service);
      Sync();
    }
    return 0;
  });
}

// --- Pushes and anti-entropy
// ------------------------------------------------------------------------------------------

/// Pushes what is not in sync, each service whole and with its check.
void ConsulAgent::Sync() {
  if (!running_ || !compared_) return;
  if (syncing_) {
    sync_again_ = true;
    return;
  }
  std::vector<Service> dirty;
  for (const auto& [id, service] : services_) {
    if (!service.in_sync) dirty.push_back(service);
  }
  if (dirty.empty()) return;
  syncing_ = true;
  const TimePoint sent_at = environment_.now();
  const std::size_t servers = environment_.network.consul();
  environment_.queue.After(environment_.Latency(place_, servers),
                           [this, dirty, sent_at, life = life_] { Push(dirty, sent_at, life, kRetransmissions); });
}

void ConsulAgent::Push(const std::vector<Service>& dirty, TimePoint sent_at, std::uint64_t life, int tries) {
  const std::size_t servers = environment_.network.consul();
  if (!environment_.network.Delivers(place_, servers) && tries > 0) {
    environment_.queue.After(environment_.Between(kRetransmission / 4, kRetransmission),
                             [this, dirty, sent_at, life, tries] { Push(dirty, sent_at, life, tries - 1); });
    return;
  }
  if (servers_.has_dead_leader(environment_.now())) {
    // Until yamux notices: a keepalive every 30 s, given up after 10 s.
    stuck_until_ = environment_.now() + environment_.Between(10s, 40s);
    environment_.history.Note([&] { return "consul agent " + node_ + " is stuck"; });
    environment_.history.Count("consul agent stuck");
    environment_.queue.At(stuck_until_, [this, life] {
      if (life != life_) return;
      syncing_ = sync_again_ = false;
      ScheduleFullSync(environment_.Between(kFullSyncRetry, 2 * kFullSyncRetry));
    });
    return;
  }
  const bool done = environment_.network.Delivers(place_, servers) && servers_.has_leader();
  if (done) {
    for (const Service& service : dirty) {
      servers_.Push(node_, service.registration, service.status, service.output,
                    {.pushed = true, .sent_at = sent_at, .out_of_date = service.is_out_of_date});
    }
  }
  environment_.queue.After(environment_.Latency(servers, place_), [this, servers, done, dirty, life] {
    if (life != life_) return;
    syncing_ = false;
    if (done && environment_.network.Delivers(servers, place_)) {
      for (const Service& service : dirty) {
        const auto found = services_.find(service.registration.id);
        if (found != services_.end() && found->second.version == service.version) found->second.in_sync = true;
      }
    } else {
      ScheduleFullSync(environment_.Between(kFullSyncRetry, 2 * kFullSyncRetry));
    }
    if (std::exchange(sync_again_, false)) Sync();
  });
}

void ConsulAgent::ScheduleFullSync(Duration delay) {
  const TimePoint at = environment_.now() + delay;
  if (full_sync_at_ > environment_.now() && full_sync_at_ <= at) return;
  full_sync_at_ = at;
  environment_.queue.At(at, [this, id = ++full_sync_] {
    if (id == full_sync_) FullSync();
  });
}

bool ConsulAgent::IsInSync() const {
  return compared_ && !syncing_ && !IsStuck() &&
         std::all_of(services_.begin(), services_.end(), [](const auto& item) { return item.second.in_sync; });
}

/// Asks the servers what they know of this node. The answer is compared when it is here, with what is known by then.
void ConsulAgent::FullSync() {
  if (!running_) return;
  if (!SeesServers() || !servers_.has_leader()) {
    ScheduleFullSync(environment_.Between(kFullSyncRetry, 2 * kFullSyncRetry));
    return;
  }
  const std::size_t servers = environment_.network.consul();
  environment_.queue.After(environment_.Latency(place_, servers), [this, servers, life = life_] {
    if (life != life_) return;
    std::map<std::string, consul::ServiceEntry> remote;
    for (const std::string& id : servers_.IdsOf(node_)) remote.emplace(id, *servers_.Find(node_, id));
    environment_.queue.After(environment_.Latency(servers, place_), [this, life, remote = std::move(remote)] {
      if (life == life_) WhenFree([this, remote] { Compare(remote); });
    });
  });
}

/// Marks what the servers know differently to be pushed, takes over their tags where that is allowed, and deletes there
/// what is unknown here.
void ConsulAgent::Compare(const std::map<std::string, consul::ServiceEntry>& remote) {
  for (const auto& [id, entry] : remote) {
    if (!services_.contains(id)) servers_.Remove(node_, id);
  }
  bool differs = false;
  for (auto& [id, service] : services_) {
    const auto found = remote.find(id);
    const consul::ServiceEntry* entry = found == remote.end() ? nullptr : &found->second;
    consul::ServiceRegistration& local = service.registration;
    if (entry != nullptr && local.enable_tag_override && local.tags != entry->tags) {
      local.tags = entry->tags;
      const consul::ServiceEntry* by_now = servers_.Find(node_, id);
      service.is_out_of_date = entry->HasTag("master") && (by_now == nullptr || !by_now->HasTag("master"));
      environment_.history.Count("tags taken over from the servers");
    }
    const bool same = entry != nullptr && entry->tags == local.tags && entry->meta == local.meta &&
                      entry->address == local.address && entry->port == local.port && !entry->checks.empty() &&
                      entry->enable_tag_override == local.enable_tag_override &&
                      entry->checks.front().id == local.check.id &&
                      entry->checks.front().status == ToString(service.status);
    if (same) {
      service.in_sync = true;
    } else {
      if (service.in_sync) differs = true;
      service.in_sync = false;
    }
  }
  if (differs) {
    environment_.history.Note([&] { return "consul agent " + node_ + ": anti-entropy differs"; });
    environment_.history.Count("anti-entropy restores");
  }
  compared_ = true;
  Sync();
  ScheduleFullSync(environment_.Between(kFullSyncInterval, 2 * kFullSyncInterval));
}

void ConsulAgent::OnNetworkChange() {
  const bool cut = !environment_.network.Connects(place_, environment_.network.consul());
  if (cut && !was_cut_) cut_since_ = environment_.now();
  // A server that is seen again after serf had given it up causes a full synchronisation.
  if (!cut && was_cut_ && environment_.now() - cut_since_ > 8s)
    ScheduleFullSync(environment_.Between(10ms, kServerUpStagger));
  was_cut_ = cut;
  // Only now does it matter when a waiting query is renewed: its answer does not come through.
  for (const auto& weak : watches_) {
    const auto watch = weak.lock();
    if (!watch || !watch->parked || PathHolds(watch->caller)) continue;
    environment_.queue.After(environment_.Between(0s, watch->wait), [this, weak, query = watch->query] {
      const auto parked = weak.lock();
      if (parked && parked->query == query && parked->parked) Respond(parked);
    });
  }
  CheckMembership();
}

/// Gossip: a node that is not heard fails after a while, and is alive again soon after it is.
void ConsulAgent::CheckMembership() {
  const bool alive = SeesServers();
  if (alive == member_ || membership_pending_) return;
  membership_pending_ = true;
  environment_.queue.After(alive ? environment_.Between(200ms, 3s) : environment_.Between(5s, 15s), [this] {
    membership_pending_ = false;
    member_ = SeesServers();
    servers_.SetNodeHealth(node_, member_);
  });
}

// --- Calls
// ------------------------------------------------------------------------------------------------------------

/// A call of a bridge, answered once: by an answer or by its time-out.
struct ConsulAgent::Call {
  Done done;
  bool over = false;

  void Finish(const consul::Result<std::uint64_t>& result) {
    if (!std::exchange(over, true)) done(result);
  }
};

std::shared_ptr<ConsulAgent::Call> ConsulAgent::Open(Done done, Duration timeout) {
  auto call = std::make_shared<Call>();
  call->done = std::move(done);
  environment_.queue.After(timeout, [call] { call->Finish(consul::Fail(ErrorKind::kTimeout, "no answer in time")); });
  return call;
}

/// One message of a call. TCP repeats what a cut swallows while somebody waits for it.
void ConsulAgent::Send(std::size_t from, std::size_t to, const std::shared_ptr<Call>& call, EventQueue::Action arrive) {
  if (call->over) return;
  if (environment_.network.Delivers(from, to)) {
    environment_.queue.After(environment_.Latency(from, to), std::move(arrive));
  } else {
    environment_.queue.After(environment_.Between(kRetransmission / 4, kRetransmission),
                             [this, from, to, call, arrive = std::move(arrive)] { Send(from, to, call, arrive); });
  }
}

void ConsulAgent::Answer(std::size_t caller, const std::shared_ptr<Call>& call,
                         const consul::Result<std::uint64_t>& result) {
  Send(place_, caller, call, [call, result] { call->Finish(result); });
}

void ConsulAgent::Local(std::size_t caller, Done done, std::function<consul::Result<std::uint64_t>()> act) {
  const auto call = Open(std::move(done), kCallTimeout);
  Send(caller, place_, call, [this, caller, call, act = std::move(act)] {
    WhenFree([this, caller, call, act] {
      Answer(caller, call,
             running_ ? act()
                      : consul::Result<std::uint64_t>(
                            consul::Fail(ErrorKind::kUnreachable, "the Consul agent refuses connections")));
    });
  });
}

/// Nobody waits in vain for it to come to itself: what was asked meanwhile is done then, be it out of date.
void ConsulAgent::WhenFree(EventQueue::Action action) {
  if (!IsStuck()) {
    action();
    return;
  }
  environment_.queue.At(stuck_until_, [this, life = life_, action = std::move(action)] {
    if (life != life_) return;
    is_late_ = true;
    WhenFree(action);
    is_late_ = false;
  });
}

/// A call that the servers answer. Without a leader they hold it for a while, then say so.
void ConsulAgent::Forward(std::size_t caller, Done done, Duration timeout,
                          std::function<consul::Result<std::uint64_t>()> act) {
  const auto call = Open(std::move(done), timeout);
  const std::size_t servers = environment_.network.consul();
  const auto at_servers = [this, caller, servers, call, act = std::move(act)] {
    if (servers_.has_dead_leader(environment_.now())) return;
    if (!servers_.has_leader()) {
      environment_.queue.After(environment_.Between(1ms, 7s), [this, caller, call, act] {
        // The agent tries again while it holds the call.
        const bool again = SeesServers() && servers_.has_leader() && environment_.random.Chance(0.5);
        Answer(caller, call, again ? act() : consul::Fail(ErrorKind::kNoLeader, "No cluster leader"));
      });
      return;
    }
    Send(servers, place_, call, [this, caller, call, result = act()] {
      Answer(caller, call,
             running_ ? result : consul::Fail(ErrorKind::kUnreachable, "the Consul agent ended the connection"));
    });
  };
  Send(caller, place_, call, [this, caller, servers, call, at_servers] {
    if (running_) {
      Send(place_, servers, call, at_servers);
    } else {
      Answer(caller, call, consul::Fail(ErrorKind::kUnreachable, "the Consul agent refuses connections"));
    }
  });
}

void ConsulAgent::Commit(std::size_t caller, const std::vector<consul::TxnOperation>& operations, Done done) {
  Forward(caller, std::move(done), kTransactionTimeout, [this, caller, operations]() -> consul::Result<std::uint64_t> {
    // Each of them checks the key; writing it is another permission.
    const bool writes = std::holds_alternative<consul::TxnKvCas>(operations.front());
    const auto denial = servers_.DenialOf(caller);
    if (denial == ConsulServers::Denial::kAll || (writes && denial == ConsulServers::Denial::kWrite)) {
      return consul::Fail(ErrorKind::kDenied, "Permission denied");
    }
    return servers_.Commit(operations);
  });
}

void ConsulAgent::WriteKey(std::size_t caller, const std::string& value, std::uint64_t index, Done done) {
  Forward(caller, std::move(done), kCallTimeout, [this, caller, value, index]() -> consul::Result<std::uint64_t> {
    if (servers_.DeniesKey(caller)) return consul::Fail(ErrorKind::kDenied, "Permission denied");
    return servers_.WriteKey(value, index);
  });
}

// --- Blocking queries
// -------------------------------------------------------------------------------------------------

std::shared_ptr<ConsulAgent::Watch> ConsulAgent::StartWatch(Kind kind, std::size_t caller, Duration wait) {
  auto watch = std::make_shared<Watch>();
  watch->kind = kind;
  watch->caller = caller;
  watch->wait = wait;
  std::erase_if(watches_, [](const auto& weak) { return weak.expired(); });
  watches_.push_back(watch);
  Query(watch);
  return watch;
}

std::shared_ptr<ConsulAgent::Watch> ConsulAgent::WatchKey(std::size_t caller, Duration wait, KeyHandler handler) {
  auto watch = StartWatch(Kind::kKey, caller, wait);
  watch->on_key = std::move(handler);
  return watch;
}

std::shared_ptr<ConsulAgent::Watch> ConsulAgent::WatchCatalog(std::size_t caller, Duration wait,
                                                              CatalogHandler handler) {
  auto watch = StartWatch(Kind::kCatalog, caller, wait);
  watch->on_catalog = std::move(handler);
  return watch;
}

void ConsulAgent::Query(const std::shared_ptr<Watch>& watch) {
  ++watch->query;
  watch->parked = false;
  const bool reaches_agent = environment_.network.Connects(watch->caller, place_);
  if (reaches_agent && !running_) {
    Fail(watch, ErrorKind::kUnreachable, environment_.Latency(watch->caller, place_));
    return;
  }
  if (!reaches_agent || !SeesServers()) {
    Fail(watch, ErrorKind::kTimeout, environment_.Between(1s, kCallTimeout));
    return;
  }
  const std::size_t servers = environment_.network.consul();
  const Duration there = environment_.Latency(watch->caller, place_) + environment_.Latency(place_, servers);
  environment_.queue.After(there, [this, weak = std::weak_ptr(watch), query = watch->query] {
    const auto asked = weak.lock();
    if (asked && asked->query == query) AtServers(asked, query);
  });
}

void ConsulAgent::AtServers(const std::shared_ptr<Watch>& watch, std::uint64_t query) {
  if (watch->query != query) return;
  if (!servers_.has_leader()) {
    Fail(watch, ErrorKind::kNoLeader, environment_.Between(1ms, 7s));
    return;
  }
  const std::uint64_t index = watch->kind == Kind::kKey ? servers_.key_index() : servers_.catalog_index();
  if (index != watch->known || IsDenied(*watch)) {
    Respond(watch);
    return;
  }
  watch->parked = true;
  if (!PathHolds(watch->caller)) OnNetworkChange();
}

bool ConsulAgent::IsDenied(const Watch& watch) const {
  return watch.kind == Kind::kKey && servers_.DenialOf(watch.caller) == ConsulServers::Denial::kAll;
}

bool ConsulAgent::PathHolds(std::size_t caller) const {
  return SeesServers() && environment_.network.Connects(caller, place_);
}

bool ConsulAgent::IsQuiet(const Watch& watch) const {
  return watch.parked && PathHolds(watch.caller) && servers_.has_leader();
}

/// The answer is what the servers hold at this moment; it arrives later.
void ConsulAgent::Respond(const std::shared_ptr<Watch>& watch) {
  watch->parked = false;
  if (IsDenied(*watch)) {
    Fail(watch, ErrorKind::kDenied, environment_.Latency(environment_.network.consul(), watch->caller));
    return;
  }
  std::function<void()> hand_over;
  if (watch->kind == Kind::kKey) {
    watch->known = servers_.key_index();
    hand_over = [watch = watch.get(), pair = servers_.key()] { watch->on_key(pair); };
  } else {
    watch->known = servers_.catalog_index();
    hand_over = [watch = watch.get(), entries = servers_.Entries()] { watch->on_catalog(entries); };
  }
  const std::size_t servers = environment_.network.consul();
  const Duration back = environment_.Latency(servers, place_) + environment_.Latency(place_, watch->caller);
  environment_.queue.After(back, [this, weak = std::weak_ptr(watch), query = watch->query, hand_over] {
    if (const auto answered = weak.lock()) Deliver(answered, query, hand_over, kRetransmissions);
  });
}

/// TCP repeats what a cut swallowed, and gives up in the end.
void ConsulAgent::Deliver(const std::shared_ptr<Watch>& watch, std::uint64_t query,
                          const std::function<void()>& hand_over, int tries) {
  if (watch->query != query) return;
  const std::size_t servers = environment_.network.consul();
  const bool arrives =
      environment_.network.Delivers(servers, place_) && environment_.network.Delivers(place_, watch->caller);
  if (running_ && arrives) {
    watch->failures = 0;
    hand_over();
    Query(watch);
  } else if (!running_ || tries == 0) {
    Fail(watch, running_ ? ErrorKind::kTimeout : ErrorKind::kUnreachable, 1ms);
  } else {
    environment_.queue.After(kRetransmission, [this, weak = std::weak_ptr(watch), query, hand_over, tries] {
      if (const auto answered = weak.lock()) Deliver(answered, query, hand_over, tries - 1);
    });
  }
}

/// Tells the error after a while, and asks again after the pause of consul::Watch.
void ConsulAgent::Fail(const std::shared_ptr<Watch>& watch, ErrorKind kind, Duration after) {
  ++watch->query;
  watch->parked = false;
  watch->known = 0;
  environment_.queue.After(after, [this, weak = std::weak_ptr(watch), kind, query = watch->query] {
    const auto failed = weak.lock();
    if (!failed || failed->query != query) return;
    const Duration longest = kind == ErrorKind::kTimeout ? Duration(10s) : Duration(500ms);
    const Duration pause = std::min(Duration(100ms) * (1 << std::min(failed->failures, 10)), longest);
    ++failed->failures;
    environment_.queue.After(environment_.Between(pause * 3 / 4, pause), [this, weak, query] {
      const auto retried = weak.lock();
      if (retried && retried->query == query) Query(retried);
    });
    if (failed->kind == Kind::kKey) {
      failed->on_key(consul::Fail(kind, "cannot watch the key"));
    } else {
      failed->on_catalog(consul::Fail(kind, "cannot watch the service"));
    }
  });
}

void ConsulAgent::Wake(Kind kind) {
  for (const auto& weak : watches_) {
    const auto watch = weak.lock();
    if (watch && watch->kind == kind && watch->parked) Respond(watch);
  }
}

void ConsulAgent::OnLeaderLost() {
  for (const auto& weak : watches_) {
    const auto watch = weak.lock();
    if (watch && watch->parked) Fail(watch, ErrorKind::kNoLeader, environment_.Between(1ms, 3s));
  }
}

}  // namespace rcb::simulation
