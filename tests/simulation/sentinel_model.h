#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "redis/sentinel_event.h"
#include "redis/sentinel_view.h"
#include "tests/simulation/environment.h"
#include "tests/simulation/redis_model.h"

namespace rcb::simulation {

/// Sentinels, one on each of the first hosts, watching the group (Redis 7.0 src/sentinel.c, whose names the states and
/// conditions keep). Servers and Sentinels are told by their index.
class SentinelModel {
 public:
  struct Options {
    std::size_t count = 3;
    std::size_t quorum = 2;
    Duration down_after{};
    Duration failover_timeout{};
    std::size_t parallel_syncs = 1;
  };

  SentinelModel(Environment& environment, RedisModel& redis, const Options& options);

  std::function<void(std::size_t sentinel, const redis::SentinelEvent&)> on_event;
  /// A hello was published on this server.
  std::function<void(std::size_t server, const redis::SentinelHello&)> on_hello;
  /// A Sentinel died, was paused, or is back.
  std::function<void(std::size_t sentinel)> on_availability;

  void Crash(std::size_t sentinel);
  void Restart(std::size_t sentinel);
  void Pause(std::size_t sentinel);
  void Resume(std::size_t sentinel);  ///< The surprise of its clock puts it into TILT.
  void Tilt(std::size_t sentinel);

  /// SENTINEL FAILOVER; false when it refuses.
  bool Failover(std::size_t sentinel);
  void Reset(std::size_t sentinel);                        ///< SENTINEL RESET
  void Monitor(std::size_t sentinel, std::size_t master);  ///< SENTINEL REMOVE and MONITOR: config-epoch 0.
  void Wake();                                             ///< Something happened: look closely for a while.

  std::size_t size() const { return sentinels_.size(); }
  bool Runs(std::size_t sentinel) const { return sentinels_[sentinel].running; }
  bool Answers(std::size_t sentinel) const { return sentinels_[sentinel].running && !sentinels_[sentinel].paused; }
  redis::SentinelView ViewOf(std::size_t sentinel) const;
  redis::Endpoint Address(std::size_t sentinel) const;
  static std::string Name(std::size_t sentinel);
  std::size_t MasterOf(std::size_t sentinel) const;
  /// It watches this server as the master or as a replica of it.
  bool Knows(std::size_t sentinel, std::size_t server) const { return sentinels_[sentinel].instances[server].known; }
  std::uint64_t EpochOf(std::size_t sentinel) const { return sentinels_[sentinel].config_epoch; }
  /// Whom a failover under way is to promote.
  std::optional<std::size_t> ChosenBy(std::size_t sentinel) const {
    const std::size_t chosen = sentinels_[sentinel].promoted;
    return chosen == kNobody ? std::nullopt : std::optional(chosen);
  }
  bool FailingOver(std::size_t sentinel) const { return sentinels_[sentinel].state != State::kNone; }

  /// Whom a Sentinel ever chose or followed at an epoch, and when it last did: what may truthfully be claimed.
  const std::map<std::uint64_t, std::map<std::size_t, TimePoint>>& named() const { return named_; }
  /// Whom a Sentinel saw promoted at an epoch, or was told to monitor.
  const std::map<std::uint64_t, std::size_t>& promoted() const { return promoted_; }

  /// The highest epoch at which Sentinels named two masters; 0: none.
  std::uint64_t disputed() const { return disputed_; }

  static constexpr char kMasterName[] = "group";

 private:
  enum class State { kNone, kWaitStart, kSelectSlave, kSendSlaveofNoOne, kWaitPromotion, kReconfSlaves };
  enum class Reconf { kNone, kSent, kDone };
  static constexpr std::size_t kNobody = static_cast<std::size_t>(-1);

  /// One Redis as one Sentinel sees it.
  struct Instance {
    bool known = true;
    TimePoint last_ok{};
    bool sdown = false;
    TimePoint sdown_ended{};
    std::optional<TimePoint> info_at;
    redis::Role role_reported = redis::Role::kReplica;
    TimePoint role_reported_at{};
    std::size_t upstream_reported = kNobody;
    TimePoint upstream_changed_at{};
    bool link_up = true;
    std::int64_t offset = 0;
    std::string run_id;
    Reconf reconf = Reconf::kNone;
    TimePoint reconf_at{};
  };
  /// Another Sentinel as one Sentinel sees it.
  struct Peer {
    bool known = true;
    bool says_down = false;
    TimePoint replied_at{};
    TimePoint asked_at{};
    std::size_t leader = kNobody;
    std::uint64_t leader_epoch = 0;
  };
  struct Sentinel {
    bool running = true;
    bool paused = false;
    TimePoint tilt_until{};
    std::uint64_t current_epoch = 0;
    std::uint64_t config_epoch = 0;
    std::size_t master = 0;
    std::size_t leader = kNobody;
    std::uint64_t leader_epoch = 0;
    bool odown = false;
    State state = State::kNone;
    std::uint64_t failover_epoch = 0;
    TimePoint failover_start{};
    TimePoint state_changed{};
    bool forced = false;
    std::size_t promoted = kNobody;
    std::vector<Instance> instances;
    std::vector<Peer> peers;
    std::uint64_t ticks = 0;  ///< Makes a scheduled tick obsolete.
    TimePoint next_tick{};
    TimePoint busy_until{};
  };

  bool Reaches(std::size_t sentinel, std::size_t server) const;
  bool PeersReach(std::size_t a, std::size_t b) const;
  void ScheduleTick(std::size_t sentinel, Duration delay);
  void Tick(std::size_t sentinel);
  void Probe(std::size_t sentinel, std::size_t server);
  void RefreshInfo(std::size_t sentinel, std::size_t server);
  void CheckSubjectivelyDown(std::size_t sentinel, std::size_t server);
  void CheckObjectivelyDown(std::size_t sentinel);
  void StartFailover(std::size_t sentinel, bool forced);
  void AdvanceFailover(std::size_t sentinel);
  void SetState(std::size_t sentinel, State state);
  void Abort(std::size_t sentinel, const char* event);
  std::size_t SelectSlave(std::size_t sentinel) const;
  void ReconfigureSlaves(std::size_t sentinel);
  void AskPeers(std::size_t sentinel, bool forced);
  void OnAsked(std::size_t sentinel, std::size_t by, std::uint64_t epoch, bool for_vote, std::size_t master);
  std::size_t Vote(std::size_t sentinel, std::uint64_t epoch, std::size_t candidate);
  std::size_t GetLeader(std::size_t sentinel, std::uint64_t epoch);
  void SendSlaveof(std::size_t sentinel, std::size_t server, std::optional<std::size_t> upstream);
  void SwitchTo(std::size_t sentinel, std::size_t master);
  bool MasterLooksSane(std::size_t sentinel) const;
  bool NoDownFor(const Instance& instance, Duration period) const;
  void HelloTick(std::size_t sentinel);
  void SayHello(std::size_t sentinel);
  void Publish(std::size_t server, const redis::SentinelHello& hello, std::size_t from);
  void OnHello(std::size_t sentinel, std::size_t from, const redis::SentinelHello& hello);
  void Emit(std::size_t sentinel, redis::SentinelEvent::Kind kind, const char* name, std::size_t instance,
            std::uint64_t epoch = 0);
  void Forget(std::size_t sentinel, std::size_t master);
  /// This Sentinel names `master` at its config-epoch, which belongs to another one.
  void NoteDispute(std::size_t sentinel, std::size_t master);
  void LearnEpoch(std::size_t sentinel, std::uint64_t epoch);

  Environment& environment_;
  RedisModel& redis_;
  Options options_;
  std::vector<Sentinel> sentinels_;
  std::map<std::uint64_t, std::map<std::size_t, TimePoint>> named_;
  std::map<std::uint64_t, std::size_t> promoted_;
  std::uint64_t disputed_ = 0;
};

}  // namespace rcb::simulation
