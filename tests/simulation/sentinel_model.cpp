#include "tests/simulation/sentinel_model.h"

#include <algorithm>
#include <utility>

namespace rcb::simulation {
namespace {

using namespace std::chrono_literals;
using redis::Role;
using redis::SentinelEvent;
using Kind = redis::SentinelEvent::Kind;

// Of src/sentinel.c.
constexpr Duration kPeriod = 100ms;      ///< sentinelTimer at its fastest.
constexpr Duration kIdlePeriod = 1s;     ///< While nothing happens nobody can tell the difference.
constexpr Duration kInfoPeriod = 10s;    ///< sentinel_info_period
constexpr Duration kPingPeriod = 1s;     ///< SENTINEL_PING_PERIOD
constexpr Duration kAskPeriod = 1s;      ///< sentinel_ask_period
constexpr Duration kPublishPeriod = 2s;  ///< sentinel_publish_period
constexpr Duration kTiltPeriod = 30s;    ///< sentinel_tilt_period
constexpr Duration kElectionTimeout = 10s;
constexpr Duration kReconfTimeout = 10s;  ///< sentinel_slave_reconf_timeout
constexpr Duration kMaxDesync = 1s;       ///< SENTINEL_MAX_DESYNC
constexpr Duration kBusy = 15s;           ///< After a disturbance; longer than any reaction to it.

}  // namespace

SentinelModel::SentinelModel(Environment& environment, RedisModel& redis, const Options& options)
    : environment_(environment), redis_(redis), options_(options), sentinels_(options.count) {
  const TimePoint now = environment_.now();
  for (std::size_t s = 0; s < sentinels_.size(); ++s) {
    Sentinel& sentinel = sentinels_[s];
    sentinel.peers.resize(options_.count);
    sentinel.instances.resize(redis_.size());
    for (std::size_t r = 0; r < redis_.size(); ++r) {
      Instance& instance = sentinel.instances[r];
      instance.last_ok = instance.role_reported_at = instance.upstream_changed_at = now;
      instance.sdown_ended = now - 1h;
      instance.role_reported = r == 0 ? Role::kMaster : Role::kReplica;
      instance.upstream_reported = r == 0 ? kNobody : 0;
      instance.run_id = redis_.at(r).run_id;
    }
    sentinel.failover_start = now - 1h;
    sentinel.busy_until = now;
    ScheduleTick(s, environment_.Between(1ms, kPeriod));
    environment_.queue.After(environment_.Between(1ms, kPublishPeriod), [this, s] { HelloTick(s); });
  }
  named_[0][0] = now;
  promoted_[0] = 0;
}

std::string SentinelModel::Name(std::size_t sentinel) { return "sentinel" + std::to_string(sentinel); }

redis::Endpoint SentinelModel::Address(std::size_t sentinel) const {
  return {.host = "10.0.0." + std::to_string(sentinel + 1), .port = 26379, .unix_path = {}};
}

bool SentinelModel::Reaches(std::size_t sentinel, std::size_t server) const {
  return redis_.Answers(server) && environment_.network.Connects(sentinel, server);
}

bool SentinelModel::PeersReach(std::size_t a, std::size_t b) const {
  return Answers(b) && environment_.network.Connects(a, b);
}

/// sentinelGetCurrentMasterAddress()
std::size_t SentinelModel::MasterOf(std::size_t s) const {
  const Sentinel& sentinel = sentinels_[s];
  return sentinel.state == State::kReconfSlaves ? sentinel.promoted : sentinel.master;
}

redis::SentinelView SentinelModel::ViewOf(std::size_t s) const {
  const Sentinel& sentinel = sentinels_[s];
  redis::SentinelView view;
  view.sentinel_id = Name(s);
  view.master_name = kMasterName;
  view.master = RedisModel::Address(MasterOf(s));
  const bool same = MasterOf(s) == sentinel.master;
  if (same) view.master_run_id = sentinel.instances[sentinel.master].run_id;
  view.config_epoch = sentinel.config_epoch;
  view.direct = true;
  view.master_down = sentinel.instances[sentinel.master].sdown;
  view.failover_in_progress = sentinel.state != State::kNone && same;
  view.quorum = static_cast<std::uint32_t>(options_.quorum);
  for (std::size_t p = 0; p < sentinel.peers.size(); ++p) view.other_sentinels += p != s && sentinel.peers[p].known;
  view.down_after = std::chrono::duration_cast<std::chrono::milliseconds>(options_.down_after);
  return view;
}

void SentinelModel::Emit(std::size_t s, Kind kind, const char* name, std::size_t instance, std::uint64_t epoch) {
  SentinelEvent event;
  event.kind = kind;
  event.name = name;
  event.epoch = epoch;
  if (instance != kNobody) {
    event.master_name = kMasterName;
    event.master = RedisModel::Address(sentinels_[s].master);
    event.instance = RedisModel::Address(instance);
  }
  environment_.history.Note([&] {
    return Name(s) + " " + name + (instance == kNobody ? "" : " redis" + std::to_string(instance)) +
           (epoch == 0 ? "" : " " + std::to_string(epoch)) + " (epoch " + std::to_string(sentinels_[s].current_epoch) +
           ", config-epoch " + std::to_string(sentinels_[s].config_epoch) + ")";
  });
  if (on_event) on_event(s, event);
}

void SentinelModel::LearnEpoch(std::size_t s, std::uint64_t epoch) {
  if (epoch <= sentinels_[s].current_epoch) return;
  sentinels_[s].current_epoch = epoch;
  Emit(s, Kind::kNewEpoch, "+new-epoch", kNobody, epoch);
}

// --- Life
// -------------------------------------------------------------------------------------------------------------

void SentinelModel::Wake() {
  for (std::size_t s = 0; s < sentinels_.size(); ++s) {
    sentinels_[s].busy_until = environment_.now() + kBusy;
    if (Answers(s) && sentinels_[s].next_tick > environment_.now() + kPeriod) {
      ScheduleTick(s, environment_.Between(1ms, kPeriod));
    }
  }
}

void SentinelModel::Crash(std::size_t s) {
  sentinels_[s].running = false;
  sentinels_[s].paused = false;
  environment_.history.Note([&] { return Name(s) + " crashed"; });
  Wake();
  if (on_availability) on_availability(s);
}

/// Epochs and the master's address come from its file; the rest is learned anew.
void SentinelModel::Restart(std::size_t s) {
  Sentinel& sentinel = sentinels_[s];
  sentinel.running = true;
  environment_.history.Note([&] { return Name(s) + " restarted"; });
  // Its file names the one that is promoted already (sentinelGetCurrentMasterAddress() in
  // rewriteConfigSentinelOption()).
  Forget(s, MasterOf(s));
  for (Instance& instance : sentinel.instances) instance.known = true;
  sentinel.tilt_until = {};
  ScheduleTick(s, environment_.Between(1ms, kPeriod));
  Wake();
  if (on_availability) on_availability(s);
}

void SentinelModel::Pause(std::size_t s) {
  sentinels_[s].paused = true;
  environment_.history.Note([&] { return Name(s) + " paused"; });
  Wake();
  if (on_availability) on_availability(s);
}

void SentinelModel::Resume(std::size_t s) {
  if (!sentinels_[s].running || !sentinels_[s].paused) return;
  sentinels_[s].paused = false;
  ScheduleTick(s, 1ms);
  Wake();
  if (on_availability) on_availability(s);
  Tilt(s);
}

void SentinelModel::Tilt(std::size_t s) {
  if (!Answers(s)) return;
  sentinels_[s].tilt_until = environment_.now() + kTiltPeriod;
  Emit(s, Kind::kTilt, "+tilt", kNobody);
}

/// What a new record of the master starts with; replicas are learned from its INFO.
void SentinelModel::Forget(std::size_t s, std::size_t master) {
  Sentinel& sentinel = sentinels_[s];
  const TimePoint now = environment_.now();
  sentinel.master = master;
  sentinel.odown = false;
  sentinel.state = State::kNone;
  sentinel.forced = false;
  sentinel.promoted = kNobody;
  sentinel.leader = kNobody;
  for (std::size_t r = 0; r < sentinel.instances.size(); ++r) {
    Instance& instance = sentinel.instances[r];
    instance.known = r == master;
    instance.last_ok = instance.role_reported_at = instance.upstream_changed_at = now;
    instance.sdown = false;
    instance.sdown_ended = now - 1h;
    instance.info_at.reset();
    instance.role_reported = r == master ? Role::kMaster : Role::kReplica;
    instance.upstream_reported = kNobody;
    instance.reconf = Reconf::kNone;
  }
  for (Peer& peer : sentinel.peers) {
    peer.says_down = false;
    peer.leader = kNobody;
  }
}

void SentinelModel::NoteDispute(std::size_t s, std::size_t master) {
  const std::uint64_t epoch = sentinels_[s].config_epoch;
  named_[epoch][master] = environment_.now();
  disputed_ = std::max(disputed_, epoch);
  environment_.history.Count("sentinel names two masters at one epoch");
}

void SentinelModel::Reset(std::size_t s) {
  if (!Answers(s)) return;
  // In the middle of a reconfiguration it falls back to the old master's address and keeps the new epoch.
  if (sentinels_[s].state == State::kReconfSlaves) NoteDispute(s, sentinels_[s].master);
  Forget(s, sentinels_[s].master);
  for (Peer& peer : sentinels_[s].peers) peer.known = false;
  Emit(s, Kind::kOther, "+reset-master", sentinels_[s].master);
  Wake();
}

void SentinelModel::Monitor(std::size_t s, std::size_t master) {
  if (!Answers(s)) return;
  Forget(s, master);
  sentinels_[s].config_epoch = 0;
  sentinels_[s].leader_epoch = 0;
  for (Peer& peer : sentinels_[s].peers) peer.known = false;
  named_[0][master] = environment_.now();
  promoted_[0] = master;
  Emit(s, Kind::kOther, "+monitor", master);
  Wake();
}

bool SentinelModel::Failover(std::size_t s) {
  const Sentinel& sentinel = sentinels_[s];
  if (!Answers(s) || sentinel.state != State::kNone || SelectSlave(s) == kNobody) return false;
  environment_.history.Note([&] { return "operator: SENTINEL FAILOVER on " + Name(s); });
  StartFailover(s, true);
  Wake();
  return true;
}

void SentinelModel::ScheduleTick(std::size_t s, Duration delay) {
  sentinels_[s].next_tick = environment_.now() + delay;
  environment_.queue.After(delay, [this, s, tick = ++sentinels_[s].ticks] {
    if (sentinels_[s].ticks == tick) Tick(s);
  });
}

// --- sentinelHandleRedisInstance()
// ------------------------------------------------------------------------------------

void SentinelModel::Tick(std::size_t s) {
  if (!Answers(s)) return;
  Sentinel& sentinel = sentinels_[s];
  const TimePoint now = environment_.now();
  for (std::size_t r = 0; r < redis_.size(); ++r) {
    if (sentinel.instances[r].known) Probe(s, r);
  }
  const bool tilted = sentinel.tilt_until != TimePoint{};
  if (tilted && now >= sentinel.tilt_until) {
    sentinel.tilt_until = {};
    Emit(s, Kind::kNotTilt, "-tilt", kNobody);
  } else if (!tilted) {
    for (std::size_t r = 0; r < redis_.size(); ++r) {
      if (sentinel.instances[r].known) CheckSubjectivelyDown(s, r);
    }
    CheckObjectivelyDown(s);
    if (sentinel.odown && sentinel.state == State::kNone &&
        now - sentinel.failover_start >= 2 * options_.failover_timeout) {
      StartFailover(s, false);
      AskPeers(s, true);
    }
    AdvanceFailover(s);
    AskPeers(s, false);
  }
  const bool busy =
      now < sentinel.busy_until || sentinel.state != State::kNone || sentinel.instances[sentinel.master].sdown;
  ScheduleTick(s, busy ? kPeriod : kIdlePeriod);
}

void SentinelModel::Probe(std::size_t s, std::size_t r) {
  Sentinel& sentinel = sentinels_[s];
  Instance& instance = sentinel.instances[r];
  if (!Reaches(s, r)) return;
  const TimePoint now = environment_.now();
  instance.last_ok = now;
  const bool closely = r != sentinel.master && (sentinel.odown || sentinel.state != State::kNone || !instance.link_up);
  if (!instance.info_at || now - *instance.info_at >= (closely ? Duration(1s) : kInfoPeriod)) RefreshInfo(s, r);
}

bool SentinelModel::MasterLooksSane(std::size_t s) const {
  const Sentinel& sentinel = sentinels_[s];
  const Instance& master = sentinel.instances[sentinel.master];
  return master.role_reported == Role::kMaster && !master.sdown && !sentinel.odown && master.info_at &&
         environment_.now() - *master.info_at < 2 * kInfoPeriod;
}

bool SentinelModel::NoDownFor(const Instance& instance, Duration period) const {
  return !instance.sdown && environment_.now() - instance.sdown_ended > period;
}

/// sentinelRefreshInstanceInfo()
void SentinelModel::RefreshInfo(std::size_t s, std::size_t r) {
  Sentinel& sentinel = sentinels_[s];
  Instance& instance = sentinel.instances[r];
  const RedisModel::Server& server = redis_.at(r);
  const TimePoint now = environment_.now();
  instance.info_at = now;
  instance.offset = redis_.Offset(r);
  if (instance.run_id != server.run_id) {
    instance.run_id = server.run_id;
    Emit(s, Kind::kOther, "+reboot", r);
  }
  if (server.role != instance.role_reported) {
    instance.role_reported = server.role;
    instance.role_reported_at = now;
    if (server.role == Role::kReplica) instance.upstream_changed_at = now;
    Emit(s, Kind::kOther, "+role-change", r);
  }
  if (server.role == Role::kReplica) {
    if (instance.upstream_reported != server.upstream) {
      instance.upstream_reported = server.upstream;
      instance.upstream_changed_at = now;
    }
    instance.link_up = server.link == RedisModel::Link::kUp;
  } else if (r == sentinel.master) {
    for (std::size_t i = 0; i < redis_.size(); ++i) {
      const RedisModel::Server& replica = redis_.at(i);
      if (i == r || sentinel.instances[i].known || !replica.running || replica.role != Role::kReplica ||
          replica.upstream != r || replica.link != RedisModel::Link::kUp) {
        continue;
      }
      sentinel.instances[i].known = true;
      sentinel.instances[i].last_ok = now;
      Emit(s, Kind::kOther, "+slave", i);
    }
  }
  if (sentinel.tilt_until != TimePoint{}) return;

  if (r != sentinel.master && server.role == Role::kMaster) {
    if (sentinel.state == State::kWaitPromotion && r == sentinel.promoted) {
      sentinel.config_epoch = sentinel.failover_epoch;
      // One that was reset knows no other Sentinel and may elect itself: two leaders of one epoch.
      const auto [at, first] = promoted_.try_emplace(sentinel.config_epoch, r);
      if (!first && at->second != r) NoteDispute(s, r);
      SetState(s, State::kReconfSlaves);
      Emit(s, Kind::kPromotedReplica, "+promoted-slave", r);
      Emit(s, Kind::kOther, "+failover-state-reconf-slaves", sentinel.master);
      SayHello(s);
    } else {
      const Duration wait = 4 * kPublishPeriod;
      if (r != sentinel.promoted && MasterLooksSane(s) && NoDownFor(instance, wait) &&
          now - instance.role_reported_at > wait) {
        Emit(s, Kind::kOther, "+convert-to-slave", r);
        SendSlaveof(s, r, sentinel.master);
        environment_.history.Count("sentinel converts a returned master");
      }
    }
  }
  if (r != sentinel.master && server.role == Role::kReplica) {
    if (instance.reconf == Reconf::kSent && server.upstream == sentinel.promoted && instance.link_up) {
      instance.reconf = Reconf::kDone;
      Emit(s, Kind::kOther, "+slave-reconf-done", r);
    }
    if (sentinel.state == State::kNone && server.upstream != sentinel.master && MasterLooksSane(s) &&
        NoDownFor(instance, options_.failover_timeout) &&
        now - instance.upstream_changed_at > options_.failover_timeout) {
      Emit(s, Kind::kOther, "+fix-slave-config", r);
      SendSlaveof(s, r, sentinel.master);
    }
  }
}

void SentinelModel::CheckSubjectivelyDown(std::size_t s, std::size_t r) {
  Sentinel& sentinel = sentinels_[s];
  Instance& instance = sentinel.instances[r];
  const TimePoint now = environment_.now();
  const bool lies = r == sentinel.master && instance.role_reported == Role::kReplica &&
                    now - instance.role_reported_at > options_.down_after + 2 * kInfoPeriod;
  const bool down = now - instance.last_ok > options_.down_after || lies;
  if (down == instance.sdown) return;
  instance.sdown = down;
  if (!down) instance.sdown_ended = now;
  Emit(s, Kind::kOther, down ? "+sdown" : "-sdown", r);
}

void SentinelModel::CheckObjectivelyDown(std::size_t s) {
  Sentinel& sentinel = sentinels_[s];
  std::size_t votes = sentinel.instances[sentinel.master].sdown ? 1 : 0;
  if (votes == 1) {
    for (std::size_t p = 0; p < sentinel.peers.size(); ++p) {
      const Peer& peer = sentinel.peers[p];
      const bool fresh = environment_.now() - peer.replied_at <= 5 * kAskPeriod;
      if (p != s && peer.known && peer.says_down && fresh) ++votes;
    }
  }
  const bool odown = votes >= options_.quorum;
  if (odown == sentinel.odown) return;
  sentinel.odown = odown;
  Emit(s, Kind::kOther, odown ? "+odown" : "-odown", sentinel.master);
}

// --- Election
// ---------------------------------------------------------------------------------------------------------

void SentinelModel::StartFailover(std::size_t s, bool forced) {
  Sentinel& sentinel = sentinels_[s];
  sentinel.failover_epoch = ++sentinel.current_epoch;
  Emit(s, Kind::kNewEpoch, "+new-epoch", kNobody, sentinel.current_epoch);
  sentinel.state = State::kWaitStart;
  sentinel.forced = forced;
  for (Instance& instance : sentinel.instances) instance.reconf = Reconf::kNone;
  sentinel.failover_start = environment_.now() + environment_.Between(0s, kMaxDesync);
  sentinel.state_changed = environment_.now();
  Emit(s, Kind::kTryFailover, "+try-failover", sentinel.master);
}

/// sentinelAskMasterStateToOtherSentinels()
void SentinelModel::AskPeers(std::size_t s, bool forced) {
  Sentinel& sentinel = sentinels_[s];
  if (!sentinel.instances[sentinel.master].sdown) return;
  for (std::size_t p = 0; p < sentinel.peers.size(); ++p) {
    Peer& peer = sentinel.peers[p];
    if (p == s || !peer.known || !PeersReach(s, p)) continue;
    if (!forced && environment_.now() - peer.asked_at < kAskPeriod) continue;
    peer.asked_at = environment_.now();
    environment_.queue.After(environment_.Latency(s, p),
                             [this, s, p, epoch = sentinel.current_epoch, for_vote = sentinel.state != State::kNone,
                              master = sentinel.master] {
                               if (PeersReach(s, p)) OnAsked(p, s, epoch, for_vote, master);
                             });
  }
}

/// SENTINEL is-master-down-by-addr
void SentinelModel::OnAsked(std::size_t s, std::size_t by, std::uint64_t epoch, bool for_vote, std::size_t master) {
  const Sentinel& sentinel = sentinels_[s];
  const bool down = sentinel.master == master && sentinel.tilt_until == TimePoint{} && sentinel.instances[master].sdown;
  const std::size_t leader = for_vote && sentinel.master == master ? Vote(s, epoch, by) : kNobody;
  environment_.queue.After(environment_.Latency(s, by),
                           [this, s, by, down, leader, leader_epoch = sentinel.leader_epoch] {
                             if (!Answers(by) || !environment_.network.Delivers(s, by)) return;
                             Peer& peer = sentinels_[by].peers[s];
                             peer.replied_at = environment_.now();
                             peer.says_down = down;
                             if (leader == kNobody) return;
                             peer.leader = leader;
                             peer.leader_epoch = leader_epoch;
                           });
}

/// sentinelVoteLeader()
std::size_t SentinelModel::Vote(std::size_t s, std::uint64_t epoch, std::size_t candidate) {
  LearnEpoch(s, epoch);
  Sentinel& sentinel = sentinels_[s];
  if (sentinel.leader_epoch < epoch && sentinel.current_epoch <= epoch) {
    sentinel.leader = candidate;
    sentinel.leader_epoch = sentinel.current_epoch;
    Emit(s, Kind::kVoteForLeader, "+vote-for-leader", kNobody, sentinel.leader_epoch);
    if (candidate != s) sentinel.failover_start = environment_.now() + environment_.Between(0s, kMaxDesync);
  }
  return sentinel.leader;
}

/// sentinelGetLeader()
std::size_t SentinelModel::GetLeader(std::size_t s, std::uint64_t epoch) {
  const Sentinel& sentinel = sentinels_[s];
  std::map<std::size_t, std::size_t> votes;
  std::size_t voters = 1;
  for (std::size_t p = 0; p < sentinel.peers.size(); ++p) {
    const Peer& peer = sentinel.peers[p];
    if (p == s || !peer.known) continue;
    ++voters;
    if (peer.leader != kNobody && peer.leader_epoch == sentinel.current_epoch) ++votes[peer.leader];
  }
  const auto best =
      std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const std::size_t own = Vote(s, epoch, best == votes.end() ? s : best->first);
  if (own != kNobody && sentinel.leader_epoch == epoch) ++votes[own];
  for (const auto& [candidate, count] : votes) {
    if (count >= voters / 2 + 1 && count >= options_.quorum) return candidate;
  }
  return kNobody;
}

// --- sentinelFailoverStateMachine()
// -----------------------------------------------------------------------------------

void SentinelModel::SetState(std::size_t s, State state) {
  sentinels_[s].state = state;
  sentinels_[s].state_changed = environment_.now();
}

void SentinelModel::Abort(std::size_t s, const char* event) {
  Emit(s, Kind::kFailoverAborted, event, sentinels_[s].master);
  sentinels_[s].forced = false;
  sentinels_[s].promoted = kNobody;
  SetState(s, State::kNone);
  environment_.history.Count("sentinel aborts a failover");
}

/// sentinelSelectSlave()
std::size_t SentinelModel::SelectSlave(std::size_t s) const {
  const Sentinel& sentinel = sentinels_[s];
  const TimePoint now = environment_.now();
  const Duration validity = sentinel.instances[sentinel.master].sdown ? 5 * kPingPeriod : 3 * kInfoPeriod;
  std::size_t best = kNobody;
  for (std::size_t r = 0; r < redis_.size(); ++r) {
    const Instance& instance = sentinel.instances[r];
    if (r == sentinel.master || !instance.known || instance.sdown || now - instance.last_ok > 5 * kPingPeriod ||
        !instance.info_at || now - *instance.info_at > validity) {
      continue;
    }
    if (best == kNobody || instance.offset > sentinel.instances[best].offset) best = r;
  }
  return best;
}

void SentinelModel::AdvanceFailover(std::size_t s) {
  Sentinel& sentinel = sentinels_[s];
  const TimePoint now = environment_.now();
  switch (sentinel.state) {
    case State::kNone: return;
    case State::kWaitStart: {
      const bool leads = GetLeader(s, sentinel.failover_epoch) == s;
      if (!leads && !sentinel.forced) {
        if (now - sentinel.failover_start > std::min(kElectionTimeout, options_.failover_timeout)) {
          Abort(s, "-failover-abort-not-elected");
        }
        return;
      }
      Emit(s, Kind::kOther, "+elected-leader", sentinel.master);
      SetState(s, State::kSelectSlave);
      Emit(s, Kind::kOther, "+failover-state-select-slave", sentinel.master);
      return;
    }
    case State::kSelectSlave: {
      const std::size_t chosen = SelectSlave(s);
      if (chosen == kNobody) {
        Abort(s, "-failover-abort-no-good-slave");
        return;
      }
      sentinel.promoted = chosen;
      named_[sentinel.failover_epoch][chosen] = now;
      Emit(s, Kind::kSelectedReplica, "+selected-slave", chosen);
      SetState(s, State::kSendSlaveofNoOne);
      Emit(s, Kind::kSendReplicaofNoOne, "+failover-state-send-slaveof-noone", chosen);
      return;
    }
    case State::kSendSlaveofNoOne:
      if (!Reaches(s, sentinel.promoted)) {
        if (now - sentinel.state_changed > options_.failover_timeout) Abort(s, "-failover-abort-slave-timeout");
        return;
      }
      SendSlaveof(s, sentinel.promoted, std::nullopt);
      SetState(s, State::kWaitPromotion);
      Emit(s, Kind::kOther, "+failover-state-wait-promotion", sentinel.promoted);
      return;
    case State::kWaitPromotion:
      // sentinelRefreshInstanceInfo() sees the promotion.
      if (now - sentinel.state_changed > options_.failover_timeout) Abort(s, "-failover-abort-slave-timeout");
      return;
    case State::kReconfSlaves: ReconfigureSlaves(s); return;
  }
}

void SentinelModel::ReconfigureSlaves(std::size_t s) {
  Sentinel& sentinel = sentinels_[s];
  const TimePoint now = environment_.now();
  std::size_t in_progress = 0;
  bool done = true;
  for (std::size_t r = 0; r < redis_.size(); ++r) {
    Instance& instance = sentinel.instances[r];
    if (r == sentinel.master || r == sentinel.promoted || !instance.known) continue;
    if (instance.reconf == Reconf::kSent && now - instance.reconf_at > kReconfTimeout) instance.reconf = Reconf::kNone;
    in_progress += instance.reconf == Reconf::kSent;
    done = done && (instance.reconf == Reconf::kDone || instance.sdown);
  }
  const bool timeout = now - sentinel.state_changed > options_.failover_timeout;
  for (std::size_t r = 0; r < redis_.size(); ++r) {
    Instance& instance = sentinel.instances[r];
    if (r == sentinel.master || r == sentinel.promoted || !instance.known || instance.reconf != Reconf::kNone) continue;
    if (!Reaches(s, r) || (!timeout && (instance.sdown || in_progress >= options_.parallel_syncs))) continue;
    SendSlaveof(s, r, sentinel.promoted);
    instance.reconf = Reconf::kSent;
    instance.reconf_at = now;
    ++in_progress;
    Emit(s, Kind::kOther, "+slave-reconf-sent", r);
  }
  if (!done && !timeout) return;
  Emit(s, Kind::kFailoverEnd, timeout && !done ? "+failover-end-for-timeout" : "+failover-end", sentinel.master);
  SwitchTo(s, sentinel.promoted);
  environment_.history.Count("sentinel ends a failover");
}

void SentinelModel::SendSlaveof(std::size_t s, std::size_t server, std::optional<std::size_t> upstream) {
  environment_.queue.After(environment_.Latency(s, server), [this, s, server, upstream] {
    if (!environment_.network.Delivers(s, server)) return;
    redis_.ReplicaOf(server, upstream, RedisModel::Origin::kSentinel);
  });
}

/// sentinelResetMasterAndChangeAddress()
void SentinelModel::SwitchTo(std::size_t s, std::size_t master) {
  Sentinel& sentinel = sentinels_[s];
  named_[sentinel.config_epoch][master] = environment_.now();
  SentinelEvent event;
  event.kind = Kind::kSwitchMaster;
  event.name = "+switch-master";
  event.master_name = kMasterName;
  event.master = RedisModel::Address(sentinel.master);
  event.instance = RedisModel::Address(master);
  environment_.history.Note([&] {
    return Name(s) + " +switch-master redis" + std::to_string(sentinel.master) + " redis" + std::to_string(master) +
           " (config-epoch " + std::to_string(sentinel.config_epoch) + ")";
  });
  std::vector<bool> known;
  for (const Instance& instance : sentinel.instances) known.push_back(instance.known);
  Forget(s, master);
  for (std::size_t r = 0; r < known.size(); ++r) sentinel.instances[r].known = known[r] || r == master;
  if (on_event) on_event(s, event);
  Wake();
}

// --- Hello
// ------------------------------------------------------------------------------------------------------------

void SentinelModel::HelloTick(std::size_t s) {
  environment_.queue.After(kPublishPeriod, [this, s] { HelloTick(s); });
  SayHello(s);
}

void SentinelModel::SayHello(std::size_t s) {
  if (!Answers(s)) return;
  const Sentinel& sentinel = sentinels_[s];
  redis::SentinelHello hello;
  hello.sentinel = Address(s);
  hello.current_epoch = sentinel.current_epoch;
  hello.view.sentinel_id = Name(s);
  hello.view.master_name = kMasterName;
  hello.view.master = RedisModel::Address(MasterOf(s));
  hello.view.config_epoch = sentinel.config_epoch;
  for (std::size_t r = 0; r < redis_.size(); ++r) {
    if (!sentinel.instances[r].known || !redis_.at(r).running || !environment_.network.Connects(s, r)) continue;
    Publish(r, hello, s);
  }
}

/// PUBLISH on a server: its subscribers hear it, and those of its replicas once more. Now and then one comes late.
void SentinelModel::Publish(std::size_t server, const redis::SentinelHello& hello, std::size_t from) {
  if (redis_.at(server).paused) {
    environment_.queue.After(kPublishPeriod, [this, server, hello, from] {
      if (redis_.at(server).running) Publish(server, hello, from);
    });
    return;
  }
  for (std::size_t r = 0; r < redis_.size(); ++r) {
    const RedisModel::Server& replica = redis_.at(r);
    const bool replicated = replica.role == Role::kReplica && replica.upstream == server &&
                            replica.link == RedisModel::Link::kUp && !replica.stalled;
    if ((r != server && !replicated) || !redis_.Answers(r)) continue;
    const bool late = environment_.random.Chance(0.01);
    const auto deliver = [this, r, hello, from] {
      if (!redis_.Answers(r)) return;
      for (std::size_t s = 0; s < sentinels_.size(); ++s) {
        if (s != from && Reaches(s, r) && Answers(s)) OnHello(s, from, hello);
      }
      if (on_hello) on_hello(r, hello);
    };
    if (late) {
      environment_.queue.After(environment_.Between(100ms, 4s), deliver);
      environment_.history.Count("hello came late");
    } else {
      deliver();
    }
  }
}

/// sentinelProcessHelloMessage()
void SentinelModel::OnHello(std::size_t s, std::size_t from, const redis::SentinelHello& hello) {
  Sentinel& sentinel = sentinels_[s];
  Peer& peer = sentinel.peers[from];
  if (!peer.known) {
    peer = Peer{};
    Emit(s, Kind::kOther, "+sentinel", sentinel.master);
  }
  LearnEpoch(s, hello.current_epoch);
  if (sentinel.config_epoch >= hello.view.config_epoch) return;
  sentinel.config_epoch = hello.view.config_epoch;
  for (std::size_t r = 0; r < redis_.size(); ++r) {
    if (RedisModel::Address(r) == hello.view.master && r != sentinel.master) {
      SwitchTo(s, r);
      return;
    }
  }
  if (sentinel.state == State::kReconfSlaves) {
    // The old master was promoted again while this leader still reconfigures for the former one: src/sentinel.c
    // compares the addresses only, keeps the failover, and tells the former one at the new epoch.
    NoteDispute(s, sentinel.promoted);
  }
  Emit(s, Kind::kOther, "+config-update-from", sentinel.master);
}

}  // namespace rcb::simulation
