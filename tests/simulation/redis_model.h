#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "redis/endpoint.h"
#include "redis/replication_info.h"
#include "tests/simulation/environment.h"

namespace rcb::simulation {

/// The Redis servers of one group, one on each host, as far as replication goes (Redis 7.0 src/replication.c).
class RedisModel {
 public:
  enum class Origin { kSentinel, kOperator };
  enum class Link { kDown, kSyncing, kUp };

  struct Server {
    bool running = true;
    bool paused = false;
    redis::Role role = redis::Role::kMaster;
    std::size_t upstream = 0;  ///< Of a replica.
    /// What its file says, for a restart: Sentinel rewrites it with each change, an operator's REPLICAOF does not.
    std::optional<std::size_t> configured_upstream;
    Link link = Link::kDown;
    TimePoint link_since{};
    std::string replid;
    std::string replid2;
    std::int64_t second_offset = -1;
    std::int64_t offset = 0;  ///< As of `offset_at`; a master's grows by one each millisecond.
    TimePoint offset_at{};
    std::string run_id;
    TimePoint loading_until{};
    TimePoint was_master_at{};                  ///< When it last stopped being one.
    std::optional<TimePoint> promoted_at;       ///< By Sentinel, since it last was a replica.
    std::uint64_t life = 0;                     ///< Counts what makes an earlier attempt to link obsolete.
    bool stalled = false;                       ///< Its link is up in name only.
    std::vector<EventQueue::Action> on_resume;  ///< What lies in its socket buffers while it is paused.
  };

  explicit RedisModel(Environment& environment);

  /// INFO tells something else than before.
  std::function<void(std::size_t)> on_change;
  /// Client connections were closed: the process died, or Sentinel did it with a role change.
  std::function<void(std::size_t)> on_closed;
  /// It stopped answering, or answers again, without a closed connection.
  std::function<void(std::size_t)> on_pause;

  void Kill(std::size_t server);
  /// `empty`: without its data set.
  void Restart(std::size_t server, bool empty);
  void Pause(std::size_t server);
  void Resume(std::size_t server);
  /// nullopt: NO ONE. On a paused server it takes effect when that resumes; one that is gone never hears it.
  void ReplicaOf(std::size_t server, std::optional<std::size_t> upstream, Origin origin);
  void OnNetworkChange();

  std::size_t size() const { return servers_.size(); }
  const Server& at(std::size_t server) const { return servers_[server]; }
  bool Answers(std::size_t server) const { return servers_[server].running && !servers_[server].paused; }
  bool IsMaster(std::size_t server) const {
    return servers_[server].running && servers_[server].role == redis::Role::kMaster;
  }
  /// When it last said master.
  TimePoint LastMaster(std::size_t server) const {
    return IsMaster(server) ? environment_.now() : servers_[server].was_master_at;
  }
  std::int64_t Offset(std::size_t server) const;

  static redis::Endpoint Address(std::size_t server);
  /// Bodies in the form that Redis 7.0 sends.
  std::string InfoReplication(std::size_t server) const;
  std::string InfoServer(std::size_t server) const;
  std::string InfoPersistence(std::size_t server) const;

 private:
  std::string NewId();
  void Change(std::size_t server);
  void SetLink(std::size_t server, Link link);
  void DropReplicasOf(std::size_t server);
  void ScheduleLink(std::size_t server, Duration delay);
  void TryLink(std::size_t server);
  bool CanFeed(std::size_t upstream, std::size_t server) const;
  void FreezeOffset(std::size_t server);

  Environment& environment_;
  std::vector<Server> servers_;
  std::uint64_t ids_ = 0;
};

}  // namespace rcb::simulation
