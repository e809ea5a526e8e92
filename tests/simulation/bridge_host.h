#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/group.h"
#include "redis/instance_monitor.h"
#include "redis/sentinel_election.h"
#include "tests/simulation/consul_agent.h"
#include "tests/simulation/environment.h"
#include "tests/simulation/redis_model.h"
#include "tests/simulation/sentinel_model.h"

namespace rcb::simulation {

/// The bridge's agent on one host: the real monitor and the real Group, fed as agent/watcher.cpp and the clients under
/// it feed them.
///
/// What repeats without news is not simulated: a poll, a view or a tick that finds everything as it was happens only
/// in the times given to the decision code.
class BridgeHost {
 public:
  struct Options {
    agent::Arbiter::Options arbiter;
    bool knows_sentinels = false;  ///< Their addresses are configured; else hellos tell them.
  };

  BridgeHost(Environment& environment, RedisModel& redis, SentinelModel& sentinels, ConsulAgent& consul,
             std::size_t host, const Options& options);

  void Start();
  void Crash();
  void Pause();   ///< SIGSTOP, or a host that is suspended.
  void Resume();  ///< Its timer comes first, then everything that arrived meanwhile.

  void OnRedisChange();
  void OnRedisClosed();
  void OnRedisPause();
  void OnSentinelEvent(std::size_t sentinel, const redis::SentinelEvent& event);
  void OnHello(const redis::SentinelHello& hello);
  void OnSentinelAvailability();
  void OnNetworkChange() { OnSentinelAvailability(); }
  /// To be called before anything happens to the network or to Consul: what was read until now was read.
  void BeforeDisturbance() { Renew(); }

  // For the invariants.
  bool running() const { return running_ && !paused_; }
  TimePoint running_since() const { return running_since_; }
  /// ModifyIndex of the claim that it knows, and since when.
  std::uint64_t claim_index() const;
  TimePoint claim_index_since() const { return claim_index_since_; }
  TimePoint last_transaction() const {
    return last_transaction_;
  }  ///< When it last sent one that publishes its own server.
  /// It took an older claim for the present one, although Consul's index never falls here.
  bool claim_index_fell() const { return claim_index_fell_; }
  /// The best config-epoch that a Sentinel it is connected to tells.
  std::optional<std::uint64_t> best_epoch() const;
  const agent::Group* group() const { return group_.get(); }
  /// Its connections to most Sentinels hold, and their views name its server.
  bool HearsMostSentinelsNameIt() const;
  /// It withholds its server for fear of what a partition hides.
  bool IsFenced() const;
  bool SaysMasterBySentinel() const;
  static std::string ServiceId(std::size_t host);
  std::string Describe() const;
  /// Under `demote_superseded`: it makes its server a replica of `upstream`.
  std::function<void(std::size_t upstream)> on_demote;

 private:
  /// The connection to one Sentinel.
  struct SentinelLink {
    bool known = false;
    bool connected = false;
    bool broken = false;  ///< Nothing comes through, and nobody has noticed.
    bool refreshing = false;
    bool refresh_again = false;
    std::uint64_t life = 0;
    TimePoint last_delivery{};
    std::optional<redis::SentinelElection> election;
    std::optional<redis::SentinelView> view;
    TimePoint viewed_at{};
    std::vector<redis::SentinelEvent> undelivered;
  };

  void Run(EventQueue::Action action);
  void Later(Duration delay, EventQueue::Action action);
  void AskNode();
  void Tick();
  void Reconsider();
  void Decide();
  void Execute(const agent::Publisher::Call& call);
  void Poll(bool new_connection);
  void SchedulePoll(Duration delay, bool new_connection);
  void ArmSilence();
  void OnInstanceChange();
  void Connect(std::size_t sentinel);
  void Lose(std::size_t sentinel);
  void DeliverEvent(std::size_t sentinel, const redis::SentinelEvent& event);
  void TakeEvent(std::size_t sentinel, const redis::SentinelEvent& event);
  void Refresh(std::size_t sentinel);
  void TakeView(std::size_t sentinel, const redis::SentinelView& view);
  void Renew();
  void NoteVerdict();
  void Demote(const redis::Endpoint& upstream);

  Environment& environment_;
  RedisModel& redis_;
  SentinelModel& sentinels_;
  ConsulAgent& consul_;
  std::size_t host_;
  Options options_;

  bool running_ = false;
  bool paused_ = false;
  TimePoint running_since_{};
  std::uint64_t life_ = 0;
  std::deque<EventQueue::Action> backlog_;  ///< While it is paused.

  std::optional<redis::InstanceMonitor> monitor_;
  std::string last_info_;
  TimePoint fed_at_{};
  bool poll_scheduled_ = false;
  bool open_ = false;  ///< The connection to Redis has told a role.
  std::unique_ptr<agent::Group> group_;
  std::vector<SentinelLink> links_;
  std::shared_ptr<ConsulAgent::Watch> claim_watch_;
  std::shared_ptr<ConsulAgent::Watch> catalog_watch_;
  std::optional<consul::KvPair> claim_pair_;
  TimePoint claim_fed_at_{};
  std::uint64_t known_claim_ = 0;
  bool claim_index_fell_ = false;
  TimePoint claim_index_since_{};
  TimePoint last_transaction_{};
  TimePoint demote_again_at_{};
  TimePoint busy_until_{};
  TimePoint next_tick_{};
  std::uint64_t ticks_ = 0;
  std::optional<agent::Publication> said_;
};

}  // namespace rcb::simulation
