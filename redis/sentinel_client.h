#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "redis/sentinel_election.h"
#include "redis/sentinel_link.h"
#include "redis/sentinel_view.h"

namespace rcb::redis {

/// Keeps in touch with one Sentinel about one group: subscribes to its events, and asks for its view after every
/// (re)connection, after every event about the group and once a second (pub/sub has no replay and loses silently). All
/// who ask one Sentinel do so on the same connections.
class SentinelClient {
 public:
  struct Options {
    Endpoint endpoint;
    Access access;
    std::string master_name;  ///< Empty: the only group this Sentinel knows; several are an error in status().
    std::chrono::milliseconds refresh_interval{1000};
  };
  /// Handlers may not destroy the client.
  struct Handlers {
    std::function<void(const SentinelView&)> on_view;
    std::function<void(const std::vector<SentinelInstance>&)> on_replicas;  ///< Of the group, as it knows them.
    /// An election began, went on or ended (nullopt). The Sentinel's id is in it, else in sentinel_id().
    std::function<void(const std::optional<Election>&)> on_election;
    std::function<void(const SentinelEvent&)> on_event;          ///< Every event about the group: a reason to poll.
    std::function<void(const std::vector<Endpoint>&)> on_peers;  ///< The other Sentinels it knows.
    std::function<void(const Error&)> on_lost;  ///< Lost or not to be had; it is tried again by itself.
    std::function<void(std::chrono::nanoseconds, bool)> on_answer{};  ///< How long a command took; it was answered.
  };

  /// `links` is needed until Start() alone.
  SentinelClient(uv_loop_s* loop, SentinelLinks& links, Options options, Handlers handlers);
  ~SentinelClient();
  SentinelClient(const SentinelClient&) = delete;
  SentinelClient& operator=(const SentinelClient&) = delete;

  void Start();
  const Endpoint& endpoint() const;
  /// SENTINEL MYID (6.2+), which is the run id that hellos carry; on older servers the endpoint; empty before it is
  /// known.
  const std::string& sentinel_id() const;
  bool is_connected() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace rcb::redis
