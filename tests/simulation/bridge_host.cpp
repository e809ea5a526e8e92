#include "tests/simulation/bridge_host.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace rcb::simulation {
namespace {

using namespace std::chrono_literals;
using agent::Publisher;

constexpr Duration kPollInterval = 200ms;  ///< agent/config.h
constexpr Duration kTick = 100ms;          ///< agent/watcher.h
constexpr Duration kIdleTick = 1s;         ///< While nothing happens; heartbeats are a little late then.
constexpr Duration kBusy = 1500ms;
constexpr Duration kViewInterval = 1s;     ///< redis/sentinel_client.h
constexpr Duration kSentinelTimeout = 3s;  ///< redis/sentinel_client.cpp
constexpr Duration kLinkDownPoll = 2s;     ///< A link that stays down changes nothing but its age.
constexpr Duration kClaimWait = 1s;        ///< agent/watcher.cpp
constexpr Duration kClaimRenewal = 2s;     ///< A read without news is told this often; the lease is 3 s or more.
constexpr Duration kDemoteAgain = 1s;      ///< agent/watcher.cpp
constexpr Duration kCatalogWait = 60s;     ///< agent/watcher.cpp

/// Rows of the table in DESIGN section 5, by how the reason begins.
constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kRows{{
    {"master at epoch", "row: master, claim held"},
    {"says master, but Sentinel names", "row: master, Sentinel names another"},
    {"says master, but no Sentinel", "row: master, not confirmed"},
    {"says master, but Sentinels disagree", "row: master, Sentinels disagree"},
    {"says master, but Sentinel is choosing", "row: master, its successor is being chosen"},
    {"says master, superseded by", "row: master, superseded"},
    {"says master and was restarted", "row: master, restarted and not confirmed"},
    {"says master, but gave the role up", "row: master, yielded and not confirmed"},
    {"says master, but the claim is held", "row: master, the claim is held elsewhere"},
    {"replica of", "row: replica, in sync"},
    {"replica, loading", "row: replica, loading"},
    {"loading", "row: loading"},
    {"says master, but is cut off", "row: master, cut off"},
    {"says master, but the claim in Consul", "row: master, the claim is not understood"},
    {"replica, full synchronisation", "row: replica, full synchronisation"},
    {"replica, link to", "row: replica, link down"},
}};

/// What the transaction does with the claim, for the history.
std::string Precondition(const Publisher::Transaction& transaction) {
  const consul::TxnOperation& first = transaction.operations.front();
  if (const auto* cas = std::get_if<consul::TxnKvCas>(&first))
    return " [sets the claim at " + std::to_string(cas->index) + "]";
  const auto* check = std::get_if<consul::TxnKvCheckIndex>(&first);
  return check == nullptr ? "" : " [checks the claim at " + std::to_string(check->index) + "]";
}

}  // namespace

BridgeHost::BridgeHost(Environment& environment, RedisModel& redis, SentinelModel& sentinels, ConsulAgent& consul,
                       std::size_t host, const Options& options)
    : environment_(environment),
      redis_(redis),
      sentinels_(sentinels),
      consul_(consul),
      host_(host),
      options_(options) {}

std::string BridgeHost::ServiceId(std::size_t host) { return "redis-host" + std::to_string(host) + "-6379"; }

// --- Life
// -------------------------------------------------------------------------------------------------------------

void BridgeHost::Start() {
  if (running_) return;
  running_ = true;
  paused_ = false;
  running_since_ = environment_.now();
  ++life_;
  environment_.history.Note([&] { return "bridge" + std::to_string(host_) + " started"; });
  monitor_.emplace(redis::InstanceMonitor::Options{.hang_after = std::chrono::milliseconds(5000),
                                                   .name = RedisModel::Address(host_).ToString()},
                   environment_.now());
  fed_at_ = environment_.now();
  links_.assign(sentinels_.size(), {});
  poll_scheduled_ = false;
  SchedulePoll(environment_.Latency(host_, host_), true);
  ArmSilence();
  if (options_.knows_sentinels) {
    for (std::size_t s = 0; s < links_.size(); ++s) {
      links_[s].known = true;
      Connect(s);
    }
  }
  AskNode();
}

void BridgeHost::Crash() {
  if (!running_) return;
  running_ = false;
  paused_ = false;
  ++life_;
  environment_.history.Note([&] { return "bridge" + std::to_string(host_) + " crashed"; });
  backlog_.clear();
  group_.reset();
  monitor_.reset();
  claim_watch_.reset();
  catalog_watch_.reset();
  claim_pair_.reset();
  known_claim_ = 0;
  said_.reset();
}

void BridgeHost::Pause() {
  if (!running_ || paused_) return;
  Renew();
  paused_ = true;
  environment_.history.Note([&] { return "bridge" + std::to_string(host_) + " paused"; });
}

void BridgeHost::Resume() {
  if (!paused_) return;
  paused_ = false;
  running_since_ = environment_.now();
  environment_.history.Note([&] { return "bridge" + std::to_string(host_) + " resumed"; });
  auto backlog = std::exchange(backlog_, {});
  if (group_) Decide();  // With what it knew when it was stopped.
  for (const EventQueue::Action& action : backlog) action();
}

/// Everything that comes from outside: kept back while the process is stopped, dropped when it is another one.
void BridgeHost::Run(EventQueue::Action action) {
  if (paused_) {
    backlog_.emplace_back([this, life = life_, action = std::move(action)] {
      if (life == life_) action();
    });
  } else {
    action();
  }
}

void BridgeHost::Later(Duration delay, EventQueue::Action action) {
  environment_.queue.After(delay, [this, life = life_, action = std::move(action)] {
    if (life == life_) Run(action);
  });
}

void BridgeHost::AskNode() {
  Later(environment_.Latency(host_, consul_.place()) + environment_.Latency(consul_.place(), host_), [this] {
    if (!consul_.running() || !environment_.network.Connects(host_, consul_.place())) {
      Later(environment_.Between(100ms, 500ms), [this] { AskNode(); });
      return;
    }
    agent::Identity identity;
    identity.service_id = ServiceId(host_);
    identity.node = consul_.node();
    identity.address = RedisModel::Address(host_).host;
    identity.port = RedisModel::Address(host_).port;
    identity.addresses = {RedisModel::Address(host_)};
    Publisher::Options publisher;
    publisher.master_service = publisher.replica_service = "redis";
    publisher.claim_key = "service/redis/master";
    publisher.seed = environment_.random.Next();
    group_ = std::make_unique<agent::Group>(options_.arbiter, publisher, std::vector{identity});
    group_->OnInstance(0, monitor_->state());
    // Handlers run while the watch lives, so that `this` is theirs.
    claim_watch_ = consul_.WatchKey(host_, kClaimWait, [this](const consul::Result<consul::KvPair>& pair) {
      Run([this, pair] {
        claim_pair_ = pair ? std::optional(*pair) : std::nullopt;
        claim_fed_at_ = environment_.now();
        group_->OnClaim(pair, environment_.now());
        Reconsider();
      });
    });
    catalog_watch_ =
        consul_.WatchCatalog(host_, kCatalogWait, [this](consul::Result<std::vector<consul::ServiceEntry>> entries) {
          Run([this, entries = std::move(entries)] {
            group_->OnCatalog(entries, environment_.now());
            Reconsider();
          });
        });
    Reconsider();
    next_tick_ = environment_.now();
    Tick();
  });
}

void BridgeHost::Tick() {
  if (environment_.now() >= next_tick_) {
    Reconsider();
    next_tick_ = environment_.now() + (environment_.now() < busy_until_ ? kTick : kIdleTick);
  }
  environment_.queue.At(next_tick_, [this, life = life_, tick = ++ticks_] {
    if (life != life_ || tick != ticks_) return;
    if (paused_) {
      next_tick_ += kIdleTick;
      Tick();
      return;
    }
    Tick();
  });
}

void BridgeHost::Reconsider() {
  if (!group_) return;
  Renew();
  Decide();
}

void BridgeHost::Decide() {
  const auto calls = group_->Decide(SentinelModel::kMasterName, {}, environment_.now());
  const std::uint64_t index = claim_index();
  if (index != known_claim_) {
    claim_index_fell_ |= index != 0 && index < known_claim_;
    known_claim_ = index;
    claim_index_since_ = environment_.now();
  }
  NoteVerdict();
  if (const auto& upstream = group_->verdicts().front().demote_to) Demote(*upstream);
  for (const Publisher::Call& call : calls) Execute(call);
}

/// News: look closely for a while.
void BridgeHost::OnInstanceChange() {
  if (group_) group_->OnInstance(0, monitor_->state());
  busy_until_ = environment_.now() + kBusy;
  Reconsider();
  if (group_ && next_tick_ > environment_.now() + kTick) {
    next_tick_ = environment_.now() + kTick;
    Tick();
  }
}

void BridgeHost::NoteVerdict() {
  const agent::Verdict& verdict = group_->verdicts().front();
  if (!verdict.publication || verdict.publication == said_) return;
  said_ = verdict.publication;
  const std::string& reason = said_->reason;
  const auto row =
      std::find_if(kRows.begin(), kRows.end(), [&](const auto& item) { return reason.starts_with(item.first); });
  environment_.history.Count(row == kRows.end() ? "row: down" : std::string(row->second));
  environment_.history.Note([&] {
    return "bridge" + std::to_string(host_) + (verdict.take ? " takes the claim: " : " says: ") +
           std::string(ToString(said_->status)) + ": " + reason;
  });
}

void BridgeHost::Demote(const redis::Endpoint& upstream) {
  if (environment_.now() < demote_again_at_) return;
  demote_again_at_ = environment_.now() + kDemoteAgain;
  for (std::size_t other = 0; other < redis_.size(); ++other) {
    if (RedisModel::Address(other) != upstream) continue;
    environment_.history.Count("superseded master demoted");
    if (on_demote) on_demote(other);
    Later(environment_.Latency(host_, host_), [this, other] {
      if (redis_.Answers(host_)) redis_.ReplicaOf(host_, other, RedisModel::Origin::kOperator);
    });
  }
}

void BridgeHost::Execute(const Publisher::Call& call) {
  busy_until_ = std::max(busy_until_, environment_.now() + kBusy);
  const auto done = [this, life = life_, call](const consul::Result<std::uint64_t>& result) {
    if (life != life_) return;
    Run([this, call, result] {
      if (!result) {
        environment_.history.Note([&] { return "bridge" + std::to_string(host_) + ": " + result.error().message; });
      }
      group_->OnDone(call, result, environment_.now());
      Reconsider();
    });
  };
  if (const auto* registration = std::get_if<Publisher::Register>(&call.what)) {
    consul_.Register(host_, registration->registration, done);
  } else if (const auto* update = std::get_if<Publisher::UpdateTtl>(&call.what)) {
    consul_.UpdateTtl(host_, update->check_id, update->status, update->output, done);
  } else if (const auto* write = std::get_if<Publisher::WriteClaim>(&call.what)) {
    environment_.history.Note([&] { return "bridge" + std::to_string(host_) + " writes the claim: " + call.reason; });
    consul_.WriteKey(host_, agent::EncodeClaim(write->claim), write->index, done);
  } else {
    environment_.history.Note([&] {
      return "bridge" + std::to_string(host_) + " transaction: " + call.reason +
             Precondition(std::get<Publisher::Transaction>(call.what));
    });
    if (call.lane == Publisher::kGroupLane) {
      environment_.history.Count("withdrawal of a foreign master");
    } else {
      last_transaction_ = environment_.now();
    }
    consul_.Commit(host_, std::get<Publisher::Transaction>(call.what).operations, done);
  }
}

std::uint64_t BridgeHost::claim_index() const { return group_ && group_->claim() ? group_->claim()->index : 0; }

std::optional<std::uint64_t> BridgeHost::best_epoch() const {
  std::optional<std::uint64_t> best;
  for (const SentinelLink& link : links_) {
    if (!link.connected || link.broken || !link.view) continue;
    best = std::max(best.value_or(0), link.view->config_epoch);
  }
  return best;
}

bool BridgeHost::HearsMostSentinelsNameIt() const {
  if (!running()) return false;
  const auto names_it = [this](const SentinelLink& link) {
    return link.connected && !link.broken && link.view && link.view->master == RedisModel::Address(host_);
  };
  return static_cast<std::size_t>(std::count_if(links_.begin(), links_.end(), names_it)) * 2 > links_.size();
}

bool BridgeHost::IsFenced() const { return said_ && said_->reason.ends_with("fenced"); }

bool BridgeHost::SaysMasterBySentinel() const {
  return running() && said_ && said_->tag == agent::Tag::kMaster && said_->reason.ends_with("confirmed by sentinel");
}

// --- Redis
// ------------------------------------------------------------------------------------------------------------

void BridgeHost::OnRedisChange() {
  if (!running_) return;
  SchedulePoll(environment_.Between(0s, kPollInterval), !open_);
}

/// The connection is opened again at once.
void BridgeHost::OnRedisClosed() {
  if (!running_) return;
  Run([this] {
    if (!monitor_) return;
    open_ = false;
    monitor_->OnError({redis::ErrorKind::kClosed, "the connection was closed"}, environment_.now());
    SchedulePoll(environment_.Latency(host_, host_) + environment_.Latency(host_, host_), true);
    OnInstanceChange();
  });
}

/// The last answer came at the last poll before it stopped.
void BridgeHost::OnRedisPause() {
  if (!running_ || !monitor_) return;
  if (redis_.Answers(host_)) {
    SchedulePoll(environment_.Latency(host_, host_), false);
    return;
  }
  const TimePoint last = std::max(fed_at_, environment_.now() - environment_.Between(0s, kPollInterval));
  if (!paused_ && open_ && !last_info_.empty()) {
    static_cast<void>(monitor_->OnReplicationReply(last_info_, last));
    fed_at_ = last;
  }
  ArmSilence();
}

void BridgeHost::ArmSilence() {
  const TimePoint deadline = monitor_->deadline();
  if (deadline == TimePoint::max()) return;
  environment_.queue.At(deadline, [this, life = life_] {
    if (life != life_) return;
    Run([this] {
      if (redis_.Answers(host_) && open_) return;  // Polls were answered all the while.
      if (environment_.now() < monitor_->deadline()) {
        if (!redis_.Answers(host_)) ArmSilence();
        return;
      }
      monitor_->OnTimer(environment_.now());
      environment_.history.Count("redis silent");
      OnInstanceChange();
    });
  });
}

void BridgeHost::SchedulePoll(Duration delay, bool new_connection) {
  if (poll_scheduled_ && !new_connection) return;
  poll_scheduled_ = true;
  Later(delay, [this, new_connection] { Poll(new_connection); });
}

void BridgeHost::Poll(bool new_connection) {
  poll_scheduled_ = false;
  const TimePoint now = environment_.now();
  const RedisModel::Server& server = redis_.at(host_);
  if (!server.running) {
    open_ = false;
    monitor_->OnError({redis::ErrorKind::kRefused, RedisModel::Address(host_).ToString() + " refuses connections"},
                      now);
    OnInstanceChange();
    return;
  }
  if (server.paused) {
    ArmSilence();
    return;
  }
  if (new_connection || !open_) static_cast<void>(monitor_->OnServerReply(redis_.InfoServer(host_), now));
  open_ = true;
  monitor_->OnPersistenceReply(redis_.InfoPersistence(host_), now);
  last_info_ = redis_.InfoReplication(host_);
  static_cast<void>(monitor_->OnReplicationReply(last_info_, now));
  fed_at_ = now;
  if (server.role == redis::Role::kReplica && server.link != RedisModel::Link::kUp) SchedulePoll(kLinkDownPoll, false);
  OnInstanceChange();
}

// --- Sentinels
// --------------------------------------------------------------------------------------------------------

void BridgeHost::Connect(std::size_t s) {
  SentinelLink& link = links_[s];
  link.connected = link.broken = link.refreshing = link.refresh_again = false;
  link.undelivered.clear();
  const std::uint64_t life = ++link.life;
  Later(environment_.Latency(host_, s) + environment_.Latency(s, host_), [this, s, life] {
    SentinelLink& opening = links_[s];
    if (opening.life != life) return;
    if (!sentinels_.Answers(s) || !environment_.network.Connects(host_, s)) {
      Later(environment_.Between(100ms, 2s), [this, s, life] {
        if (links_[s].life == life) Connect(s);
      });
      return;
    }
    opening.connected = true;
    opening.election.emplace(SentinelModel::Name(s), SentinelModel::kMasterName);
    Refresh(s);
  });
}

void BridgeHost::Lose(std::size_t s) {
  SentinelLink& link = links_[s];
  if (!link.connected) return;
  const bool was_electing = link.election && link.election->current();
  link.connected = false;
  link.election.reset();
  link.view.reset();
  ++link.life;
  environment_.history.Count("sentinel lost by a bridge");
  if (was_electing && group_) {
    group_->OnElection(SentinelModel::Name(s), std::nullopt);
    Reconsider();
  }
  Later(environment_.Between(100ms, 2s), [this, s, life = link.life] {
    if (links_[s].life == life) Connect(s);
  });
}

/// A closed connection is noticed at once, a silent one when a question stays without an answer.
void BridgeHost::OnSentinelAvailability() {
  if (!running_) return;
  for (std::size_t s = 0; s < links_.size(); ++s) {
    SentinelLink& link = links_[s];
    if (!link.connected) continue;
    if (!sentinels_.Runs(s)) {
      Run([this, s, life = link.life] {
        if (links_[s].life == life) Lose(s);
      });
      continue;
    }
    const bool broken = !sentinels_.Answers(s) || !environment_.network.Connects(host_, s);
    if (broken == link.broken) continue;
    if (broken) {
      Renew();
      link.broken = true;
      Later(environment_.Between(kSentinelTimeout, kSentinelTimeout + kViewInterval), [this, s, life = link.life] {
        if (links_[s].life == life && links_[s].broken) Lose(s);
      });
    } else {
      link.broken = false;
      for (const redis::SentinelEvent& event : std::exchange(link.undelivered, {})) DeliverEvent(s, event);
      Later(environment_.Between(1ms, 200ms), [this, s, life = link.life] {
        if (links_[s].life == life) Refresh(s);
      });
    }
  }
}

void BridgeHost::OnSentinelEvent(std::size_t s, const redis::SentinelEvent& event) {
  if (!running_ || !links_[s].connected) return;
  if (links_[s].broken) {
    links_[s].undelivered.push_back(event);
  } else {
    DeliverEvent(s, event);
  }
}

/// In the order they were sent.
void BridgeHost::DeliverEvent(std::size_t s, const redis::SentinelEvent& event) {
  SentinelLink& link = links_[s];
  link.last_delivery = std::max(link.last_delivery, environment_.now() + environment_.Latency(s, host_));
  environment_.queue.At(link.last_delivery, [this, s, event, life = life_, link_life = link.life] {
    if (life != life_) return;
    Run([this, s, event, link_life] {
      if (links_[s].life == link_life) TakeEvent(s, event);
    });
  });
}

/// As SentinelClient::Impl::OnMessage() does it.
void BridgeHost::TakeEvent(std::size_t s, const redis::SentinelEvent& event) {
  using Kind = redis::SentinelEvent::Kind;
  SentinelLink& link = links_[s];
  const std::optional<redis::Election> before = link.election->current();
  link.election->OnEvent(event);
  const bool step = event.kind == Kind::kSelectedReplica || event.kind == Kind::kSendReplicaofNoOne ||
                    event.kind == Kind::kPromotedReplica;
  if (group_ && (link.election->current() != before || (step && before))) {
    group_->OnElection(SentinelModel::Name(s), link.election->current());
    Reconsider();
  }
  SchedulePoll(environment_.Latency(host_, host_), false);
  Refresh(s);
}

void BridgeHost::Refresh(std::size_t s) {
  SentinelLink& link = links_[s];
  if (link.refreshing) {
    link.refresh_again = true;
    return;
  }
  link.refreshing = true;
  const auto asked = [this, s, life = life_, link_life = link.life] {
    if (life != life_ || links_[s].life != link_life) return;
    if (!sentinels_.Answers(s) || !environment_.network.Connects(host_, s)) {
      Later(0s, [this, s, link_life] {
        if (links_[s].life == link_life) links_[s].refreshing = false;
      });
      return;
    }
    Later(environment_.Latency(s, host_), [this, s, link_life, view = sentinels_.ViewOf(s)] {
      if (links_[s].life == link_life) TakeView(s, view);
    });
  };
  environment_.queue.After(environment_.Latency(host_, s), asked);
}

void BridgeHost::TakeView(std::size_t s, const redis::SentinelView& view) {
  SentinelLink& link = links_[s];
  link.refreshing = false;
  link.view = view;
  link.viewed_at = environment_.now();
  monitor_->set_hang_after(view.down_after);
  if (group_) {
    group_->OnSentinelView(view, environment_.now());
    busy_until_ = environment_.now() + kBusy;
    Reconsider();
  }
  if (std::exchange(link.refresh_again, false)) Refresh(s);
}

/// The views and reads that found nothing new.
void BridgeHost::Renew() {
  if (!group_ || paused_) return;
  if (claim_watch_ && claim_pair_ && environment_.now() - claim_fed_at_ >= kClaimRenewal &&
      consul_.IsQuiet(*claim_watch_)) {
    claim_fed_at_ = environment_.now() - environment_.Between(0s, kClaimWait);
    group_->OnClaim(*claim_pair_, claim_fed_at_);
  }
  for (std::size_t s = 0; s < links_.size(); ++s) {
    SentinelLink& link = links_[s];
    if (!link.connected || link.broken || !link.view || environment_.now() - link.viewed_at < kViewInterval) continue;
    // That it is lost may still lie in the backlog of a bridge that was stopped.
    if (!sentinels_.Answers(s) || !environment_.network.Connects(host_, s)) continue;
    link.viewed_at = environment_.now();
    group_->OnSentinelView(*link.view, link.viewed_at);
  }
}

/// It tells where a Sentinel is, which is then asked itself.
void BridgeHost::OnHello(const redis::SentinelHello& hello) {
  if (!running_) return;
  Run([this, hello] {
    if (!monitor_ || !open_) return;
    if (group_) group_->OnHello();
    for (std::size_t s = 0; s < links_.size(); ++s) {
      if (sentinels_.Address(s) != hello.sentinel || links_[s].known) continue;
      links_[s].known = true;
      Connect(s);
    }
  });
}

std::string BridgeHost::Describe() const {
  std::string text = "bridge" + std::to_string(host_) + (running() ? "" : " (not running)");
  if (said_) text += ": " + std::string(ToString(said_->status)) + ": " + said_->reason;
  return text;
}

}  // namespace rcb::simulation
